"""The page tables that the address map builds, walked as a processor would."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axiom.abi.boot import (
    GIANT_PAGE_BYTES,
    HUGE_PAGE_BYTES,
    LANE_STACK_STRIDE,
    PAGE_BYTES,
    PERMIT_EXECUTE,
    PERMIT_READ,
    PERMIT_WRITE,
    RegionKind,
    RegionTable,
    lane_stacks_bytes,
)
from axiom.lang import Panic, Slice, fn, u64, zeroed
from axiom.metal.kernel.address_map import (
    LARGE,
    NO_EXECUTE,
    PRESENT,
    UNCACHED,
    USER,
    WRITABLE,
    address_map,
    begin_tables,
    hide_tables,
    make_read_only,
    map_device,
    map_range,
    map_regions,
    page_table_bytes,
)
from axiom.metal.kernel.frames import add_region
from tests.support.targets import TARGETS, run

BASE = 0x40_0000
FLAGS = PRESENT | WRITABLE | USER | NO_EXECUTE
Page = tuple[int, int, int]
Words = np.ndarray[tuple[int], np.dtype[np.uint64]]


@fn
def map_one(tables: Slice[u64], address: u64, bytes: u64, flags: u64, giant: bool) -> u64:
    begin_tables(tables, u64(BASE))
    address_map.giant_pages = giant
    return map_range(address, bytes, flags)


@fn
def map_all(tables: Slice[u64], table: RegionTable) -> None:
    begin_tables(tables, u64(BASE))
    map_regions(table)
    make_read_only(table, RegionKind.WEIGHTS)
    map_device(u64(0xFEE00000), u64(PAGE_BYTES))


@fn
def map_and_hide(tables: Slice[u64], base: u64, before: u64) -> None:
    """Map the tables, and as many pages before and after them."""
    begin_tables(tables, base)
    map_range(base - before * PAGE_BYTES, before * 2 * PAGE_BYTES + tables.length * 8, u64(FLAGS))
    hide_tables(base, tables.length * 8)


def run_fresh(target: str, function: Any, *arguments: Any) -> Any:
    """Run with an address map that no earlier test has touched, under CPython or as compiled."""
    place: Any = address_map
    try:
        return run(target, function, *arguments)
    finally:
        place.place_memory.data[:] = bytes(len(place.place_memory.data))
        place.place_memory.slices.clear()


def walk(tables: Words, table: int = 0, level: int = 4, above: int = 0, base: int = BASE) -> Iterator[Page]:
    """Yield (address, page bytes, entry) of every page that is mapped."""
    shift = 12 + 9 * (level - 1)
    for index in range(512):
        entry = int(tables[512 * table + index])
        address = above | index << shift
        if entry & PRESENT and (level == 1 or entry & LARGE):
            yield address, 1 << shift, entry
        elif entry & PRESENT:
            below = ((entry & 0xFFFFFFFFF000) - base) // PAGE_BYTES
            yield from walk(tables, below, level - 1, address, base)


def empty(pages: int) -> Words:
    return np.full(512 * pages, 0xFFFF_FFFF_FFFF_FFFF, np.uint64)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("address", "length", "giant", "sizes"),
    [
        (0x200000, 0x3000, False, [PAGE_BYTES] * 3),
        (0x1FF000, 0x202000, False, [PAGE_BYTES, HUGE_PAGE_BYTES, PAGE_BYTES]),
        (GIANT_PAGE_BYTES, GIANT_PAGE_BYTES + HUGE_PAGE_BYTES, True, [GIANT_PAGE_BYTES, HUGE_PAGE_BYTES]),
        (GIANT_PAGE_BYTES, 2 * HUGE_PAGE_BYTES, True, [HUGE_PAGE_BYTES] * 2),
        (511 << 30, HUGE_PAGE_BYTES, False, [HUGE_PAGE_BYTES]),
    ],
)
def test_a_range_takes_the_largest_pages_that_fit(
    target: str, address: int, length: int, giant: bool, sizes: list[int]
) -> None:
    tables = empty(16)
    largest = run_fresh(target, map_one, tables, u64(address), u64(length), u64(FLAGS), giant)
    pages = list(walk(tables))
    assert [size for _, size, _ in pages] == sizes
    assert largest == max(sizes)


@settings(max_examples=30)
@given(st.integers(0, 1 << 18), st.integers(1, 1200), st.booleans())
def test_every_page_is_mapped_to_itself_and_nothing_else_is(first: int, count: int, giant: bool) -> None:
    tables = empty(12)
    map_one_python(tables, first * PAGE_BYTES, count * PAGE_BYTES, giant)
    at = first * PAGE_BYTES
    for address, size, entry in walk(tables):
        assert (address, entry & 0xFFFFFFFFF000) == (at, at)
        assert entry & FLAGS == FLAGS
        at += size
    assert at == (first + count) * PAGE_BYTES


def map_one_python(tables: Words, address: int, length: int, giant: bool) -> None:
    run_fresh("python", map_one, tables, u64(address), u64(length), u64(FLAGS), giant)


@pytest.mark.parametrize("target", TARGETS)
def test_regions_get_their_permissions_and_guards_stay_unmapped(target: str) -> None:
    table = zeroed(RegionTable)
    kinds = [
        RegionKind.RING0_CODE,
        RegionKind.RING0_DATA,
        RegionKind.IMAGE_CODE,
        RegionKind.IMAGE_RODATA,
        RegionKind.IMAGE_DATA,
        RegionKind.GUARD_BELOW,
        RegionKind.STACK,
    ]
    for i, kind in enumerate(kinds):
        add_region(table, kind, u64(0x200000 + i * PAGE_BYTES), u64(PAGE_BYTES))
    add_region(table, RegionKind.WEIGHTS, u64(0x600000), u64(2 * HUGE_PAGE_BYTES))
    tables = empty(16)
    run_fresh(target, map_all, tables, table)
    rights = {
        address: entry & (USER | WRITABLE | NO_EXECUTE | UNCACHED) for address, _, entry in walk(tables)
    }
    assert rights == {
        0x200000: 0,
        0x201000: WRITABLE | NO_EXECUTE,
        0x202000: USER,
        0x203000: USER | NO_EXECUTE,
        0x204000: USER | WRITABLE | NO_EXECUTE,
        0x206000: USER | WRITABLE | NO_EXECUTE,
        0x600000: USER | NO_EXECUTE,
        0x800000: USER | NO_EXECUTE,
        0xFEE00000: USER | WRITABLE | NO_EXECUTE | UNCACHED,
    }
    told = [(int(table.records[i].permissions), int(table.records[i].page_bytes)) for i in range(8)]
    read_write = PERMIT_READ | PERMIT_WRITE
    assert told == [
        (PERMIT_READ | PERMIT_EXECUTE, PAGE_BYTES),
        (read_write, PAGE_BYTES),
        (PERMIT_READ | PERMIT_EXECUTE, PAGE_BYTES),
        (PERMIT_READ, PAGE_BYTES),
        (read_write, PAGE_BYTES),
        (0, 0),
        (read_write, PAGE_BYTES),
        (PERMIT_READ, HUGE_PAGE_BYTES),
    ]


@pytest.mark.parametrize("target", TARGETS)
def test_each_lane_s_stack_is_mapped_and_its_guard_page_is_not(target: str) -> None:
    table = zeroed(RegionTable)
    add_region(table, RegionKind.LANE_STACKS, u64(0x3FF000), u64(lane_stacks_bytes(4)))
    tables = empty(16)
    run_fresh(target, map_all, tables, table)
    mapped = {address for address, _, entry in walk(tables) if not entry & UNCACHED}
    guards = {0x3FF000 + lane * LANE_STACK_STRIDE for lane in range(3)}
    whole = set(range(0x3FF000, 0x3FF000 + lane_stacks_bytes(4), PAGE_BYTES))
    assert mapped == whole - guards


@pytest.mark.parametrize("target", TARGETS)
def test_a_full_table_region_is_a_panic(target: str) -> None:
    with pytest.raises(Panic, match="page-table region is full"):
        run_fresh(target, map_one, empty(3), u64(0x200000), u64(PAGE_BYTES), u64(FLAGS), False)


@pytest.mark.parametrize("target", TARGETS)
def test_no_page_is_both_executable_and_writable(target: str) -> None:
    table = zeroed(RegionTable)
    for i, kind in enumerate(RegionKind):
        add_region(table, kind, u64(0x200000 * (i + 1)), u64(HUGE_PAGE_BYTES))
    tables = empty(16)
    run_fresh(target, map_all, tables, table)
    assert all(entry & NO_EXECUTE or not entry & WRITABLE for _, _, entry in walk(tables))


a_region = st.tuples(
    st.sampled_from([PAGE_BYTES, HUGE_PAGE_BYTES]), st.integers(1, 5000), st.integers(0, 600)
)


@settings(max_examples=25, deadline=None)
@given(st.lists(a_region, min_size=1, max_size=5))
def test_the_bound_on_page_tables_holds(shapes: list[tuple[int, int, int]]) -> None:
    table = zeroed(RegionTable)
    at = 0x200000
    for align, count, gap in shapes:
        at = -(-(at + gap * PAGE_BYTES) // align) * align
        length = count * align if align == PAGE_BYTES else (count % 40 + 1) * align
        add_region(table, RegionKind.ARENA, u64(at), u64(length))
        at += length
    wishes = [(a, int(table.records[i].bytes)) for i, (a, _, _) in enumerate(shapes)]
    bound = page_table_bytes(wishes, 1)
    tables = empty(bound // PAGE_BYTES)
    run_fresh("python", map_all, tables, table)
    assert len(list(walk(tables))) >= len(shapes)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("base", [0x400000, 0x5F0000, 0x410000, 0x3F0000])
@pytest.mark.parametrize("before", [0, 3, 100])
def test_tables_and_nothing_else_are_out_of_reach(target: str, base: int, before: int) -> None:
    tables = empty(16)
    run_fresh(target, map_and_hide, tables, u64(base), u64(before))
    for address, size, entry in walk(tables, base=base):
        assert size == PAGE_BYTES
        assert bool(entry & USER) == (not base <= address < base + 16 * PAGE_BYTES), hex(address)


def test_tables_that_several_tables_map_are_refused() -> None:
    with pytest.raises(AssertionError, match="mapped by several tables"):
        run_fresh("python", map_and_hide, empty(16), u64(0x3F8000), u64(0))


@pytest.mark.parametrize("wishes", [[(PAGE_BYTES, 1 << 20)], [(HUGE_PAGE_BYTES, 20 << 30)]])
def test_a_region_for_tables_never_lies_in_two_tables_ranges(wishes: list[tuple[int, int]]) -> None:
    size = page_table_bytes(wishes, 4, 100)
    assert HUGE_PAGE_BYTES % size == 0
