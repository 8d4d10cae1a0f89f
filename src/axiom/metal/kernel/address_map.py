"""The one identity map, with permissions: built once in ring 3, never changed after `seal`.

Only what a region or a device window needs is mapped; everything else faults. Each range uses the
largest pages that its alignment and length allow: 1 GiB where the processor takes them (some virtual
machines advertise them and then fault, so one is tried first), else 2 MiB, else 4 KiB. Ring 0's code
and tables, and from `seal` on the page tables themselves, are out of ring 3's reach. Source: Intel SDM
volume 3, section 4.5 and table 4-20 (page-table entries).
"""

from axiom.abi.boot import (
    GIANT_PAGE_BYTES,
    HUGE_PAGE_BYTES,
    PAGE_BYTES,
    PERMIT_EXECUTE,
    PERMIT_READ,
    PERMIT_WRITE,
    RegionKind,
    RegionRecord,
    RegionTable,
)
from axiom.lang import Slice, address_of, fn, panic, static_var, struct, u32, u64, urange, zeroed
from axiom.metal.arch.gates import load_page_tables, processor_leaf
from axiom.metal.arch.processor import probe_read

PRESENT = 1
WRITABLE = 2
USER = 4
UNCACHED = 0x18
LARGE = 0x80
NO_EXECUTE = 1 << 63
ADDRESS_BITS = 0x000F_FFFF_FFFF_F000
ENTRIES = 512
PROBE_ADDRESS = 0x7F_C000_0000


@struct
class AddressMap:
    """The tables being built: their memory, how many pages of it are taken, and the page sizes."""

    tables: Slice[u64]
    used_pages: u64
    giant_pages: bool


address_map = static_var(zeroed(AddressMap))


@fn(phase="init")
def start_address_map(tables: Slice[u64]) -> None:
    """Take the first page of `tables`, which is zeroed and 4 KiB aligned, as the root."""
    address_map.tables = tables
    address_map.used_pages = u64(1)
    leaf = processor_leaf(u32(0x80000001), u32(0))
    address_map.giant_pages = leaf.edx >> 26 & 1 == 1


@fn
def _table_address(page: u64) -> u64:
    return address_of(address_map.tables) + page * PAGE_BYTES


@fn(phase="init")
def _next_table(table: u64, index: u64) -> u64:
    """Return the page number of the table below an entry, making it when there is none."""
    slot = table * ENTRIES + index
    entry = address_map.tables[slot]
    if entry & PRESENT != 0:
        return ((entry & ADDRESS_BITS) - _table_address(u64(0))) // PAGE_BYTES
    page = address_map.used_pages
    if (page + 1) * ENTRIES > address_map.tables.length:
        panic("the page-table region is full")
    address_map.used_pages += 1
    address_map.tables[slot] = _table_address(page) | (PRESENT | WRITABLE | USER)
    return page


@fn(phase="init")
def _map_page(address: u64, level: u64, flags: u64) -> None:
    """Map one page: level 1 is 4 KiB, 2 is 2 MiB, 3 is 1 GiB."""
    table = u64(0)
    depth = u64(4)
    while depth > level:
        table = _next_table(table, address >> (12 + 9 * (depth - 1)) & 511)
        depth -= 1
    index = address >> (12 + 9 * (level - 1)) & 511
    large = u64(0) if level == 1 else u64(LARGE)
    address_map.tables[table * ENTRIES + index] = address | flags | large


@fn(phase="init")
def map_range(address: u64, bytes: u64, flags: u64) -> u64:
    """Map a range of whole 4 KiB pages; return the largest page size that was used."""
    at = address
    end = address + bytes
    largest = u64(PAGE_BYTES)
    while at < end:
        left = end - at
        if address_map.giant_pages and at % GIANT_PAGE_BYTES == 0 and left >= GIANT_PAGE_BYTES:
            _map_page(at, u64(3), flags)
            largest = u64(GIANT_PAGE_BYTES)
            at += GIANT_PAGE_BYTES
        elif at % HUGE_PAGE_BYTES == 0 and left >= HUGE_PAGE_BYTES:
            _map_page(at, u64(2), flags)
            if largest < HUGE_PAGE_BYTES:
                largest = u64(HUGE_PAGE_BYTES)
            at += HUGE_PAGE_BYTES
        else:
            _map_page(at, u64(1), flags)
            at += PAGE_BYTES
    return largest


@fn
def permissions_of(kind: RegionKind) -> u32:
    """Return what ring 3 may do with a region; 0 for guards and for what belongs to ring 0."""
    match kind:
        case RegionKind.IMAGE_CODE:
            return u32(PERMIT_READ | PERMIT_EXECUTE)
        case RegionKind.IMAGE_RODATA:
            return u32(PERMIT_READ)
        case RegionKind.GUARD_BELOW | RegionKind.GUARD_ABOVE | RegionKind.RING0:
            return u32(0)
        case _:
            return u32(PERMIT_READ | PERMIT_WRITE)


@fn
def _flags_of(kind: RegionKind, permissions: u32) -> u64:
    flags = u64(PRESENT | USER)
    if permissions & PERMIT_WRITE != 0:
        flags = flags | WRITABLE
    if permissions & PERMIT_EXECUTE == 0:
        flags = flags | NO_EXECUTE
    if kind == RegionKind.RING0:
        flags = u64(PRESENT | WRITABLE)
    return flags


@fn(phase="init")
def map_regions(table: RegionTable) -> None:
    """Map every region with its permissions and note them and the page size in its record."""
    for i in urange(table.count):
        record = table.records[i]
        record.permissions = permissions_of(record.kind)
        guard = record.kind == RegionKind.GUARD_BELOW or record.kind == RegionKind.GUARD_ABOVE
        if not guard:
            flags = _flags_of(record.kind, record.permissions)
            record.page_bytes = map_range(record.address, record.bytes, flags)


@fn(phase="init")
def map_device(address: u64, bytes: u64) -> None:
    """Map a device's registers, uncached. Whole 4 KiB pages."""
    map_range(address, bytes, u64(PRESENT | WRITABLE | USER | UNCACHED | NO_EXECUTE))


@fn(phase="init")
def choose_page_sizes(backing: u64) -> None:
    """Find out whether 1 GiB pages really work, by reading through one with the new tables loaded.

    `backing` is the address of readable memory; the page that covers it is mapped far away for
    the try and unmapped again.
    """
    if not address_map.giant_pages:
        return
    giant = backing - backing % GIANT_PAGE_BYTES
    table = _next_table(u64(0), u64(PROBE_ADDRESS >> 39 & 511))
    slot = table * ENTRIES + (PROBE_ADDRESS >> 30 & 511)
    address_map.tables[slot] = giant | (PRESENT | USER | LARGE) | NO_EXECUTE
    activate()
    address_map.giant_pages = probe_read(u64(PROBE_ADDRESS) + backing % GIANT_PAGE_BYTES)
    address_map.tables[slot] = u64(0)
    activate()


@fn
def activate() -> None:
    """Use the tables."""
    load_page_tables(_table_address(u64(0)))


@fn
def _change(address: u64, bytes: u64, clear: u64) -> None:
    """Clear flag bits in the entries of a mapped range, whatever their page size."""
    at = address
    while at < address + bytes:
        table = u64(0)
        depth = u64(4)
        done = False
        while not done:
            slot = table * ENTRIES + (at >> (12 + 9 * (depth - 1)) & 511)
            entry = address_map.tables[slot]
            if entry & PRESENT == 0:
                panic("a region is not mapped")
            if depth == 1 or entry & LARGE != 0:
                address_map.tables[slot] = entry & ~clear
                at += u64(1) << (12 + 9 * (depth - 1))
                done = True
            else:
                table = ((entry & ADDRESS_BITS) - _table_address(u64(0))) // PAGE_BYTES
                depth -= 1


@fn
def make_read_only(record: RegionRecord) -> None:
    """Take away the permission to write to a region; takes effect with `activate`."""
    _change(record.address, record.bytes, u64(WRITABLE))
    record.permissions = u32(PERMIT_READ)


@fn
def seal_address_map(table: RegionTable) -> None:
    """Put the page tables out of ring 3's reach, and use the map so. Nothing changes it after this."""
    for i in urange(table.count):
        record = table.records[i]
        if record.kind == RegionKind.PAGE_TABLES:
            record.permissions = u32(0)
            _change(record.address, record.bytes, u64(USER))
    activate()
