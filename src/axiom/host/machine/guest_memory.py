"""The guest's RAM as this process sees it: one anonymous file that the machine maps too.

The file has no name, so nothing is left behind however either process ends. It may hold only the first
part of RAM: the machine then makes the rest itself, from huge pages, which are faster to touch first. A Q35
machine shows RAM to the guest in one part below 0xB0000000, or, from that size on, as 2 GiB from address 0
and the rest from 4 GiB on. Source: QEMU 7.2, hw/i386/pc_q35.c, pc_q35_init
(`lowmem`).
"""

import mmap
import os
from pathlib import Path
from typing import NamedTuple

from axiom.host.errors import MachineError, UserError

_LOW_LIMIT = 0xB000_0000
_LOW_BYTES_WHEN_SPLIT = 0x8000_0000
_HIGH_ADDRESS = 0x1_0000_0000
_DEVICE_ALIGN = 1 << 30
_MINIMUM_BYTES = 16 << 20
_MULTIPLE = 2 << 20


class RamRange(NamedTuple):
    """Guest-physical addresses that are RAM, and where they lie in the file."""

    address: int
    bytes: int
    file_offset: int


def ram_ranges(ram_bytes: int) -> tuple[RamRange, ...]:
    """Return where a Q35 machine with so much RAM has it, in order of address."""
    if ram_bytes < _LOW_LIMIT:
        return (RamRange(0, ram_bytes, 0),)
    low = _LOW_BYTES_WHEN_SPLIT
    return (RamRange(0, low, 0), RamRange(_HIGH_ADDRESS, ram_bytes - low, low))


def mapped_file_address(ram_bytes: int) -> int:
    """Return where a Q35 machine with so much RAM has the first memory device that is plugged in.

    Source: QEMU 7.2, hw/i386/pc.c, pc_memory_init (`device_memory`).
    """
    last = ram_ranges(ram_bytes)[-1]
    return -(-max(last.address + last.bytes, _HIGH_ADDRESS) // _DEVICE_ALIGN) * _DEVICE_ALIGN


class GuestMemory:
    """RAM of `ram_bytes`, a multiple of 2 MiB, all zero, taking no memory until it is touched.

    shared_bytes: how much of it, from the start, this process sees; None for all.
    """

    def __init__(self, ram_bytes: int, shared_bytes: int | None = None) -> None:
        if ram_bytes < _MINIMUM_BYTES or ram_bytes % _MULTIPLE:
            raise UserError(
                f"a machine cannot have {ram_bytes} bytes of memory",
                f"give a multiple of 2 MiB, at least {_MINIMUM_BYTES >> 20} MiB",
            )
        self.ram_bytes = ram_bytes
        self.shared_bytes = ram_bytes if shared_bytes is None else min(shared_bytes, ram_bytes)
        if self.shared_bytes < _MULTIPLE or self.shared_bytes % _MULTIPLE:
            raise ValueError(f"{shared_bytes} bytes cannot be shared")
        self.file = os.memfd_create("axiom-guest", os.MFD_CLOEXEC)
        try:
            os.ftruncate(self.file, self.shared_bytes)
            self._map = mmap.mmap(self.file, self.shared_bytes)
            # A monitor is forked, and would keep the memory of other machines for as long as it lives.
            self._map.madvise(mmap.MADV_DONTFORK)
        except (OSError, ValueError) as error:
            os.close(self.file)
            raise MachineError(
                f"cannot reserve {self.shared_bytes >> 20} MiB of memory: {error}"
            ) from error
        self._view = memoryview(self._map)

    def view(self, address: int, count: int) -> memoryview:
        """Return `count` bytes from a guest-physical address on, to be read and written in place.

        Raises MachineError when they are not all shared RAM in one piece. Release views before `close`.
        """
        for part in ram_ranges(self.ram_bytes):
            if part.address <= address and address + count <= part.address + part.bytes and count >= 0:
                start = part.file_offset + address - part.address
                if start + count <= self.shared_bytes:
                    return self._view[start : start + count]
        raise MachineError(f"no memory is shared with the guest at {address:#x}, {count} bytes")

    def close(self) -> None:
        """Give the memory back. A view that is still held keeps the mapping until it is gone."""
        if self.file < 0:
            return
        os.close(self.file)
        self.file = -1
        self._view.release()
        try:
            self._map.close()
        except BufferError:
            # A caller still holds a view: the mapping goes away with the last of them.
            return


def available_bytes() -> int:
    """Return how much memory Linux could give to a machine now."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    return 0
