"""Finding a function by its class in a configuration space, over bridges, and placing its registers.

The configuration space is plain memory here, where every bit of a base address register sticks: its size
then reads as 16 bytes.
"""

import struct

import numpy as np
import pytest

from axiom.lang import Slice, fn, u8, u32, u64, zeroed
from axiom.metal.drivers.pci import PciDevice, find_class, pci, start_pci
from axiom.metal.drivers.pci_registers import (
    BUS_BYTES,
    CLASS_NVME,
    DEVICE_BYTES,
    FUNCTION_BYTES,
    PciStatus,
)
from tests.support.static_storage import kept
from tests.support.targets import TARGETS, run

WINDOW = 0xFE800000
Bytes = np.ndarray[tuple[int], np.dtype[np.uint8]]


@fn(phase="init")
def find(configuration: Slice[u8], window_bytes: u64, class_code: u32, answer: Slice[u64]) -> PciStatus:
    start_pci(configuration, u64(WINDOW), window_bytes)
    device = zeroed(PciDevice)
    status = find_class(class_code, device)
    answer[0] = device.configuration_offset
    answer[1] = device.registers
    answer[2] = device.registers_bytes
    answer[3] = pci.window_next
    return status


def space(n_buses: int) -> Bytes:
    """A configuration space where nothing is."""
    return np.full(n_buses * BUS_BYTES, 0xFF, np.uint8)


def put(
    memory: Bytes, bus: int, device: int, function: int, class_code: int, header: int = 0, bar: int = 4
) -> int:
    """Put a function in; return its offset."""
    offset = bus * BUS_BYTES + device * DEVICE_BYTES + function * FUNCTION_BYTES
    data = struct.pack("<HHHHIBBBBQ", 0x8086, 0x1234, 0, 0, class_code << 8 | 1, 0, 0, header, 0, bar)
    memory[offset : offset + 64] = 0
    memory[offset : offset + len(data)] = np.frombuffer(data, np.uint8)
    return offset


def _find(target: str, memory: Bytes, window: int = 1 << 20) -> tuple[PciStatus, list[int]]:
    answer = np.zeros(4, np.uint64)
    with kept(pci):
        status = run(target, find, memory, window, CLASS_NVME, answer)
    return PciStatus(status), [int(number) for number in answer]


def word(memory: Bytes, offset: int) -> int:
    """Read four bytes."""
    return int(memory[offset : offset + 4].view("<u4")[0])


@pytest.mark.parametrize("target", TARGETS)
def test_a_function_without_an_address_gets_one_and_is_enabled(target: str) -> None:
    memory = space(1)
    put(memory, 0, 0, 0, 0x060000)
    offset = put(memory, 0, 3, 0, CLASS_NVME)
    assert _find(target, memory) == (PciStatus.OK, [offset, WINDOW, 16, WINDOW + 16])
    assert word(memory, offset + 0x10) == WINDOW
    assert word(memory, offset + 0x14) == 0
    assert word(memory, offset + 4) & 0xFFFF == 0x406


@pytest.mark.parametrize("target", TARGETS)
def test_an_address_that_firmware_gave_is_kept(target: str) -> None:
    memory = space(1)
    offset = put(memory, 0, 31, 0, CLASS_NVME, bar=0x38_C000_0000 | 4)
    assert _find(target, memory) == (PciStatus.OK, [offset, 0x38_C000_0000, 16, WINDOW])
    assert (word(memory, offset + 0x10), word(memory, offset + 0x14)) == (0xC000_0000, 0x38)


@pytest.mark.parametrize("target", TARGETS)
def test_all_functions_of_a_device_are_looked_at_only_when_it_says_so(target: str) -> None:
    memory = space(1)
    put(memory, 0, 5, 0, 0x060100)
    offset = put(memory, 0, 5, 7, CLASS_NVME)
    assert _find(target, memory)[0] == PciStatus.NOT_FOUND
    put(memory, 0, 5, 0, 0x060100, header=0x80)
    assert _find(target, memory)[1][0] == offset


@pytest.mark.parametrize("target", TARGETS)
def test_buses_behind_bridges_are_searched(target: str) -> None:
    memory = space(4)
    offset = put(memory, 3, 0, 0, CLASS_NVME)
    assert _find(target, memory)[0] == PciStatus.NOT_FOUND
    for bus, secondary in [(0, 2), (2, 3)]:
        bridge = put(memory, bus, 1, 0, 0x060400, header=1)
        memory[bridge + 0x19] = secondary
    assert _find(target, memory)[1][0] == offset
    memory[put(memory, 2, 1, 0, 0x060400, header=1) + 0x19] = 200
    assert _find(target, memory)[0] == PciStatus.NOT_FOUND


@pytest.mark.parametrize("target", TARGETS)
def test_what_cannot_be_used_is_named(target: str) -> None:
    memory = space(1)
    assert _find(target, memory)[0] == PciStatus.NOT_FOUND
    assert _find(target, memory[: BUS_BYTES // 2].copy())[0] == PciStatus.NO_ECAM
    put(memory, 0, 1, 0, CLASS_NVME, bar=1)
    assert _find(target, memory)[0] == PciStatus.NO_MEMORY_BAR
    put(memory, 0, 1, 0, CLASS_NVME, bar=0)
    assert _find(target, memory, window=8)[0] == PciStatus.WINDOW_FULL
