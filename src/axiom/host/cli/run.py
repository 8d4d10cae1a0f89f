"""`axiom run`: one prompt, one story, one line of statistics."""

import json
import os
import secrets
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

from rich.console import Console

from axiom.host.cli.models import open_model, parse_size
from axiom.host.errors import UserError
from axiom.host.machine.events import CountersEvent, Event
from axiom.host.machine.link import LinkClient
from axiom.host.machine.requests import StartRequest
from axiom.host.machine.session import MachineName, Session, SessionOptions, open_session
from axiom.host.model.pack import default_cache_dir
from axiom.host.model.packed_file import PackedModel
from axiom.host.serve.generate import Generation, generate

COUNTER_SECONDS = 10.0


@dataclass(frozen=True)
class RunOptions:
    """What the command line said."""

    model: str | None
    prompt: str
    count: int
    temperature: float
    top_k: int
    top_p: float
    seed: int | None
    ignore_eos: bool
    ids: bool
    json: bool
    machine: str
    cpus: int
    memory: str | None
    context: int | None


def process_start() -> float:
    """Return when this process began, on the clock of time.monotonic()."""
    ticks = int(Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19])
    return ticks / os.sysconf("SC_CLK_TCK")


def machine_name(text: str) -> MachineName:
    """Return the machine that a name means."""
    if text not in get_args(MachineName):
        raise UserError(
            f"there is no machine {text!r}.", f"choose one of {', '.join(get_args(MachineName))}"
        )
    return cast(MachineName, text)


def _check(options: RunOptions) -> MachineName:
    if options.count < 1:
        raise UserError(f"-n {options.count} asks for no tokens.", "give at least 1")
    if options.temperature < 0:
        raise UserError(f"--temp {options.temperature} is negative.", "0 is greedy; 0.8 is lively")
    if not 0 < options.top_p <= 1:
        raise UserError(f"--top-p {options.top_p} is not within 0 and 1.")
    if options.top_k < 0:
        raise UserError(f"--top-k {options.top_k} is negative.", "0 means all tokens")
    if not 1 <= options.cpus <= 64:
        raise UserError(f"--cpus {options.cpus} is not within 1 and 64.")
    return machine_name(options.machine)


def run_model(options: RunOptions, console: Console) -> None:
    """Pack, boot, generate and report."""
    machine = _check(options)
    memory_bytes = parse_size(options.memory)
    model = open_model(options.model, console)
    tokenizer = model.tokenizer
    prompt = tokenizer.encode(options.prompt)
    packed_at = time.monotonic()
    wanted = SessionOptions(
        machine, options.cpus, memory_bytes, options.context, default_cache_dir().parent
    )
    request = StartRequest(
        sequence_id=1,
        prompt=prompt,
        max_new=options.count,
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
        seed=options.seed if options.seed is not None else secrets.randbits(32),
        eos_ids=sorted(tokenizer.eos_ids),
        ignore_eos=options.ignore_eos,
    )
    with open_session(model, wanted) as session:
        quiet = options.ids or options.json
        if not quiet:
            sys.stdout.write(options.prompt)
            sys.stdout.flush()
        made = generate(session.link, session.boot.tsc_hz, tokenizer, request, None if quiet else _write)
        counters = _counters(session.link)
    start = process_start()
    session.stages_ms = {"before_session": (packed_at - start) * 1e3, **session.stages_ms}
    whole = (made.first_token_at - start) * 1e3
    if options.json:
        print(json.dumps(_report(model, session, made, counters, whole)))
    elif options.ids:
        print(*made.ids)
    else:
        sys.stdout.write("\n")
    sys.stdout.flush()
    console.print(
        f"{len(made.ids)} tokens, first after {made.ttft_ms:.1f} ms ({whole:.0f} ms from start), "
        f"{made.decode_tok_s:.0f} tokens/s on {session.machine} ({session.note})",
        markup=False,
    )


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _counters(link: LinkClient) -> dict[str, int]:
    link.ask_counters()
    event: Event = link.next_event(COUNTER_SECONDS)
    return event.counters if isinstance(event, CountersEvent) else {}


def _report(
    model: PackedModel, session: Session, made: Generation, counters: dict[str, int], whole_ms: float
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
            "load_bytes": boot.load_bytes,
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
