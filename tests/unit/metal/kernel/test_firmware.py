"""Taking over what a PVH loader leaves behind: the memory map and the command line, whole and damaged."""

import struct
from dataclasses import dataclass

import numpy as np
import pytest

from axiom.abi.boot import PAGE_BYTES
from axiom.lang import Slice, copy, fn, u8, u32, u64, zeroed
from axiom.metal.arch.physical_memory import PhysicalMemory
from axiom.metal.arch.pvh import (
    MAX_COMMAND_LINE_BYTES,
    START_INFO_MAGIC,
    command_line_bytes,
    read_start_info,
)
from axiom.metal.kernel.firmware import FirmwareStatus, add_range, read_memory_map
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


START, END = 0x9000, 0xC000
# At odd multiples of 4, as a loader of 32 bits may place them.
INFO, MAP, LINE = START + 4, START + 0x104, START + 0x204
AREAS = ((0x100000, 0x40000000, USABLE), (0, 0x9FC00, USABLE), (0xF0000, 0x10000, 2))


@dataclass(frozen=True)
class Told:
    """What came of reading it."""

    status: FirmwareStatus
    line: bytes
    ranges: list[tuple[int, int]]


@fn(phase="init")
def read(
    memory: Slice[u8], at: u64, found: MemoryMap, line: Slice[u8], line_bytes: Slice[u64]
) -> FirmwareStatus:
    mapped = PhysicalMemory(bytes=memory, start=u64(START))
    info = read_start_info(mapped, at)
    text = command_line_bytes(mapped, info)
    copy(line.part(0, text.length), text)
    line_bytes[0] = text.length
    return read_memory_map(mapped, info, found)


def told(target: str, memory: bytearray, at: int = INFO) -> Told:
    found, line, count = zeroed(MemoryMap), np.zeros(1 << 16, np.uint8), np.zeros(1, np.uint64)
    status = run(target, read, np.frombuffer(memory, np.uint8), at, found, line, count)
    return Told(status, line[: int(count[0])].tobytes(), ranges(found))


def left_by_loader(
    magic: int = START_INFO_MAGIC, version: int = 1, count: int = 3, map_at: int = MAP, line_at: int = LINE
) -> bytearray:
    """Return memory from START to END with a start_info, a map, and a command line behind it."""
    memory = bytearray(END - START)
    info = struct.pack("<IIIIQQQQII", magic, version, 0, 0, 0, line_at, 0xE0000, map_at, count, 0)
    entries = b"".join(struct.pack("<QQII", *area, 0) for area in AREAS)
    for at, data in ((INFO, info), (MAP, entries), (LINE, b"axiom.model=1 quiet\0rest")):
        memory[at - START : at - START + len(data)] = data
    return memory


@pytest.mark.parametrize("target", TARGETS)
def test_map_and_command_line_are_found_wherever_they_lie(target: str) -> None:
    areas = sorted(area[:2] for area in AREAS)
    assert told(target, left_by_loader()) == Told(FirmwareStatus.OK, b"axiom.model=1 quiet", areas)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("at", [0, START - 4, END - 55, END, 2**64 - 8])
def test_a_start_info_outside_of_memory_is_none(target: str, at: int) -> None:
    assert told(target, left_by_loader(), at) == Told(FirmwareStatus.NOT_PVH, b"", [])


@pytest.mark.parametrize("target", TARGETS)
def test_a_start_info_without_its_magic_is_none(target: str) -> None:
    assert told(target, left_by_loader(magic=1)) == Told(FirmwareStatus.NOT_PVH, b"", [])


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "memory",
    [
        left_by_loader(version=0),
        left_by_loader(count=0),
        left_by_loader(count=2**32 - 1),
        left_by_loader(map_at=0),
        left_by_loader(map_at=END - 71),
        left_by_loader(map_at=2**64 - 24),
    ],
)
def test_a_map_that_is_not_in_memory_is_none(target: str, memory: bytearray) -> None:
    assert told(target, memory) == Told(FirmwareStatus.NO_MEMORY_MAP, b"axiom.model=1 quiet", [])


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("at", [0, START - 1, END, 2**64 - 1])
def test_a_command_line_outside_of_memory_is_empty(target: str, at: int) -> None:
    assert told(target, left_by_loader(line_at=at)).line == b""


@pytest.mark.parametrize("target", TARGETS)
def test_a_command_line_without_an_end_is_cut_off(target: str) -> None:
    memory = left_by_loader(line_at=START + 0x400)
    memory[0x400:] = b"x" * (len(memory) - 0x400)
    assert told(target, memory).line == b"x" * MAX_COMMAND_LINE_BYTES
    memory = left_by_loader(line_at=END - 5)
    memory[-5:] = b"short"
    assert told(target, memory).line == b"short"
