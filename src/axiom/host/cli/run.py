"""`axiom run`: the machine is started first, and the rest of the program is imported meanwhile."""

import os
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast, get_args

from axiom.host.cli.models import model_path, parse_size, processors
from axiom.host.errors import UserError
from axiom.host.machine.options import KvName, LinkName, LoadName, MachineName, SessionOptions
from axiom.host.model.packed_cache import default_cache_dir, remembered_path

if TYPE_CHECKING:
    from axiom.host.machine.hosted import HostedMachine
    from axiom.host.machine.launch import Started


class RunOptions(NamedTuple):
    """What the command line said; cpus None: all that there are."""

    model: str | None
    prompt: str
    max_new: int
    temperature: float
    top_k: int
    top_p: float
    seed: int | None
    ignore_eos: bool
    ids: bool
    json: bool
    machine: str
    cpus: int | None
    memory: str | None
    context: int | None
    load: str
    link: str
    kv: str | None


def process_start() -> float:
    """Return when this process began, on the clock of time.monotonic()."""
    ticks = int(Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19])
    return ticks / os.sysconf("SC_CLK_TCK")


def _choice(what: str, text: str, kind: Any) -> str:
    if text not in get_args(kind):
        raise UserError(f"there is no {what} {text!r}.", f"choose one of {', '.join(get_args(kind))}")
    return text


def machine_name(text: str) -> MachineName:
    """Return the machine that a name means."""
    return cast(MachineName, _choice("machine", text, MachineName))


def load_name(text: str) -> LoadName:
    """Return the way to load a model that a name means."""
    return cast(LoadName, _choice("way to load", text, LoadName))


def kv_name(text: str | None) -> KvName | None:
    """Return the type of the KV cache that a name means; None: as the model has it."""
    return None if text is None else cast(KvName, _choice("type of KV cache", text, KvName))


def _check(options: RunOptions) -> None:
    if options.max_new < 1:
        raise UserError(f"-n {options.max_new} asks for no tokens.", "give at least 1")
    if options.temperature < 0:
        raise UserError(f"--temp {options.temperature} is negative.", "0 is greedy; 0.8 is lively")
    if not 0 < options.top_p <= 1:
        raise UserError(f"--top-p {options.top_p} is not within 0 and 1.")
    if options.top_k < 0:
        raise UserError(f"--top-k {options.top_k} is negative.", "0 means all tokens")


def run_model(options: RunOptions) -> None:
    """Start the machine if it is known how, then pack, boot, generate and report."""
    begun = time.monotonic()
    _check(options)
    cpus, cpus_note = processors(options.cpus)
    wanted = SessionOptions(
        machine=machine_name(options.machine),
        cpus=cpus,
        memory_bytes=parse_size(options.memory),
        n_context=options.context,
        load=load_name(options.load),
        link=cast(LinkName, _choice("link", options.link, LinkName)),
        kv_type=kv_name(options.kv),
    )
    with ExitStack() as stack:
        started = _start_early(options.model, wanted)
        if started is not None:
            stack.enter_context(started)
        from axiom.host.cli.generation import generate_and_print

        generate_and_print(options, wanted, started, process_start(), begun, cpus_note)


def _start_early(model: str | None, wanted: SessionOptions) -> "Started | HostedMachine | None":
    """Start the machine as it was started the last time with this model and these options."""
    path = remembered_path(model_path(model), default_cache_dir())
    if path is None:
        return None
    if wanted.machine == "hosted":
        from axiom.host.machine.hosted_launch import remembered_hosted

        found = remembered_hosted(path, wanted)
        if found is None:
            return None
        from axiom.host.machine.hosted import HostedMachine

        return HostedMachine(*found)
    from axiom.host.machine.launch import remembered_launch, start_machine

    launch = remembered_launch(path, wanted)
    return None if launch is None else start_machine(launch, wanted, held=True)
