"""PCI configuration space as it lies in memory, and the Q35's register that maps it there.

Sources: PCI Express Base Specification 4.0, sections 7.2.2 (ECAM) and 7.5.1 (headers); PCI Local Bus
Specification 3.0, section 6.2.5.1 (base address registers); Intel 3 Series Express Chipset data sheet,
section 5.1.17 (PCIEXBAR).
"""

from enum import IntEnum

from axiom.lang import at, mmio, u8, u16, u32

CONFIG_ADDRESS = 0xCF8
CONFIG_DATA = 0xCFC
CONFIG_ENABLE = 0x80000000
HOST_BRIDGE_PCIEXBAR = 0x60
Q35_HOST_BRIDGE = 0x29C08086
Q35_ECAM_ADDRESS = 0xB0000000

BUS_BYTES = 1 << 20
DEVICE_BYTES = 1 << 15
FUNCTION_BYTES = 1 << 12
MAX_BUSES = 256

ABSENT = 0xFFFF
HEADER_MANY_FUNCTIONS = 0x80
HEADER_KIND_MASK = 0x7F
HEADER_DEVICE = 0
HEADER_BRIDGE = 1
COMMAND_DECODE = 0x0003
COMMAND_MEMORY = 0x0002
COMMAND_MASTER = 0x0004
COMMAND_NO_INTERRUPT = 0x0400
BAR_IS_PORTS = 1
BAR_TYPE_MASK = 6
BAR_64_BIT = 4
BAR_FLAGS = 0xF

CLASS_NVME = 0x010802


class PciStatus(IntEnum):
    """How finding a device went."""

    OK = 0
    NO_ECAM = 1
    NOT_FOUND = 2
    NO_MEMORY_BAR = 3
    WINDOW_FULL = 4


@mmio
class DeviceHeader:
    """A type 0 configuration header."""

    VENDOR_ID: u16 = at(0x00)
    DEVICE_ID: u16 = at(0x02)
    COMMAND: u16 = at(0x04)
    CLASS_REVISION: u32 = at(0x08)
    HEADER_TYPE: u8 = at(0x0E)
    BAR0: u32 = at(0x10)
    BAR1: u32 = at(0x14)


@mmio
class BridgeHeader:
    """A type 1 configuration header."""

    PRIMARY_BUS: u8 = at(0x18)
    SECONDARY_BUS: u8 = at(0x19)
    SUBORDINATE_BUS: u8 = at(0x1A)
