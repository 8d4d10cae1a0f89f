"""What it takes to start a machine, remembered, so that the next start can do it first of all.

While the machine gets ready, the rest of the program is imported. Light to
import, for that reason.
"""

import os
import time
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple, Self

from axiom.host.errors import UserError
from axiom.host.machine.guest_memory import available_bytes
from axiom.host.machine.held_file import HeldFile
from axiom.host.machine.launch_notes import read_note, write_note
from axiom.host.machine.machine import Machine, MachineOptions
from axiom.host.machine.options import SessionOptions


class Launch(NamedTuple):
    """An image, the packed model, and how much memory of what kind; rings_address: of the link region."""

    image: str
    model: str
    memory_bytes: int
    shared_bytes: int
    rings_address: int
    load: Literal["nvme", "map"]
    link: Literal["memory", "serial"]
    command_line: str


class Started(NamedTuple):
    """A machine that is booting, when it was started (time.monotonic), and the model held in memory."""

    launch: Launch
    machine: Machine
    began: float
    launched: float
    held: HeldFile | None = None

    def model_path(self) -> Path:
        """Return the packed model that the machine was started with."""
        return Path(self.launch.model)

    def release(self) -> None:
        """Let the machine run, if it is held."""
        self.machine.release()

    def close(self) -> None:
        """End the machine and let its model go."""
        self.machine.close()
        if self.held is not None:
            self.held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def start_machine(launch: Launch, options: SessionOptions, *, held: bool = False) -> Started:
    """Start the machine of a launch; whoever gets it closes it. Raises UserError when memory is short.

    held: it gets ready and waits for `Machine.release`, where it can.
    """
    began = time.monotonic()
    assert options.machine != "hosted"
    missing = launch.memory_bytes - available_bytes()
    if missing > 0:
        raise UserError(
            f"the machine needs {launch.memory_bytes >> 20} MiB, and this computer is short of "
            f"{missing} bytes.",
            "close something, or choose a shorter --context",
        )
    wanted = MachineOptions(
        image=Path(launch.image),
        memory_bytes=launch.memory_bytes,
        shared_bytes=launch.shared_bytes,
        model=Path(launch.model),
        load=launch.load,
        cores=options.cpus,
        accelerator=options.machine,
        link=launch.link,
        command_line=launch.command_line,
        gdb_port=options.gdb_port,
        held=held,
    )
    machine = Machine(wanted)
    try:
        file = HeldFile(wanted.model) if launch.load == "map" and wanted.model is not None else None
    except BaseException:
        machine.close()
        raise
    return Started(launch, machine, began, time.monotonic(), file)


def remember_launch(launch: Launch, options: SessionOptions) -> None:
    """Keep a launch that has worked; where nothing can be written, nothing is kept."""
    write_note(launch.model, options, launch._asdict())


def remembered_launch(model: Path, options: SessionOptions) -> Launch | None:
    """Return the launch of a packed model with these options, if there was one and nothing has changed."""
    try:
        launch = Launch(**read_note(str(model), options))
    except TypeError:
        return None
    there = os.path.isfile(launch.image) and os.path.isfile(launch.model)
    return launch if there else None
