"""A Q35 machine in QEMU that runs one image, with the packed model as an NVMe drive or mapped into memory.

`with Qemu(MachineOptions(...)) as machine:` starts it and, at the end, leaves nothing behind. The host
reads and writes guest memory directly (`machine.memory`), reads the log (`machine.console`), and, where the
link goes over the second serial port, talks through `machine.serial`. The model file is opened
read-only. Tested with QEMU 7.2.
"""

import shutil
import socket
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple, Self

from axiom.abi.exit_code import ExitCode
from axiom.host.errors import MachineError
from axiom.host.machine.accelerator import Accelerator, Choice, choose_accelerator
from axiom.host.machine.console import Console
from axiom.host.machine.guest_memory import GuestMemory, mapped_file_address
from axiom.host.machine.process import Process

PROGRAM = "qemu-system-x86_64"
FIRMWARE = "qboot.rom"
LARGEST_TRANSFER_POWER = 9
_INSTALL = "install it (on Debian or Ubuntu: apt-get install qemu-system-x86)"
_CPU = {"kvm": "host,-arch-capabilities,+invtsc,vmware-cpuid-freq=on", "tcg": "max"}
# Devices that the kernel has no use for. With only the local interrupt controllers in Linux's kernel, which
# is all that the watchdog needs, QEMU starts in 43 ms instead of 62. TCG does not tell the frequency of its
# time-stamp counter: there the kernel measures it against the HPET.
_FEWER_DEVICES = "sata=off,smbus=off,smm=off,i8042=off,vmport=off"
_MACHINE = {"kvm": f"kernel-irqchip=split,pit=off,hpet=off,{_FEWER_DEVICES}", "tcg": _FEWER_DEVICES}
_STOP_SECONDS = 2.0
_HUGE_PAGE_BYTES = 2 << 20


class MachineOptions(NamedTuple):
    """What machine to make.

    shared_bytes: how much of memory, from address 0, the host sees; None for all. The rest is faster to
    touch for the first time (see `guest_memory`). load: "nvme" shows the model as a drive, "map" puts the
    pages of its file, which is a multiple of 2 MiB long, into guest memory at `mapped_file_address`.
    With `gdb_port` QEMU waits there for a debugger before the first instruction.
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


class MachineEnded(MachineError):
    """The machine stopped while it was still needed. `code`: what the kernel said as it left, if it did."""

    def __init__(self, message: str, code: ExitCode | None) -> None:
        super().__init__(message)
        self.code = code


def _quoted(path: Path) -> str:
    """Write a file name for a QEMU option, where a comma ends the value."""
    return str(path.absolute()).replace(",", ",,")


def qemu_command(
    options: MachineOptions, accelerator: Accelerator, memory: int, console: int, serial: int | None
) -> list[str]:
    """Return the arguments of QEMU; `memory`, `console` and `serial` are file descriptors it inherits."""
    arguments = ["-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none", "-no-reboot"]
    arguments += ["-name", "axiom,debug-threads=on"]
    mapped = options.model is not None and options.load == "map"
    nvdimm = ",nvdimm=on" if mapped else ""
    machine = f"q35,accel={accelerator.name},{_MACHINE[accelerator.name]}{nvdimm}"
    arguments += ["-machine", machine, "-bios", FIRMWARE]
    arguments += ["-cpu", _CPU[accelerator.name], "-smp", str(options.cores)]
    arguments += _memory_arguments(options, memory)
    arguments += ["-chardev", f"file,id=console,path=/proc/self/fd/{console},append=on"]
    arguments += ["-serial", "chardev:console"]
    if serial is not None:
        arguments += ["-chardev", f"socket,id=link,fd={serial}", "-serial", "chardev:link"]
    arguments += ["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]
    if options.model is not None:
        arguments += _mapped_model(options) if mapped else _drive(options.model)
    arguments += ["-kernel", str(options.image.absolute())]
    if options.command_line:
        arguments += ["-append", options.command_line]
    if options.gdb_port is not None:
        arguments += ["-gdb", f"tcp:127.0.0.1:{options.gdb_port}", "-S"]
    return arguments


def _drive(model: Path) -> list[str]:
    drive = f"file={_quoted(model)},if=none,id=model,format=raw,readonly=on,cache=writeback,aio=threads"
    return ["-drive", drive, "-device", f"nvme,drive=model,serial=axiom,mdts={LARGEST_TRANSFER_POWER}"]


def _mapped_model(options: MachineOptions) -> list[str]:
    """Plug the file in as a memory module that nobody can write to; aligned, so that huge pages fit."""
    assert options.model is not None
    size = options.model.stat().st_size
    backend = f"memory-backend-file,id=model,mem-path={_quoted(options.model)},size={size},share=on"
    address = mapped_file_address(options.memory_bytes)
    device = f"nvdimm,memdev=model,unarmed=on,addr={address:#x}"
    return ["-object", f"{backend},readonly=on,align={_HUGE_PAGE_BYTES}", "-device", device]


def _memory_arguments(options: MachineOptions, file: int) -> list[str]:
    size = options.memory_bytes
    shared = size if options.shared_bytes is None else min(size, options.shared_bytes)
    backend = f"memory-backend-file,id=shared,mem-path=/proc/self/fd/{file},size={shared},share=on"
    module = ""
    if options.model is not None and options.load == "map":
        module = f",slots=1,maxmem={size + options.model.stat().st_size}"
    arguments = ["-m", f"size={size >> 20}M{module}", "-object", backend]
    arguments += ["-numa", "node,nodeid=0,memdev=shared"]
    if shared < size:
        arguments += ["-object", f"memory-backend-ram,id=rest,size={size - shared}"]
        arguments += ["-numa", "node,nodeid=1,memdev=rest"]
    return arguments


class Qemu:
    """A running machine. Start it from a thread that lives as long (see `process`)."""

    def __init__(self, options: MachineOptions) -> None:
        """Start the machine; returns before the guest has run anything.

        Raises MachineError when QEMU is missing or KVM was asked for and cannot be used.
        """
        program = shutil.which(PROGRAM)
        if program is None:
            raise MachineError(f"QEMU ({PROGRAM}) is not installed", _INSTALL)
        for file in (options.image, options.model):
            if file is not None and not file.is_file():
                raise MachineError(f"there is no file {file} to start a machine with")
        self.options = options
        self.accelerator = choose_accelerator(options.accelerator)
        self.memory = GuestMemory(options.memory_bytes, options.shared_bytes)
        self.console = Console()
        self.serial: socket.socket | None = None
        theirs: socket.socket | None = None
        try:
            if options.link == "serial":
                self.serial, theirs = socket.socketpair()
                self.serial.setblocking(False)
            files = [self.memory.file, self.console.file, *([theirs.fileno()] if theirs else [])]
            command = qemu_command(
                options, self.accelerator, files[0], files[1], files[2] if theirs else None
            )
            self.process = Process([program, *command], files)
        except BaseException:
            self._close_files()
            raise
        finally:
            if theirs is not None:
                theirs.close()

    def model_path(self) -> Path:
        """Return the packed model that the machine was started with."""
        assert self.options.model is not None
        return self.options.model

    def has_ended(self) -> bool:
        """Tell whether QEMU has ended."""
        return self.process.status() is not None

    def exit_code(self) -> ExitCode | None:
        """Return what the kernel left with; None while it runs, or when QEMU ended in another way."""
        status = self.process.status()
        # isa-debug-exit makes QEMU's status twice the value written, plus one.
        if status is None or status < 0 or status % 2 == 0 or status // 2 not in set(ExitCode):
            return None
        return ExitCode(status // 2)

    def wait(self, seconds: float) -> ExitCode | None:
        """Wait for the end, no longer than `seconds`; return `exit_code`."""
        self.process.wait(seconds)
        return self.exit_code()

    def check_alive(self) -> None:
        """Raise MachineEnded when QEMU has ended."""
        status = self.process.status()
        if status is None:
            return
        code = self.exit_code()
        raise MachineEnded(self._how_it_ended(status, code), code)

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
        if status < 0:
            return f"QEMU was ended by signal {-status}"
        complaints = [line for line in self.process.errors().splitlines() if line.strip()]
        return f"QEMU ended with status {status}: {complaints[0] if complaints else 'it gave no reason'}"

    def close(self) -> None:
        """End the machine and give everything back."""
        self.process.stop(_STOP_SECONDS)
        self.process.close()
        self._close_files()

    def _close_files(self) -> None:
        if self.serial is not None:
            self.serial.close()
        self.console.close()
        self.memory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
