"""A machine's memory: RAM and the model's file, in pages of 2 MiB where Linux has them."""

import _thread
import ctypes
import os
from fcntl import ioctl
from pathlib import Path
from typing import NamedTuple

from axiom.host.errors import MachineError
from axiom.host.machine.guest_memory import mapped_file_address, ram_ranges
from axiom.host.machine.mapping import (
    MADV_POPULATE_WRITE,
    map_file,
    map_memory,
    reserve,
)
from axiom.host.machine.ready_memory import MOST_READY_BYTES, touch
from axiom.host.monitor.interface import MEMORY, MEMORY_READ_ONLY, SET_MEMORY


class Stretch(NamedTuple):
    """Part of this process's memory."""

    start: int
    bytes: int


class Ram(NamedTuple):
    """A machine's RAM in this process: how much of it is from address 0 on, and what is only its own."""

    start: int
    low_bytes: int
    unshared: Stretch

    def put(self, address: int, data: bytes) -> None:
        """Write to RAM that is not above 4 GiB."""
        if not 0 <= address <= self.low_bytes - len(data):
            raise MachineError(
                f"the image does not fit: the machine has no memory at {address:#x}, {len(data)} bytes"
            )
        ctypes.memmove(self.start + address, data, len(data))


def map_ram(machine: int, ram_bytes: int, file: int, shared_bytes: int) -> Ram:
    """Give a machine its RAM, of which `shared_bytes` from address 0 on are in a file. Raises OSError."""
    start = reserve(ram_bytes).start
    map_file(start, shared_bytes, file, writable=True)
    unshared = Stretch(start + shared_bytes, ram_bytes - shared_bytes)
    if unshared.bytes:
        map_memory(*unshared)
    ranges = ram_ranges(ram_bytes)
    for slot, part in enumerate(ranges):
        _set_memory(machine, slot, 0, part.address, part.bytes, start + part.file_offset)
    return Ram(start, ranges[0].bytes, unshared)


def map_model(machine: int, ram_bytes: int, model: Path) -> None:
    """Give a machine a file of a multiple of 2 MiB, which it can only read. Raises OSError."""
    file = os.open(model, os.O_RDONLY | os.O_CLOEXEC)
    try:
        mapped = Stretch(reserve(os.fstat(file).st_size).start, os.fstat(file).st_size)
        map_file(*mapped, file)
    finally:
        os.close(file)
    slot = len(ram_ranges(ram_bytes))
    _set_memory(machine, slot, MEMORY_READ_ONLY, mapped_file_address(ram_bytes), mapped.bytes, mapped.start)


def _set_memory(machine: int, slot: int, flags: int, address: int, count: int, at: int) -> None:
    ioctl(machine, SET_MEMORY, MEMORY.pack(slot, flags, address, count, at))


def touch_ahead(unshared: Stretch) -> None:
    """Touch, in a thread, the RAM that the first token touches: the KV cache and the activations.

    The model is left to who holds its file (`held_file`): pages that are mapped here it could not mend.
    """
    count = min(unshared.bytes, MOST_READY_BYTES)
    _thread.start_new_thread(touch, (unshared.start, count, MADV_POPULATE_WRITE))
