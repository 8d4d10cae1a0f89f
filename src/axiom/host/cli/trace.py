"""`axiom trace`: where the time of a request goes, operation by operation."""

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from axiom.host.bench.trace import busy_fraction, perfetto_json, read_trace, summarise
from axiom.host.cli.models import open_model, processors
from axiom.host.cli.run import kv_name, machine_name
from axiom.host.errors import UserError
from axiom.host.machine.requests import StartRequest
from axiom.host.machine.session import SessionOptions, open_session, plan_for
from axiom.host.serve.generate import generate


@dataclass(frozen=True)
class TraceOptions:
    """What the command line said."""

    model: str | None
    prompt: str
    count: int
    machine: str
    cpus: int | None
    context: int | None
    output: Path
    kv: str | None


def write_whole(path: Path, text: str) -> None:
    """Write a file under another name first, so that it is whole or not there."""
    try:
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
            try:
                file.write(text)
                file.close()
                os.replace(file.name, path)
            except BaseException:
                os.unlink(file.name)
                raise
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}.") from error


def trace_model(options: TraceOptions, console: Console) -> None:
    """Run one request, write its trace and print what took the time."""
    machine = machine_name(options.machine)
    if options.output.is_dir() or not options.output.parent.is_dir():
        raise UserError(f"{options.output} is no file that could be written.", "give another name with -o")
    model = open_model(options.model, console)
    wanted = SessionOptions(
        machine=machine,
        cpus=processors(options.cpus)[0],
        n_context=options.context,
        kv_type=kv_name(options.kv),
    )
    prompt = model.tokenizer.encode(options.prompt)
    request = StartRequest(1, prompt, options.count, ignore_eos=True, trace=True)
    operations = plan_for(model, options.context, kv_type=wanted.kv_type).operations
    with open_session(model, wanted) as session:
        made = generate(session.link, session.boot.tsc_hz, model.tokenizer, request)
        trace = read_trace(session.link, operations, session.boot.tsc_hz)
    write_whole(options.output, json.dumps(perfetto_json(trace, model.name)))
    table = Table("operation", "batch", "times", "ms", "share", "GB/s", "GMAC/s", box=None, pad_edge=False)
    sums = summarise(trace)
    whole = sum(one.microseconds for one in sums)
    for one in sums:
        table.add_row(
            one.name,
            "prompt" if one.batched else "token",
            str(one.count),
            f"{one.microseconds / 1e3:.2f}",
            f"{one.microseconds / whole:.1%}",
            f"{one.bytes_read / one.microseconds / 1e3:.1f}",
            f"{one.multiply_adds / one.microseconds / 1e3:.1f}",
        )
    out = Console(highlight=False)
    out.print(table)
    out.print(
        f"{len(trace.lanes)} lanes; lane 0 was busy {busy_fraction(trace):.1%} of the time; "
        f"{len(made.ids)} tokens, {made.decode_tok_s:.1f} tokens/s",
        soft_wrap=True,
    )
    if trace.n_lost:
        out.print(f"only the end is there: {trace.n_lost} older records were overwritten")
    console.print(f"wrote {options.output}; open it at https://ui.perfetto.dev", markup=False)
