"""Which processors ACPI lists, from good tables and damaged ones."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from axiom.abi.boot import MAX_LANES
from axiom.lang import Slice, fn, u8, u64, urange, zeroed
from axiom.metal.arch.physical_memory import PhysicalMemory
from axiom.metal.drivers.acpi import AcpiStatus
from axiom.metal.drivers.madt import Processors, find_processors
from tests.support.identity import run_checked
from tests.support.targets import TARGETS, run

START = 0xE0000
RSDP, XSDT, MADT = START + 0x10, START + 0x100, START + 0x200
MEMORY_BYTES = 0x800
CHECKSUM_OFFSET = 9
FIRST_ENTRY = 44
Bytes = np.ndarray[tuple[int], np.dtype[np.uint8]]


@fn(phase="init")
def find(memory: Slice[u8], start: u64, rsdp: u64, answer: Slice[u64]) -> AcpiStatus:
    found = zeroed(Processors)
    status = find_processors(PhysicalMemory(bytes=memory, start=start), rsdp, found)
    answer[0] = found.count
    ids = found.ids()
    for i in urange(ids.length):
        answer[i + 1] = u64(ids[i])
    return status


def _checked(data: bytearray, place: int, end: int) -> bytearray:
    data[place] = -sum(data[:end]) & 0xFF
    return data


def _table(signature: bytes, body: bytes) -> bytearray:
    header = struct.pack(
        "<4sIBB6s8sI4sI", signature, 36 + len(body), 1, 0, b"AXIOM ", b"TEST    ", 1, b"TEST", 1
    )
    return _checked(bytearray(header + body), CHECKSUM_OFFSET, 36 + len(body))


def local(apic_id: int, flags: int = 1) -> bytes:
    """An entry of type 0."""
    return struct.pack("<BBBBI", 0, 8, 9, apic_id, flags)


def wide(apic_id: int, flags: int = 1) -> bytes:
    """An entry of type 9."""
    return struct.pack("<BBHIII", 9, 16, 0, apic_id, flags, 9)


def other(length: int) -> bytes:
    """An entry of a type that is of no interest."""
    return bytes([5, length, *bytes(length - 2)])


def tables(entries: bytes) -> Bytes:
    """Memory from START on with a root pointer, a list of tables, and MADT."""
    memory = np.zeros(MEMORY_BYTES, np.uint8)
    root = bytearray(struct.pack("<8sB6sBIIQB3x", b"RSD PTR ", 0, b"AXIOM ", 2, 0, 36, XSDT, 0))
    parts = {
        RSDP: _checked(_checked(root, 8, 20), 32, 36),
        XSDT: _table(b"XSDT", struct.pack("<Q", MADT)),
        MADT: _table(b"APIC", struct.pack("<II", 0xFEE00000, 1) + entries),
    }
    for address, data in parts.items():
        memory[address - START : address - START + len(data)] = np.frombuffer(data, np.uint8)
    return memory


def processors(target: str, memory: Bytes) -> tuple[AcpiStatus, list[int]]:
    answer = np.zeros(1 + MAX_LANES, np.uint64)
    status = run_checked(target, find, memory, START, RSDP, answer)
    return AcpiStatus(status), [int(number) for number in answer[1 : 1 + int(answer[0])]]


@pytest.mark.parametrize("target", TARGETS)
def test_enabled_processors_are_listed_in_order_and_once(target: str) -> None:
    entries = [
        local(0),
        other(12),
        local(2),
        local(1, flags=2),
        wide(300),
        local(2),
        wide(7, flags=0),
        local(4),
    ]
    assert processors(target, tables(b"".join(entries))) == (AcpiStatus.OK, [0, 2, 300, 4])


@pytest.mark.parametrize("target", TARGETS)
def test_no_more_than_there_can_be_lanes_are_taken(target: str) -> None:
    entries = b"".join(local(i) for i in range(MAX_LANES + 5))
    assert processors(target, tables(entries)) == (AcpiStatus.OK, list(range(MAX_LANES)))


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_missing_or_damaged_is_named(target: str) -> None:
    assert processors(target, tables(local(0) + bytes([0, 0, 0, 0])))[0] == AcpiStatus.MADT_DAMAGED
    assert processors(target, tables(local(0) + bytes([0, 200, 0, 0])))[0] == AcpiStatus.MADT_DAMAGED
    memory = tables(local(0))
    memory[MADT - START + FIRST_ENTRY] ^= 1
    assert processors(target, memory)[0] == AcpiStatus.MADT_DAMAGED
    memory = tables(local(0))
    memory[MADT - START] ^= 1
    assert processors(target, memory) == (AcpiStatus.NO_TABLE, [])


@given(entries=st.binary(max_size=200), data=st.data())
def test_no_damage_makes_it_read_outside_or_panic(entries: bytes, data: st.DataObject) -> None:
    memory = tables(entries)
    for _ in range(data.draw(st.integers(0, 3))):
        memory[data.draw(st.integers(0, len(memory) - 1))] = data.draw(st.integers(0, 255))
    answer = np.zeros(1 + MAX_LANES, np.uint64)
    assert run("hosted-v3", find, memory, START, RSDP, answer) in set(AcpiStatus)
