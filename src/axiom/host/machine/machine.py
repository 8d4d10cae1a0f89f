"""A machine of its own that runs one image, with the packed model mapped into memory or as an NVMe drive.

`with Machine(MachineOptions(...)) as machine:` starts it and, at the end, leaves nothing behind. The host
reads and writes guest memory directly (`machine.memory`), reads the log (`machine.console`), and, where the
link goes over the second serial port, talks through `machine.serial`. The model file is opened
read-only. It is the monitor of our own where that has all that is wanted, which starts at once, else QEMU.
"""

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, NamedTuple, NoReturn, Self

from axiom.abi.exit_code import ExitCode
from axiom.host.errors import MachineError
from axiom.host.machine.accelerator import Accelerator, Choice, choose_accelerator
from axiom.host.machine.console import Console
from axiom.host.machine.guest_memory import GuestMemory
from axiom.host.machine.process import Process, run_program

if TYPE_CHECKING:
    import socket

QEMU = "qemu-system-x86_64"
_INSTALL = "install it (on Debian or Ubuntu: apt-get install qemu-system-x86)"
_OTHER_WAY = "with --load nvme QEMU is the machine"
_STOP_SECONDS = 2.0


class MachineOptions(NamedTuple):
    """What machine to make.

    shared_bytes: how much of memory, from address 0, the host sees; None for all. The rest is faster to
    touch for the first time (see `guest_memory`). load: "nvme" shows the model as a drive, "map" puts the
    pages of its file, which is a multiple of 2 MiB long, into guest memory at `mapped_file_address`.
    With `gdb_port` the machine waits there for a debugger before the first instruction. monitor: "qemu"
    makes it QEMU that is the machine, whatever is wanted. held: the monitor gets memory ready, and runs
    nothing until `release`; QEMU cannot be held.
    """

    image: Path
    memory_bytes: int
    shared_bytes: int | None = None
    model: Path | None = None
    load: Literal["nvme", "map"] = "nvme"
    cores: int = 1
    accelerator: Choice = "auto"
    link: Literal["memory", "serial"] = "memory"
    command_line: str = ""
    gdb_port: int | None = None
    monitor: Literal["auto", "qemu"] = "auto"
    held: bool = False


class MachineEnded(MachineError):
    """The machine stopped while it was still needed. `code`: what the kernel said as it left, if it did."""

    def __init__(self, message: str, code: ExitCode | None, hint: str = "") -> None:
        super().__init__(message, hint)
        self.code = code


def needs_qemu(options: MachineOptions, accelerator: Accelerator) -> bool:
    """Tell whether a machine has what only QEMU gives it: emulation, a drive, a debugger, a second port."""
    drive = options.model is not None and options.load == "nvme"
    emulated = accelerator.name != "kvm"
    debugged = options.gdb_port is not None
    return options.monitor == "qemu" or emulated or drive or debugged or options.link == "serial"


def _serial_pair() -> "tuple[socket.socket, socket.socket]":
    """Return this process's end of a serial port, which never waits, and the machine's."""
    import socket

    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    return ours, theirs


def _qemu_program() -> str:
    import shutil

    program = shutil.which(QEMU)
    if program is None:
        raise MachineError(f"QEMU ({QEMU}) is not installed", _INSTALL)
    return program


class Machine:
    """A running machine. Start it from a thread that lives as long (see `process`).

    running_since: when it was started or, if it was held, released, of time.monotonic().
    """

    def __init__(self, options: MachineOptions) -> None:
        """Start the machine; returns before the guest has run anything.

        Raises MachineError when QEMU is needed and missing, or KVM was asked for and cannot be used.
        """
        for file in (options.image, options.model):
            if file is not None and not file.is_file():
                raise MachineError(f"there is no file {file} to start a machine with")
        self.options = options
        self.accelerator = choose_accelerator(options.accelerator)
        self.is_qemu = needs_qemu(options, self.accelerator)
        qemu = _qemu_program() if self.is_qemu else ""
        self.serial: socket.socket | None = None
        self._gate: int | None = None
        with ExitStack() as stack:
            try:
                self.memory = GuestMemory(options.memory_bytes, options.shared_bytes)
                stack.callback(self.memory.close)
                self.console = Console()
                stack.callback(self.console.close)
                self._start(qemu, stack)
            except OSError as error:
                raise MachineError(f"cannot start a machine: {error.strerror}") from error
            self._files = stack.pop_all()

    def _start(self, qemu: str, stack: ExitStack) -> None:
        """Start the process. stack: closes what stays open here; the machine's own is closed at once."""
        files, gate = [self.memory.file, self.console.file], None
        with ExitStack() as theirs:
            if self.options.link == "serial":
                self.serial, other = _serial_pair()
                stack.callback(self.serial.close)
                theirs.callback(other.close)
                files.append(other.fileno())
            if self.options.held and not self.is_qemu:
                gate, self._gate = os.pipe()
                stack.callback(self.release)
                theirs.callback(os.close, gate)
                files.append(gate)
            run = self._qemu(qemu, files) if self.is_qemu else self._monitor(gate)
            self.process = Process(run, files)
        self.running_since = time.monotonic()

    def release(self) -> None:
        """Let a machine run that was held."""
        if self._gate is not None:
            os.close(self._gate)
            self._gate = None
            self.running_since = time.monotonic()

    def _qemu(self, program: str, files: list[int]) -> Callable[[], NoReturn]:
        from axiom.host.machine.qemu import qemu_command

        serial = files[2] if len(files) > 2 else None
        command = qemu_command(self.options, self.accelerator, files[0], files[1], serial)
        return run_program([program, *command])

    def _monitor(self, gate: int | None) -> Callable[[], NoReturn]:
        from axiom.host.monitor.monitor import MonitorOptions, run_monitor

        options = self.options
        wanted = MonitorOptions(
            image=options.image.absolute(),
            memory_bytes=options.memory_bytes,
            shared_bytes=self.memory.shared_bytes,
            memory=self.memory.file,
            console=self.console.file,
            model=None if options.model is None else options.model.absolute(),
            cores=options.cores,
            command_line=options.command_line,
            gate=gate,
        )
        return lambda: run_monitor(wanted)

    def model_path(self) -> Path:
        """Return the packed model that the machine was started with."""
        assert self.options.model is not None
        return self.options.model

    def has_ended(self) -> bool:
        """Tell whether the machine has ended."""
        return self.process.status() is not None

    def exit_code(self) -> ExitCode | None:
        """Return what the kernel left with; None while it runs, or when it ended in another way."""
        status = self.process.status()
        # QEMU's isa-debug-exit makes the status twice the value written, plus one; so does the monitor.
        if status is None or status < 0 or status % 2 == 0 or status // 2 not in set(ExitCode):
            return None
        return ExitCode(status // 2)

    def wait(self, seconds: float) -> ExitCode | None:
        """Wait for the end, no longer than `seconds`; return `exit_code`."""
        self.process.wait(seconds)
        return self.exit_code()

    def check_alive(self) -> None:
        """Raise MachineEnded when the machine has ended."""
        status = self.process.status()
        if status is None:
            return
        code = self.exit_code()
        refused = not self.is_qemu and status == 1 and self.process.errors().startswith("KVM ")
        hint = _OTHER_WAY if refused else ""
        raise MachineEnded(self._how_it_ended(status, code), code, hint)

    def _how_it_ended(self, status: int, code: ExitCode | None) -> str:
        if code == ExitCode.OK:
            return "the machine has shut down"
        if code == ExitCode.CRASH:
            return "the kernel crashed"
        if code == ExitCode.REFUSED:
            lines = self.console.last_lines(1)
            return f"the kernel refused to start: {lines[0] if lines else 'it gave no reason'}"
        if status == 0:
            return "the machine reset itself: the processor met a fault that the kernel could not handle"
        name = "QEMU" if self.is_qemu else "the machine's process"
        if status < 0:
            return f"{name} was ended by signal {-status}"
        complaints = [line for line in self.process.errors().splitlines() if line.strip()]
        return f"{name} ended with status {status}: {complaints[0] if complaints else 'it gave no reason'}"

    def close(self) -> None:
        """End the machine and give everything back."""
        with self._files:
            self.process.stop(_STOP_SECONDS)
            self.process.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
