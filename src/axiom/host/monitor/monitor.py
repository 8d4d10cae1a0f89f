"""A machine on Linux's KVM that has what an image with a mapped model uses, and nothing else.

    memory      RAM as a Q35 machine of QEMU has it, the model's file above it, which nobody can write to
    processors  their interrupt controllers inside Linux's kernel; the first processor begins at PVH's entry
    ports       the first serial port, to which the log is written, and the port by which the kernel leaves

No firmware runs and no bus is searched: what those would find out is written into memory (`tables`). It
runs in a child process (`run_monitor` never returns), one thread per processor, and its memory goes with
it. All else reads as ones, and writing there does nothing, as on a bus without devices.
"""

import _thread
import ctypes
import os
import struct
from collections.abc import Generator
from contextlib import contextmanager
from fcntl import ioctl
from pathlib import Path
from typing import NamedTuple, NoReturn

from axiom.host.errors import MachineError
from axiom.host.machine.guest_memory import ram_ranges
from axiom.host.monitor.image import load_image
from axiom.host.monitor.interface import (
    ADDRESS_EXIT,
    CAPABILITY,
    CAPABILITY_SPLIT_IRQCHIP,
    CREATE_MACHINE,
    DEVICE,
    ENABLE_CAPABILITY,
    ERROR_EXIT,
    EXIT_AT,
    EXIT_REASON_AT,
    RUN,
    SET_IDENTITY_MAP_ADDRESS,
    SET_TSS_ADDRESS,
    Exit,
)
from axiom.host.monitor.memory import map_model, map_ram, touch_ahead
from axiom.host.monitor.ports import Ports
from axiom.host.monitor.processor import Processor, make_processors
from axiom.host.monitor.tables import TABLES_ADDRESS, start_tables

_INTERRUPT_PINS = 24
# Three pages that Intel's processors need to run real mode, and one for its page table: as QEMU has them.
_TSS_ADDRESS, _IDENTITY_MAP_ADDRESS = 0xFFFB_D000, 0xFFFB_C000
_PR_SET_NAME = 15
_RESET = 0
_libc = ctypes.CDLL(None, use_errno=True)


class MonitorOptions(NamedTuple):
    """What machine to make. memory, console: files; of `memory`, `shared_bytes` are RAM from address 0 on.

    A model's length is a multiple of 2 MiB. gate: a file at whose end the machine begins to run.
    """

    image: Path
    memory_bytes: int
    shared_bytes: int
    memory: int
    console: int
    model: Path | None
    cores: int
    command_line: str
    gate: int | None


def run_monitor(options: MonitorOptions) -> NoReturn:
    """Be a machine until it ends. The status is twice what the kernel left with, plus one; 0 for a reset.

    Raises MachineError, before anything of the image has run.
    """
    with _tried("make a machine"):
        kvm = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
        machine = make_machine(kvm)
    ram_bytes = options.memory_bytes
    with _tried(f"give a machine {ram_bytes >> 20} MiB of memory"):
        ram = map_ram(machine, ram_bytes, options.memory, options.shared_bytes)
        touch_ahead(ram.unshared)
    if options.model is not None:
        with _tried(f"map {options.model} into a machine"):
            map_model(machine, ram_bytes, options.model)
    with _tried(f"read {options.image}"):
        image = options.image.read_bytes()
    entry = load_image(image, ram.put)
    ranges = [(part.address, part.bytes) for part in ram_ranges(ram_bytes)]
    ram.put(TABLES_ADDRESS, start_tables(ranges, options.cores, options.command_line))
    with _tried(f"give a machine {options.cores} processors"):
        processors = make_processors(kvm, machine, options.cores)
        processors[0].enter_at(entry, TABLES_ADDRESS)
    if options.gate is not None:
        os.read(options.gate, 1)
    ports = Ports(options.console)
    for processor in processors[1:]:
        _thread.start_new_thread(_run_beside, (processor, ports))
    run_processor(processors[0], ports)


@contextmanager
def _tried(what: str) -> Generator[None]:
    """Say what could not be done."""
    try:
        yield
    except OSError as error:
        raise MachineError(f"KVM cannot {what}: {(error.strerror or str(error)).lower()}") from error


def make_machine(kvm: int) -> int:
    """Return a machine without memory and processors."""
    machine = ioctl(kvm, CREATE_MACHINE, 0)
    ioctl(machine, SET_IDENTITY_MAP_ADDRESS, struct.pack("<Q", _IDENTITY_MAP_ADDRESS))
    # An address is what `fcntl.ioctl` cannot take: it is no 32-bit integer with a sign.
    if _libc.ioctl(machine, ctypes.c_ulong(SET_TSS_ADDRESS), ctypes.c_ulong(_TSS_ADDRESS)) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    ioctl(
        machine, ENABLE_CAPABILITY, CAPABILITY.pack(CAPABILITY_SPLIT_IRQCHIP, 0, _INTERRUPT_PINS, 0, 0, 0)
    )
    return machine


def _run_beside(processor: Processor, ports: Ports) -> NoReturn:
    """Run a processor in a thread of its own, which nobody waits for: no machine without it."""
    try:
        run_processor(processor, ports)
    except BaseException as error:
        _complain(f"processor {processor.number} ended: {error}")


def run_processor(processor: Processor, ports: Ports) -> NoReturn:
    """Run a processor until the machine ends, and this process with it."""
    # The name is that of QEMU's threads: whoever looks for processors finds either's.
    _libc.prctl(_PR_SET_NAME, f"CPU {processor.number}/KVM".encode(), 0, 0, 0)
    run, file = processor.run, processor.file
    while True:
        try:
            ioctl(file, RUN, 0)
        except (InterruptedError, BlockingIOError):
            # A signal has come, or the interrupt that a processor waits for before it can run at all.
            continue
        except OSError as error:
            _complain(f"KVM cannot run processor {processor.number}: {error.strerror}")
        (reason,) = struct.unpack_from("<I", run, EXIT_REASON_AT)
        if reason == Exit.PORT:
            ports.serve(run)
        elif reason == Exit.ADDRESS:
            _, _, _, written = ADDRESS_EXIT.unpack_from(run, EXIT_AT)
            if not written:
                run[EXIT_AT + 8 : EXIT_AT + 16] = b"\xff" * 8
        elif reason == Exit.SHUTDOWN:
            os._exit(_RESET)
        elif reason not in (Exit.INTERRUPTED, Exit.END_OF_INTERRUPT):
            (detail,) = ERROR_EXIT.unpack_from(run, EXIT_AT)
            name = Exit(reason).name.lower().replace("_", " ") if reason in set(Exit) else f"exit {reason}"
            _complain(f"KVM cannot run processor {processor.number} on: {name}, detail {detail:#x}")


def _complain(sentence: str) -> NoReturn:
    os.write(2, f"{sentence}\n".encode())
    os._exit(1)
