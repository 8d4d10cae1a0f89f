"""What it takes to serve a model in this process, remembered, so that the next start needs no compiler.

Light to import, for that reason.
"""

from pathlib import Path
from typing import NamedTuple

from axiom.compiler.object_cache import StoredObject, read_stored
from axiom.host.machine.host_processor import hosted_target
from axiom.host.machine.launch_notes import read_note, write_note
from axiom.host.machine.options import SessionOptions


class HostedLaunch(NamedTuple):
    """Which functions of an object serve a model, by their symbols, and how much memory they are given.

    target: what the object was compiled for. serve, read_cycles and the rest: see `metal.boot.hosted` and
    `metal.kernel.lanes`.
    """

    target: str
    model: str
    weights_offset: int
    weights_bytes: int
    kv_cache_bytes: int
    activation_bytes: int
    n_lanes: int
    serve: str
    read_cycles: str
    set_count: str
    lane_loop: str
    stop: str
    leave: str


def remember_hosted(launch: HostedLaunch, stored: StoredObject, options: SessionOptions) -> None:
    """Keep a launch that has worked, if its object is kept."""
    if stored.path is not None:
        write_note(launch.model, options, {"object": str(stored.path)} | launch._asdict())


def remembered_hosted(model: Path, options: SessionOptions) -> tuple[HostedLaunch, StoredObject] | None:
    """Return the launch of a packed model with these options, and its object, if nothing has changed."""
    fields = read_note(str(model), options)
    try:
        stored = read_stored(Path(fields.pop("object")))
        launch = HostedLaunch(**fields)
    except (KeyError, TypeError):
        return None
    if stored is None or launch.target != hosted_target().name:
        return None
    return launch, stored
