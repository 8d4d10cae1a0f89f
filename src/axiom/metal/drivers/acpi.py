"""Finding ACPI tables, and in MCFG where the PCI configuration space is mapped (for MADT see `madt`).

Every table's length and checksum are checked before its contents are believed, and nothing outside of the
given memory is read. Sources: ACPI Specification 6.5, sections 5.2.5.3 (RSDP), 5.2.6 (header), 5.2.7
(RSDT), 5.2.8 (XSDT); PCI Firmware Specification 3.3, section 4.1.2 (MCFG).
"""

from enum import IntEnum

from axiom.lang import Slice, fn, load_bytes, struct, u8, u16, u32, u64, urange
from axiom.metal.arch.physical_memory import PhysicalMemory

RSDP_SIGNATURE = int.from_bytes(b"RSD PTR ", "little")
MCFG_SIGNATURE = int.from_bytes(b"MCFG", "little")
RSDP_V1_BYTES = 20
RSDP_V2_BYTES = 36
TABLE_HEADER_BYTES = 36
MCFG_ENTRIES_OFFSET = 44
MCFG_ENTRY_BYTES = 16
MAX_TABLE_BYTES = 1 << 20


class AcpiStatus(IntEnum):
    """How the search went."""

    OK = 0
    NO_RSDP = 1
    RSDP_DAMAGED = 2
    TABLE_LIST_DAMAGED = 3
    MCFG_DAMAGED = 4
    NO_MCFG = 5
    NO_TABLE = 6
    MADT_DAMAGED = 7


@struct
class EcamWindow:
    """Where the configuration space of buses `first_bus` to `last_bus` of segment 0 is mapped.

    `address` belongs to bus 0, whether that is inside or not.
    """

    address: u64
    first_bus: u32
    last_bus: u32


@fn(phase="init")
def _sums_to_zero(data: Slice[u8]) -> bool:
    total = u32(0)
    for i in urange(data.length):
        total += u32(data[i])
        total = total & 0xFF
    return total == 0


@fn(phase="init")
def _table_bytes(memory: PhysicalMemory, address: u64) -> u64:
    """Return the length of the table at an address; 0 when it is not whole."""
    if not memory.holds(address, u64(TABLE_HEADER_BYTES)):
        return u64(0)
    length = u64(load_bytes(u32, memory.range(address, u64(TABLE_HEADER_BYTES)), 4))
    if length < TABLE_HEADER_BYTES or length > MAX_TABLE_BYTES or not memory.holds(address, length):
        return u64(0)
    if not _sums_to_zero(memory.range(address, length)):
        return u64(0)
    return length


@struct
class TablePlace:
    """The address of a table."""

    address: u64


@fn(phase="init")
def find_ecam(memory: PhysicalMemory, rsdp_address: u64, window: EcamWindow) -> AcpiStatus:
    """Follow the root pointer at `rsdp_address` (0: there is none) to MCFG, and fill `window`."""
    place = TablePlace(address=u64(0))
    status = find_table(memory, rsdp_address, u32(MCFG_SIGNATURE), place)
    if status == AcpiStatus.NO_TABLE:
        return AcpiStatus.NO_MCFG
    return status if status != AcpiStatus.OK else _read_mcfg(memory, place.address, window)


@fn(phase="init")
def find_table(memory: PhysicalMemory, rsdp_address: u64, signature: u32, place: TablePlace) -> AcpiStatus:
    """Follow the root pointer at `rsdp_address` (0: there is none) to the first table with a signature.

    The table itself is not checked yet: see `whole_table`.
    """
    if rsdp_address == 0 or not memory.holds(rsdp_address, u64(RSDP_V1_BYTES)):
        return AcpiStatus.NO_RSDP
    root = memory.range(rsdp_address, u64(RSDP_V1_BYTES))
    if load_bytes(u64, root, 0) != RSDP_SIGNATURE:
        return AcpiStatus.NO_RSDP
    if not _sums_to_zero(root):
        return AcpiStatus.RSDP_DAMAGED
    list_address = u64(load_bytes(u32, root, 16))
    pointer_bytes = u64(4)
    if root[15] >= 2:
        if not memory.holds(rsdp_address, u64(RSDP_V2_BYTES)):
            return AcpiStatus.RSDP_DAMAGED
        whole = memory.range(rsdp_address, u64(RSDP_V2_BYTES))
        if not _sums_to_zero(whole):
            return AcpiStatus.RSDP_DAMAGED
        wide_address = load_bytes(u64, whole, 24)
        if wide_address != 0:
            list_address = wide_address
            pointer_bytes = u64(8)
    return _search(memory, list_address, pointer_bytes, signature, place)


@fn(phase="init")
def _search(
    memory: PhysicalMemory, address: u64, pointer_bytes: u64, signature: u32, place: TablePlace
) -> AcpiStatus:
    """Look through the list of tables (RSDT: pointers of 4 bytes, XSDT: of 8)."""
    length = _table_bytes(memory, address)
    if length == 0:
        return AcpiStatus.TABLE_LIST_DAMAGED
    tables = memory.range(address, length)
    for i in urange((length - TABLE_HEADER_BYTES) // pointer_bytes):
        at = TABLE_HEADER_BYTES + i * pointer_bytes
        table = load_bytes(u64, tables, at) if pointer_bytes == 8 else u64(load_bytes(u32, tables, at))
        there = memory.holds(table, u64(TABLE_HEADER_BYTES))
        if there and load_bytes(u32, memory.range(table, u64(TABLE_HEADER_BYTES)), 0) == signature:
            place.address = table
            return AcpiStatus.OK
    return AcpiStatus.NO_TABLE


@fn(phase="init")
def whole_table(memory: PhysicalMemory, address: u64) -> Slice[u8]:
    """Return a table whose length and checksum are right; nothing when they are not."""
    return memory.range(address, _table_bytes(memory, address))


@fn(phase="init")
def _read_mcfg(memory: PhysicalMemory, address: u64, window: EcamWindow) -> AcpiStatus:
    """Take the entry of segment 0."""
    length = _table_bytes(memory, address)
    if length < MCFG_ENTRIES_OFFSET:
        return AcpiStatus.MCFG_DAMAGED
    table = memory.range(address, length)
    for i in urange((length - MCFG_ENTRIES_OFFSET) // MCFG_ENTRY_BYTES):
        entry = table.part(MCFG_ENTRIES_OFFSET + i * MCFG_ENTRY_BYTES, MCFG_ENTRY_BYTES)
        if load_bytes(u16, entry, 8) == 0:
            window.address = load_bytes(u64, entry, 0)
            window.first_bus = u32(entry[10])
            window.last_bus = u32(entry[11])
            if window.address % (1 << 20) != 0 or window.last_bus < window.first_bus:
                return AcpiStatus.MCFG_DAMAGED
            return AcpiStatus.OK
    return AcpiStatus.NO_MCFG
