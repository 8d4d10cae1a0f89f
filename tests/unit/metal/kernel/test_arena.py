"""The bump allocator of start-up."""

from collections.abc import Iterator
from typing import Any

import pytest

from axiom.lang import Panic, Slice, slice_over, u8, u64
from axiom.metal.kernel.arena import allocate, arena, start_arena
from axiom.metal.kernel.frames import allocator, seal


@pytest.fixture(autouse=True)
def memory() -> Iterator[bytearray]:
    """Give the arena four pages of ones, and leave it as it was."""
    data = bytearray(b"\xff" * 16384)
    start_arena(slice_over(u8, data))
    yield data
    for place in (arena, allocator):
        storage: Any = place
        storage.place_memory.data[:] = bytes(len(storage.place_memory.data))
        storage.place_memory.slices.clear()


def offset(part: Slice[u8]) -> int:
    return part.place_offset


def test_parts_are_aligned_zeroed_and_disjoint(memory: bytearray) -> None:
    first, second, third = (allocate(u64(n), u64(a)) for n, a in ((10, 8), (100, 64), (4096, 4096)))
    assert [offset(part) for part in (first, second, third)] == [0, 64, 4096]
    assert [int(part.length) for part in (first, second, third)] == [10, 100, 4096]
    assert not any(memory[:10] + memory[64:164] + memory[4096:8192])
    assert memory[10:64] == b"\xff" * 54


def test_a_full_arena_is_a_panic() -> None:
    allocate(u64(16384), u64(1))
    with pytest.raises(Panic, match="full"):
        allocate(u64(1), u64(1))


def test_a_sealed_allocator_refuses_and_counts() -> None:
    seal()
    with pytest.raises(Panic, match="sealed"):
        allocate(u64(1), u64(1))
    assert allocator.refused == 1
