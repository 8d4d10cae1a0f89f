"""The physical allocator: firmware's memory map carved once into the regions that the plan asks for.

`carve` is a pure function of the map and the requests, so that the host computes the same table
before anything boots. After `seal` nothing can be allocated; an attempt is counted and panics.
`memory_of` is the one place where a region becomes memory.
"""

from enum import IntEnum

from axiom.abi.boot import MAX_REGIONS, PAGE_BYTES, RegionKind, RegionRecord, RegionRequest, RegionTable
from axiom.lang import (
    Array,
    Slice,
    array,
    fn,
    panic,
    slice_at,
    static_var,
    struct,
    u8,
    u32,
    u64,
    unsafe,
    urange,
    zeroed,
)
from axiom.metal.arch.processor import read_cycles

MAX_MEMORY_RANGES = 32
USABLE = 1


class CarveStatus(IntEnum):
    """How carving went."""

    OK = 0
    OUT_OF_MEMORY = 1
    TOO_MANY_REGIONS = 2


@struct
class MemoryRange:
    """Part of firmware's map."""

    address: u64
    bytes: u64
    kind: u32
    reserved: u32


@struct
class MemoryMap:
    """Firmware's map, in order of address."""

    count: u64
    ranges: Array[MemoryRange] = array(MemoryRange, MAX_MEMORY_RANGES)


@struct
class AllocatorState:
    """Whether carving is over."""

    sealed: bool
    refused: u64
    sealed_at_cycles: u64


allocator = static_var(zeroed(AllocatorState))
# Every region of the kernel that runs. No two overlap.
regions = static_var(zeroed(RegionTable))


@fn
def align_up(value: u64, align: u64) -> u64:
    """Round up to a multiple of a power of two."""
    return (value + (align - 1)) & ~(align - 1)


@fn
def find_room(memory: MemoryMap, start: u64, align: u64, bytes: u64) -> u64:
    """Return the lowest aligned address from `start` on with room in usable memory; 0 for none."""
    for i in urange(memory.count):
        area = memory.ranges[i]
        if area.kind == USABLE:
            low = area.address if area.address > start else start
            place = align_up(low, align)
            end = area.address + area.bytes
            if place < end and end - place >= bytes:
                return place
    return u64(0)


@fn
def add_region(table: RegionTable, kind: RegionKind, address: u64, bytes: u64) -> bool:
    """Append a region that is not mapped yet; False when the table is full."""
    if table.count >= MAX_REGIONS:
        return False
    record = table.records[table.count]
    record.kind = kind
    record.permissions = u32(0)
    record.address = address
    record.bytes = bytes
    record.page_bytes = u64(0)
    table.count += 1
    return True


@fn
def carve(
    memory: MemoryMap, image_end: u64, requests: Slice[RegionRequest], table: RegionTable
) -> CarveStatus:
    """Give each request, in order, the lowest room above the image and the requests before it."""
    cursor = align_up(image_end, u64(PAGE_BYTES))
    for i in urange(requests.length):
        request = requests[i]
        place = find_room(memory, cursor, request.align, request.bytes)
        if place == 0:
            return CarveStatus.OUT_OF_MEMORY
        if not add_region(table, request.kind, place, request.bytes):
            return CarveStatus.TOO_MANY_REGIONS
        cursor = place + request.bytes
    return CarveStatus.OK


@fn(phase="init")
def allocate_regions(
    memory: MemoryMap, image_end: u64, requests: Slice[RegionRequest], table: RegionTable
) -> CarveStatus:
    """Carve for real: refused once the allocator is sealed."""
    require_unsealed()
    return carve(memory, image_end, requests, table)


@fn
def require_unsealed() -> None:
    """Panic when start-up is over."""
    if allocator.sealed:
        allocator.refused += 1
        panic("an allocation after the allocator was sealed")


@fn
def seal() -> None:
    """End start-up: from here every allocation panics."""
    allocator.sealed = True
    allocator.sealed_at_cycles = read_cycles()


@fn
def region(table: RegionTable, kind: RegionKind) -> RegionRecord:
    """Return a copy of the record of the region of a kind; its length is 0 when there is none."""
    for i in urange(table.count):
        if table.records[i].kind == kind:
            return table.records[i]
    return zeroed(RegionRecord)


@fn
def memory_of(kind: RegionKind) -> Slice[u8]:
    """Return the memory of the region of a kind, which is mapped; no bytes when there is none."""
    record = region(regions, kind)
    # SAFETY: a region is pages of usable memory that were given to this kind and to nothing else, a part of
    # the image, or the model that the machine's maker has put into memory; there are no others.
    with unsafe:
        return slice_at(u8, record.address, record.bytes)
