"""Taking over firmware's memory map."""

import pytest

from axiom.abi.boot import PAGE_BYTES
from axiom.lang import u32, u64, zeroed
from axiom.metal.kernel.firmware import add_range
from axiom.metal.kernel.frames import MAX_MEMORY_RANGES, USABLE, MemoryMap, MemoryRange
from tests.support.targets import TARGETS, run


def add(target: str, memory: MemoryMap, address: int, length: int) -> bool:
    found = MemoryRange(address=u64(address), bytes=u64(length), kind=u32(USABLE), reserved=u32(0))
    return run(target, add_range, memory, found)


def ranges(memory: MemoryMap) -> list[tuple[int, int]]:
    return [(int(memory.ranges[i].address), int(memory.ranges[i].bytes)) for i in range(int(memory.count))]


@pytest.mark.parametrize("target", TARGETS)
def test_ranges_are_put_in_order_of_address(target: str) -> None:
    memory = zeroed(MemoryMap)
    for page in (5, 1, 3, 9, 2):
        assert add(target, memory, page * PAGE_BYTES, PAGE_BYTES)
    assert ranges(memory) == [(page * PAGE_BYTES, PAGE_BYTES) for page in (1, 2, 3, 5, 9)]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("address", "length"), [(4096, 0), (1 << 52, 4096), (2**64 - 4096, 8192), (4096, 2**64 - 1)]
)
def test_ranges_that_make_no_sense_are_left_out(target: str, address: int, length: int) -> None:
    memory = zeroed(MemoryMap)
    assert add(target, memory, address, length)
    assert ranges(memory) == []


@pytest.mark.parametrize("target", TARGETS)
def test_a_map_with_too_many_ranges_is_refused(target: str) -> None:
    memory = zeroed(MemoryMap)
    for i in range(MAX_MEMORY_RANGES):
        assert add(target, memory, i * PAGE_BYTES, PAGE_BYTES)
    assert not add(target, memory, 1 << 30, PAGE_BYTES)
    assert len(ranges(memory)) == MAX_MEMORY_RANGES
