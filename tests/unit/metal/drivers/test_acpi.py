"""Finding the PCI configuration space in ACPI tables, good ones and damaged ones."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from axiom.lang import Slice, fn, u8, u64, zeroed
from axiom.metal.arch.physical_memory import PhysicalMemory
from axiom.metal.drivers.acpi import AcpiStatus, EcamWindow, find_ecam
from tests.support.identity import run_checked
from tests.support.targets import TARGETS, run

START = 0xE0000
RSDP, XSDT, MCFG, OTHER, RSDT = START + 0x10, START + 0x100, START + 0x200, START + 0x300, START + 0x400
Bytes = np.ndarray[tuple[int], np.dtype[np.uint8]]


@fn(phase="init")
def find(memory: Slice[u8], start: u64, rsdp: u64, answer: Slice[u64]) -> AcpiStatus:
    window = zeroed(EcamWindow)
    status = find_ecam(PhysicalMemory(bytes=memory, start=start), rsdp, window)
    answer[0] = window.address
    answer[1] = u64(window.first_bus)
    answer[2] = u64(window.last_bus)
    return status


def _checked(data: bytearray, place: int, end: int) -> bytearray:
    data[place] = -sum(data[:end]) & 0xFF
    return data


def _table(signature: bytes, body: bytes) -> bytearray:
    header = struct.pack(
        "<4sIBB6s8sI4sI", signature, 36 + len(body), 1, 0, b"AXIOM ", b"TEST    ", 1, b"TEST", 1
    )
    return _checked(bytearray(header + body), 9, 36 + len(body))


def _mcfg(address: int = 0xB0000000, segment: int = 0, last: int = 255) -> bytearray:
    return _table(b"MCFG", bytes(8) + struct.pack("<QHBB4x", address, segment, 0, last))


def _rsdp(revision: int) -> bytearray:
    data = bytearray(struct.pack("<8sB6sBIIQB3x", b"RSD PTR ", 0, b"AXIOM ", revision, RSDT, 36, XSDT, 0))
    return _checked(_checked(data, 8, 20), 32, 36)


def tables(revision: int = 2, mcfg: bytearray | None = None) -> Bytes:
    """Memory from START on with a root pointer, both lists, a table that nobody asks for, and MCFG."""
    memory = np.zeros(0x500, np.uint8)
    parts = {
        RSDP: _rsdp(revision),
        XSDT: _table(b"XSDT", struct.pack("<QQ", OTHER, MCFG)),
        RSDT: _table(b"RSDT", struct.pack("<II", OTHER, MCFG)),
        MCFG: _mcfg() if mcfg is None else mcfg,
        OTHER: _table(b"FACP", bytes(40)),
    }
    for address, data in parts.items():
        memory[address - START : address - START + len(data)] = np.frombuffer(data, np.uint8)
    return memory


def _find(target: str, memory: Bytes, rsdp: int = RSDP) -> tuple[AcpiStatus, list[int]]:
    answer = np.zeros(3, np.uint64)
    status = run_checked(target, find, memory, START, rsdp, answer)
    return AcpiStatus(status), [int(number) for number in answer]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("revision", [0, 2])
def test_the_window_is_found_by_either_list(target: str, revision: int) -> None:
    assert _find(target, tables(revision)) == (AcpiStatus.OK, [0xB0000000, 0, 255])


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_missing_or_damaged_is_named(target: str) -> None:
    assert _find(target, tables(), 0)[0] == AcpiStatus.NO_RSDP
    assert _find(target, tables(), RSDP + 8)[0] == AcpiStatus.NO_RSDP
    assert _find(target, tables(), START + 0x4F0)[0] == AcpiStatus.NO_RSDP
    for place, expected in [
        (RSDP + 12, AcpiStatus.RSDP_DAMAGED),
        (RSDP + 33, AcpiStatus.RSDP_DAMAGED),
        (XSDT + 20, AcpiStatus.TABLE_LIST_DAMAGED),
        (MCFG + 50, AcpiStatus.MCFG_DAMAGED),
        (MCFG, AcpiStatus.NO_MCFG),
    ]:
        memory = tables()
        memory[place - START] ^= 1
        assert _find(target, memory)[0] == expected
    assert _find(target, tables(mcfg=_mcfg(segment=1)))[0] == AcpiStatus.NO_MCFG
    assert _find(target, tables(mcfg=_mcfg(address=0xB0001000)))[0] == AcpiStatus.MCFG_DAMAGED


@pytest.mark.parametrize("target", ["hosted-v3"])
@given(data=st.data())
def test_no_damage_makes_it_read_outside_or_panic(target: str, data: st.DataObject) -> None:
    memory = tables(data.draw(st.sampled_from([0, 2])))
    for _ in range(data.draw(st.integers(1, 4))):
        memory[data.draw(st.integers(0, len(memory) - 1))] = data.draw(st.integers(0, 255))
    rsdp = data.draw(st.sampled_from([RSDP, 0, START, START + 0x4FF, (1 << 64) - 1]))
    status = run(target, find, memory, START, rsdp, np.zeros(3, np.uint64))
    assert status in set(AcpiStatus)
