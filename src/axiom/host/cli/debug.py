"""`axiom debug`: the kernel, stopped before its first instruction, for gdb.

Without `--gdb` this process serves the request and says what to run in another terminal; with it gdb gets
this one. Everything ends when gdb is left, when the request is done, or at a Ctrl-C that gdb does not get.
"""

import shlex
import signal
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

from rich.console import Console

from axiom.host.cli.models import open_model, processors
from axiom.host.cli.run import machine_name
from axiom.host.errors import AxiomError, UserError
from axiom.host.machine.debugger import Debugger, find_breakpoint, free_port, gdb_arguments
from axiom.host.machine.launch import Started, start_machine
from axiom.host.machine.options import SessionOptions
from axiom.host.machine.prepare import prepare_launch
from axiom.host.machine.requests import StartRequest
from axiom.host.machine.session import open_session
from axiom.host.model.packed_file import PackedModel
from axiom.host.serve.generate import generate

_ENDED_BY_GDB = "Terminated via GDBstub"
_LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class DebugOptions:
    """What the command line said. breakpoints: each FILE:LINE or FILE:FUNCTION. gdb: open it here."""

    model: str | None
    prompt: str
    count: int
    breakpoints: list[str]
    gdb: bool
    machine: str
    cpus: int
    context: int | None


def debug_model(given: DebugOptions, console: Console) -> None:
    """Start the machine stopped, hand it to gdb, and serve one request, however long that takes."""
    machine = machine_name(given.machine)
    if machine == "hosted":
        raise UserError("a hosted kernel is a part of this process, not a machine.", "choose tcg or kvm")
    places = [find_breakpoint(text) for text in given.breakpoints]
    wanted = SessionOptions(
        machine=machine,
        cpus=processors(given.cpus)[0],
        n_context=given.context,
        gdb_port=free_port(),
    )
    model = open_model(given.model, console)
    launch = prepare_launch(model, wanted)
    assert wanted.gdb_port is not None
    arguments = gdb_arguments(Path(launch.image), wanted.gdb_port, places)
    with _signals_end_it(), start_machine(launch, wanted) as started:
        if not given.gdb:
            print("The kernel waits before its first instruction. To debug it, run", file=sys.stderr)
            print(f"\n    {shlex.join(arguments)}\n\nand `continue` there.", file=sys.stderr, flush=True)
        with _debugger(arguments, started) if given.gdb else nullcontext() as debugger:
            failure: AxiomError | None = None
            try:
                _serve(given, model, wanted, started)
            except AxiomError as error:
                if not _ended_by_debugger(started, debugger):
                    failure = error
            if debugger is not None:
                debugger.wait()
            if failure is not None:
                raise failure


def _serve(given: DebugOptions, model: PackedModel, wanted: SessionOptions, started: Started) -> None:
    tokenizer = model.tokenizer
    request = StartRequest(
        sequence_id=1,
        prompt=tokenizer.encode(given.prompt),
        max_new=given.count,
        temperature=0.0,
        top_k=0,
        top_p=1.0,
        seed=0,
        eos_ids=sorted(tokenizer.eos_ids),
        ignore_eos=False,
    )
    with open_session(model, wanted, started) as session:
        _show(given.prompt)
        generate(session.link, session.boot.tsc_hz, tokenizer, request, _show, token_seconds=float("inf"))
        _show("\n")


def _show(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _ended_by_debugger(started: Started, debugger: Debugger | None) -> bool:
    left = debugger is not None and debugger.has_ended()
    return left or _ENDED_BY_GDB in started.machine.process.errors()


@contextmanager
def _debugger(arguments: list[str], started: Started) -> Generator[Debugger]:
    """Run gdb here; when its user leaves it, the machine ends, wherever it was stopped."""
    debugger = Debugger(arguments)

    def end_machine() -> None:
        debugger.wait()
        started.machine.process.stop(_LOOK_SECONDS)

    watcher = threading.Thread(target=end_machine, name="gdb-watcher")
    watcher.start()
    # Ctrl-C is meant for gdb, which stops the kernel with it; the terminal sends it to this process too.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield debugger
    finally:
        debugger.close()
        watcher.join()


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


@contextmanager
def _signals_end_it() -> Generator[None]:
    """Have signals unwind everything: a kernel that is stopped takes no request to cancel."""
    kinds = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {kind: signal.signal(kind, _leave) for kind in kinds}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
