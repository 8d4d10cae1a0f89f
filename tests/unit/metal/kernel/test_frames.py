"""Carving firmware's memory map by the plan."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axiom.abi.boot import HUGE_PAGE_BYTES, MAX_REGIONS, PAGE_BYTES, RegionKind, RegionRequest, RegionTable
from axiom.lang import Panic, array, u64, zeroed
from axiom.metal.kernel.frames import (
    USABLE,
    CarveStatus,
    MemoryMap,
    allocate_regions,
    allocator,
    carve,
    region,
    require_unsealed,
    seal,
)
from tests.support.targets import TARGETS, run

RESERVED = 2
MIB = 1 << 20
IMAGE_END = 3 * MIB
Piece = tuple[int, int, int]
Wish = tuple[RegionKind, int, int]


def memory_map(pieces: Sequence[Piece]) -> MemoryMap:
    memory = zeroed(MemoryMap)
    memory.count = u64(len(pieces))
    for i, (address, length, kind) in enumerate(pieces):
        area = memory.ranges[i]
        area.address, area.bytes = u64(address), u64(length)
        area.kind = type(area.kind)(kind)
    return memory


def carved(target: str, pieces: Sequence[Piece], wishes: Sequence[Wish]) -> tuple[CarveStatus, list[Piece]]:
    """Return the status and (kind, address, bytes) of every region."""
    requests = array(RegionRequest, max(1, len(wishes)))
    for i, (kind, align, length) in enumerate(wishes):
        requests[i].kind, requests[i].align, requests[i].bytes = kind, u64(align), u64(length)
    table = zeroed(RegionTable)
    status = run(
        target, carve, memory_map(pieces), u64(IMAGE_END), requests.all.part(0, len(wishes)), table
    )
    records = [table.records[i] for i in range(int(table.count))]
    return status, [(int(r.kind), int(r.address), int(r.bytes)) for r in records]


PLAIN = [(0, 640 << 10, USABLE), (MIB, 255 * MIB, USABLE)]


@pytest.mark.parametrize("target", TARGETS)
def test_regions_follow_the_image_in_the_order_of_the_requests(target: str) -> None:
    wishes = [(RegionKind.STACK, PAGE_BYTES, 8192), (RegionKind.ARENA, PAGE_BYTES, 4096)]
    status, regions = carved(target, PLAIN, wishes)
    assert status == CarveStatus.OK
    assert regions == [(RegionKind.STACK, IMAGE_END, 8192), (RegionKind.ARENA, IMAGE_END + 8192, 4096)]


@pytest.mark.parametrize("target", TARGETS)
def test_alignment_is_kept_and_holes_are_jumped_over(target: str) -> None:
    pieces = [
        (MIB, 7 * MIB, USABLE),
        (8 * MIB, MIB, RESERVED),
        (9 * MIB, 100 * MIB, USABLE),
    ]
    wishes = [
        (RegionKind.STACK, PAGE_BYTES, 4096),
        (RegionKind.WEIGHTS, HUGE_PAGE_BYTES, 6 * MIB),
    ]
    status, regions = carved(target, pieces, wishes)
    assert status == CarveStatus.OK
    assert regions[1] == (RegionKind.WEIGHTS, 10 * MIB, 6 * MIB)


@pytest.mark.parametrize("target", TARGETS)
def test_what_does_not_fit_is_refused(target: str) -> None:
    status, regions = carved(target, PLAIN, [(RegionKind.WEIGHTS, HUGE_PAGE_BYTES, 256 * MIB)])
    assert (status, regions) == (CarveStatus.OUT_OF_MEMORY, [])


@pytest.mark.parametrize("target", TARGETS)
def test_more_regions_than_the_table_holds_are_refused(target: str) -> None:
    wishes = [(RegionKind.ARENA, PAGE_BYTES, 4096)] * (MAX_REGIONS + 1)
    status, regions = carved(target, PLAIN, wishes)
    assert status == CarveStatus.TOO_MANY_REGIONS
    assert len(regions) == MAX_REGIONS


pages = st.integers(1, 64).map(lambda n: n * PAGE_BYTES)
a_wish = st.tuples(
    st.just(RegionKind.ARENA), st.sampled_from([PAGE_BYTES, 16 * PAGE_BYTES, HUGE_PAGE_BYTES]), pages
)


@st.composite
def some_maps(draw: st.DrawFn) -> list[Piece]:
    pieces: list[Piece] = []
    at = 0
    for _ in range(draw(st.integers(1, 8))):
        at += draw(st.integers(0, 300)) * PAGE_BYTES
        length = draw(st.integers(1, 2000)) * PAGE_BYTES
        pieces.append((at, length, draw(st.sampled_from([USABLE, USABLE, RESERVED]))))
        at += length
    return pieces


@given(some_maps(), st.lists(a_wish, max_size=8))
def test_regions_are_aligned_usable_ascending_and_disjoint(pieces: list[Piece], wishes: list[Wish]) -> None:
    status, regions = carved("python", pieces, wishes)
    assert (len(regions) == len(wishes)) == (status == CarveStatus.OK)
    end = IMAGE_END
    for (_, address, length), (_, align, wanted) in zip(regions, wishes, strict=False):
        assert (address % align, length) == (0, wanted)
        assert address >= end
        assert any(k == USABLE and a <= address and address + length <= a + n for a, n, k in pieces)
        end = address + length


def test_a_region_is_found_by_its_kind() -> None:
    table = zeroed(RegionTable)
    requests = array(RegionRequest, 2)
    for i, kind in enumerate((RegionKind.LINK, RegionKind.ARENA)):
        requests[i].kind, requests[i].align, requests[i].bytes = kind, u64(4096), u64(4096 * (i + 1))
    carve(memory_map(PLAIN), u64(IMAGE_END), requests.all, table)
    assert region(table, RegionKind.ARENA).bytes == 8192
    assert region(table, RegionKind.WEIGHTS).bytes == 0


def test_nothing_is_allocated_once_sealed() -> None:
    try:
        require_unsealed()
        seal()
        with pytest.raises(Panic, match="sealed"):
            allocate_regions(
                memory_map(PLAIN), u64(IMAGE_END), array(RegionRequest, 1).all, zeroed(RegionTable)
            )
        assert allocator.refused == 1
    finally:
        allocator.sealed = False
        allocator.refused = u64(0)
