"""The memory map that firmware tells, copied before anything can overwrite it.

Ranges that make no sense (empty, or past the end of the address space) are left out; the others are put in
order of address, so that `frames.carve` gives the same answer whatever order firmware chose.
"""

from enum import IntEnum

from axiom.lang import fn, size_of, urange
from axiom.metal.arch.physical_memory import PhysicalMemory
from axiom.metal.arch.pvh import (
    START_INFO_MAGIC,
    MemoryMapEntry,
    StartInfo,
    memory_map_bytes,
    memory_map_entry,
)
from axiom.metal.kernel.frames import MAX_MEMORY_RANGES, MemoryMap, MemoryRange

HIGHEST_ADDRESS = 1 << 52


class FirmwareStatus(IntEnum):
    """How reading the map went."""

    OK = 0
    NOT_PVH = 1
    NO_MEMORY_MAP = 2
    TOO_MANY_RANGES = 3


@fn
def add_range(memory: MemoryMap, found: MemoryRange) -> bool:
    """Insert a range in order of address; False when the map is full."""
    if (
        found.bytes == 0
        or found.address >= HIGHEST_ADDRESS
        or found.bytes > HIGHEST_ADDRESS - found.address
    ):
        return True
    if memory.count >= MAX_MEMORY_RANGES:
        return False
    at = memory.count
    while at > 0 and memory.ranges[at - 1].address > found.address:
        memory.ranges[at] = memory.ranges[at - 1]
        at -= 1
    memory.ranges[at] = found
    memory.count += 1
    return True


@fn(phase="init")
def read_memory_map(mapped: PhysicalMemory, info: StartInfo, memory: MemoryMap) -> FirmwareStatus:
    """Copy firmware's map into `memory`, which is empty. mapped: where the loader's data lie."""
    if info.magic != START_INFO_MAGIC:
        return FirmwareStatus.NOT_PVH
    entries = memory_map_bytes(mapped, info)
    if entries.length == 0:
        return FirmwareStatus.NO_MEMORY_MAP
    for i in urange(entries.length // size_of(MemoryMapEntry)):
        entry = memory_map_entry(entries, i)
        found = MemoryRange(
            address=entry.address, bytes=entry.bytes, kind=entry.kind, reserved=entry.reserved
        )
        if not add_range(memory, found):
            return FirmwareStatus.TOO_MANY_RANGES
    return FirmwareStatus.OK
