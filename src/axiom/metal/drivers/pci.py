"""PCI Express by memory-mapped configuration space (ECAM).

Finds a function by its class code and gives its first memory BAR an address when firmware has not
(qboot assigns none). Sources: PCI Express Base Specification 4.0, sections 7.2.2 (ECAM) and 7.5.1
(type 0 header); PCI Local Bus Specification 3.0, section 6.2.5.1 (sizing); Intel Q35 data sheet, section
5.1.17 (PCIEXBAR).
"""

from enum import IntEnum

from axiom.lang import at, fn, mmio, struct, struct_at, u8, u16, u32, u64, unsafe, urange
from axiom.metal.arch.ports import in32, out32

CONFIG_ADDRESS = 0xCF8
CONFIG_DATA = 0xCFC
HOST_BRIDGE_PCIEXBAR = 0x60
ECAM_ADDRESS = 0xB0000000
ECAM_BYTES = 256 << 20
BUS_BYTES = 1 << 20
WINDOW_ADDRESS = 0xFE800000
WINDOW_BYTES = 4 << 20
ABSENT = 0xFFFF
COMMAND_MEMORY_AND_MASTER = 6
BAR_64_BIT = 4


class PciStatus(IntEnum):
    """How finding a device went."""

    OK = 0
    NO_ECAM = 1
    NOT_FOUND = 2
    NO_MEMORY_BAR = 3
    WINDOW_FULL = 4


@mmio
class PciFunction:
    """A type 0 configuration header."""

    VENDOR_ID: u16 = at(0x00)
    DEVICE_ID: u16 = at(0x02)
    COMMAND: u16 = at(0x04)
    CLASS_REVISION: u32 = at(0x08)
    HEADER_TYPE: u8 = at(0x0E)
    BAR0: u32 = at(0x10)
    BAR1: u32 = at(0x14)


@struct
class PciDevice:
    """A function that was found: its configuration space and its registers."""

    configuration: u64
    registers: u64
    registers_bytes: u64


@fn(phase="init")
def enable_ecam() -> bool:
    """Turn the memory-mapped configuration space on, where the host bridge is a Q35's."""
    bridge = u32(0x80000000 | HOST_BRIDGE_PCIEXBAR)
    out32(u16(CONFIG_ADDRESS), bridge)
    if in32(u16(CONFIG_DATA)) & 1 == 0:
        out32(u16(CONFIG_ADDRESS), bridge + 4)
        out32(u16(CONFIG_DATA), u32(0))
        out32(u16(CONFIG_ADDRESS), bridge)
        out32(u16(CONFIG_DATA), u32(ECAM_ADDRESS | 1))
    out32(u16(CONFIG_ADDRESS), bridge)
    return in32(u16(CONFIG_DATA)) & 0xFFFFFFFE == ECAM_ADDRESS


@fn(phase="init")
def _function_at(device: u64, function: u64) -> PciFunction:
    # SAFETY: the whole configuration space of bus 0 is mapped uncached.
    with unsafe:
        return struct_at(PciFunction, u64(ECAM_ADDRESS) + (device << 15) + (function << 12))


@fn(phase="init")
def find_class(class_code: u32, device: PciDevice) -> PciStatus:
    """Find the first function on bus 0 with a class code (class, subclass, interface), and enable it.

    Its registers get an address from the window below the local APIC when they have none.
    """
    for number in urange(32):
        for function in urange(8):
            found = _function_at(number, function)
            if found.VENDOR_ID != ABSENT and class_code == found.CLASS_REVISION >> 8:
                device.configuration = u64(ECAM_ADDRESS) + (number << 15) + (function << 12)
                return _enable(found, device)
            if function == 0 and (found.VENDOR_ID == ABSENT or found.HEADER_TYPE & 0x80 == 0):
                break
    return PciStatus.NOT_FOUND


@fn(phase="init")
def _enable(function: PciFunction, device: PciDevice) -> PciStatus:
    low = function.BAR0
    if low & 1 != 0:
        return PciStatus.NO_MEMORY_BAR
    wide = low & 6 == BAR_64_BIT
    address = u64(low & 0xFFFFFFF0)
    if wide:
        address = address | u64(function.BAR1) << 32
    command = function.COMMAND
    function.COMMAND = command & 0xFFF8
    function.BAR0 = u32(0xFFFFFFFF)
    mask = function.BAR0 & 0xFFFFFFF0
    if mask == 0:
        return PciStatus.NO_MEMORY_BAR
    size = u64(~mask) + 1
    if size > WINDOW_BYTES:
        return PciStatus.WINDOW_FULL
    if address == 0:
        address = (u64(WINDOW_ADDRESS) + (size - 1)) & ~(size - 1)
    function.BAR0 = u32(address & 0xFFFFFFFF)
    if wide:
        function.BAR1 = u32(address >> 32)
    function.COMMAND = command | COMMAND_MEMORY_AND_MASTER
    device.registers = address
    device.registers_bytes = size
    return PciStatus.OK
