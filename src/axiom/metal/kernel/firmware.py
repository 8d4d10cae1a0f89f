"""What firmware tells: the memory map and the command line, copied before anything can overwrite them.

Ranges that make no sense (empty, or past the end of the address space) are left out; the others are put in
order of address, so that `frames.carve` gives the same answer whatever order firmware chose.
"""

from enum import IntEnum

from axiom.lang import Slice, fn, slice_at, struct_at, u8, u64, unsafe, urange
from axiom.metal.arch.pvh import FIRST_VERSION_WITH_MAP, START_INFO_MAGIC, StartInfo
from axiom.metal.kernel.frames import MAX_MEMORY_RANGES, MemoryMap, MemoryRange

HIGHEST_ADDRESS = 1 << 52
MAX_COMMAND_LINE_BYTES = 4096


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
def read_memory_map(start_info: u64, memory: MemoryMap) -> FirmwareStatus:
    """Copy firmware's map into `memory`, which is empty."""
    # SAFETY: PVH passes the address of a start_info, in memory that nothing has touched yet.
    with unsafe:
        info = struct_at(StartInfo, start_info)
    if start_info == 0 or info.magic != START_INFO_MAGIC:
        return FirmwareStatus.NOT_PVH
    if info.version < FIRST_VERSION_WITH_MAP or info.n_memory_ranges == 0:
        return FirmwareStatus.NO_MEMORY_MAP
    # SAFETY: the start_info says how many ranges there are, and where.
    with unsafe:
        ranges = slice_at(MemoryRange, info.memory_map_address, info.n_memory_ranges)
    for i in urange(ranges.length):
        if not add_range(memory, ranges[i]):
            return FirmwareStatus.TOO_MANY_RANGES
    return FirmwareStatus.OK


@fn(phase="init")
def command_line(start_info: u64) -> Slice[u8]:
    """Return the bytes of the command line, where the loader put them, without the final zero."""
    # SAFETY: as above; the text ends with a zero byte, and is cut off where it does not.
    with unsafe:
        info = struct_at(StartInfo, start_info)
        text = slice_at(u8, info.command_line_address, MAX_COMMAND_LINE_BYTES)
    if start_info == 0 or info.command_line_address == 0:
        return text.part(0, 0)
    count = u64(0)
    while count < MAX_COMMAND_LINE_BYTES and text[count] != 0:
        count += 1
    return text.part(0, count)
