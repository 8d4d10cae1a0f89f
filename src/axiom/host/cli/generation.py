"""The part of `axiom run` that needs the whole program: a session, a request, text or JSON."""

import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from axiom.host.cli.models import open_model
from axiom.host.cli.run import RunOptions
from axiom.host.machine.backing import memory_backing
from axiom.host.machine.events import CountersEvent, Event
from axiom.host.machine.link import LinkClient
from axiom.host.machine.requests import StartRequest
from axiom.host.machine.session import Session, SessionOptions, open_session
from axiom.host.model.packed_file import PackedModel, read_packed
from axiom.host.serve.generate import Generation, generate

if TYPE_CHECKING:
    from axiom.host.machine.hosted import HostedMachine
    from axiom.host.machine.launch import Started

COUNTER_SECONDS = 10.0


def generate_and_print(
    options: RunOptions,
    wanted: SessionOptions,
    started: "Started | HostedMachine | None",
    process_start: float,
    begun: float,
    cpus_note: str,
) -> None:
    """Serve one request. begun: when the command's own code began, after what Python itself needs."""
    stages = {"interpreter": (begun - process_start) * 1e3}
    if started is not None:
        # Not before: a kernel that is ready polls, and takes processors from what is imported here.
        started.release()
    imported = time.monotonic()
    model = None if started is None else read_packed(started.model_path())
    if model is None:
        if started is not None:
            started.close()  # it is booting a file that is damaged
            started = None
        model = open_model(options.model)
    tokenizer = model.tokenizer
    request = StartRequest(
        sequence_id=1,
        prompt=tokenizer.encode(options.prompt),
        max_new=options.max_new,
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
        seed=options.seed if options.seed is not None else int.from_bytes(os.urandom(4), "little"),
        eos_ids=sorted(tokenizer.eos_ids),
        ignore_eos=options.ignore_eos,
    )
    if started is not None:
        stages["find_launch"] = (started.began - begun) * 1e3
    overlapped = "_while_starting" if started is not None and wanted.machine != "hosted" else ""
    stages["import" + overlapped] = (imported - (started.launched if started is not None else begun)) * 1e3
    stages["model" + overlapped] = (time.monotonic() - imported) * 1e3
    with open_session(model, wanted, started) as session:
        quiet = options.ids or options.json
        if not quiet:
            sys.stdout.write(options.prompt)
            sys.stdout.flush()
        asked = time.monotonic()
        try:
            on_text = None if quiet else _write
            made = generate(session.link, session.boot.tsc_hz, tokenizer, request, on_text)
        except KeyboardInterrupt:
            if not quiet:
                _write("\n")
            raise
        counters = _counters(session.link)
        backing = memory_backing(session.process_id)
    session.stages_ms = {
        **stages,
        **session.stages_ms,
        "first_token": (made.first_token_at - asked) * 1e3,
    }
    whole = (made.first_token_at - process_start) * 1e3
    if options.json:
        print(json.dumps(_report(model, session, made, counters, backing, whole)))
    elif options.ids:
        print(*made.ids)
    else:
        sys.stdout.write("\n")
    sys.stdout.flush()
    notes = "; ".join(note for note in (session.note, cpus_note) if note)
    print(
        f"{len(made.ids)} tokens, first after {made.ttft_ms:.1f} ms ({whole:.0f} ms from start), "
        f"{made.decode_tok_s:.0f} tokens/s on {session.machine} ({notes})",
        file=sys.stderr,
    )


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _counters(link: LinkClient) -> dict[str, int]:
    link.ask_counters()
    event: Event = link.next_event(COUNTER_SECONDS)
    return event.counters if isinstance(event, CountersEvent) else {}


def _report(
    model: PackedModel,
    session: Session,
    made: Generation,
    counters: dict[str, int],
    backing: dict[str, int],
    whole_ms: float,
) -> dict[str, Any]:
    boot = session.boot
    return {
        "model": model.name,
        "prompt_ids": made.prompt_ids,
        "ids": made.ids,
        "text": made.text,
        "reason": made.reason.name.lower(),
        "machine": session.machine,
        "logits_digest": f"{made.logits_digest:08x}",
        "timings": {
            "start_to_first_token_ms": whole_ms,
            "ttft_ms": made.ttft_ms,
            "decode_tok_s": made.decode_tok_s,
            "token_us": made.token_us,
            "stages_ms": session.stages_ms,
        },
        "boot": {
            "tsc_hz": boot.tsc_hz,
            "vector_bytes": boot.vector_bytes,
            "giant_pages": boot.giant_pages,
            "load": "map" if boot.mapped or session.machine == "hosted" else "nvme",
            "load_bytes": boot.load_bytes,
            "checked_bytes": boot.checked_bytes,
            "n_lanes": boot.n_lanes,
            "host_memory": backing,
            "regions": [
                {
                    "name": region.kind.name.lower(),
                    "address": region.address,
                    "bytes": region.bytes,
                    "page_bytes": region.page_bytes,
                    "permissions": "".join(
                        letter for bit, letter in enumerate("rwx") if region.permissions >> bit & 1
                    ),
                }
                for region in boot.regions
            ],
            "counters": counters,
        },
    }
