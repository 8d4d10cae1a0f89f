"""The one identity map, with permissions: built once in ring 3, never changed after `seal`.

Only what a region or a device window needs is mapped; everything else faults. Each range uses the
largest pages that its alignment and length allow: 1 GiB where the processor takes them (some virtual
machines advertise them and then fault, so one is tried first), else 2 MiB, else 4 KiB. Ring 0's code
and tables, and from `seal` on the page tables themselves, are out of ring 3's reach. Source: Intel SDM
volume 3, section 4.5 and table 4-20 (page-table entries).
"""

from collections.abc import Iterable

from axiom.abi.boot import (
    GIANT_PAGE_BYTES,
    HUGE_PAGE_BYTES,
    IMAGE_ADDRESS,
    LANE_STACK_BYTES,
    LANE_STACK_STRIDE,
    PAGE_BYTES,
    PERMIT_EXECUTE,
    PERMIT_READ,
    PERMIT_WRITE,
    RegionKind,
    RegionRecord,
    RegionTable,
)
from axiom.lang import (
    Slice,
    address_of,
    fill_zero,
    fn,
    panic,
    reinterpret,
    static_var,
    struct,
    symbol_address,
    u8,
    u32,
    u64,
    urange,
    zeroed,
)
from axiom.metal.arch.entry import boot_pointers
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
class EntryPlace:
    """Where an entry is among all tables, and how much it maps; page_bytes 0: not found yet."""

    slot: u64
    page_bytes: u64


@struct
class AddressMap:
    """The tables being built: their memory, where it lies, how many pages of it are taken."""

    tables: Slice[u64]
    base: u64
    used_pages: u64
    giant_pages: bool


address_map = static_var(zeroed(AddressMap))


def page_table_bytes(
    requests: Iterable[tuple[int, int]], n_device_ranges: int, n_more_pages: int = 0
) -> int:
    """Return the size and alignment of a region for the tables of these (align, bytes) regions. Host only.

    A power of two, so that one table maps all of them (see `hide_tables`).
    """
    pages = 2 + n_more_pages
    for align, length in requests:
        pages += length // GIANT_PAGE_BYTES + 2
        if align % HUGE_PAGE_BYTES != 0 or length % HUGE_PAGE_BYTES != 0:
            pages += length // HUGE_PAGE_BYTES + 2
    return PAGE_BYTES << (pages + 4 * n_device_ranges - 1).bit_length()


@fn(phase="init")
def start_address_map(memory: Slice[u8]) -> None:
    """Build in these whole pages of memory from now on, and find out about 1 GiB pages.

    Entry's own tables must still be loaded.
    """
    begin_tables(reinterpret(u64, memory), address_of(memory))
    address_map.giant_pages = giant_pages_work()


@fn(phase="init")
def begin_tables(tables: Slice[u64], base: u64) -> None:
    """Start with an empty root in the first page of `tables`, whose address will be `base`."""
    fill_zero(tables)
    address_map.tables = tables
    address_map.base = base
    address_map.used_pages = u64(1)
    address_map.giant_pages = False


@fn(phase="init")
def giant_pages_work() -> bool:
    """Read through a 1 GiB page, mapped for the try at the end of the tables that entry made."""
    leaf = processor_leaf(u32(0x80000001), u32(0))
    if leaf.edx >> 26 & 1 == 0:
        return False
    pointers = boot_pointers()
    root = symbol_address("axiom_boot_pml4")
    pointers[ENTRIES - 1] = u64(PRESENT | USER | LARGE | NO_EXECUTE)
    load_page_tables(root)
    works = probe_read(u64(PROBE_ADDRESS + IMAGE_ADDRESS))
    pointers[ENTRIES - 1] = u64(0)
    load_page_tables(root)
    return works


@fn
def _table_address(page: u64) -> u64:
    return address_map.base + page * PAGE_BYTES


@fn(phase="init")
def _next_table(table: u64, index: u64) -> u64:
    """Return the page number of the table below an entry, making it when there is none."""
    slot = table * ENTRIES + index
    entry = address_map.tables[slot]
    if entry & PRESENT != 0:
        assert entry & LARGE == 0, "two ranges share a page"
        return ((entry & ADDRESS_BITS) - address_map.base) // PAGE_BYTES
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
    """Return what may be done with a region: by ring 0 with its own, else by ring 3; 0 for guards."""
    match kind:
        case RegionKind.IMAGE_CODE | RegionKind.RING0_CODE:
            return u32(PERMIT_READ | PERMIT_EXECUTE)
        case RegionKind.IMAGE_RODATA:
            return u32(PERMIT_READ)
        case RegionKind.GUARD_BELOW | RegionKind.GUARD_ABOVE:
            return u32(0)
        case _:
            return u32(PERMIT_READ | PERMIT_WRITE)


@fn
def _flags_of(kind: RegionKind, permissions: u32) -> u64:
    flags = u64(PRESENT)
    if kind != RegionKind.RING0_CODE and kind != RegionKind.RING0_DATA:
        flags = flags | USER
    if permissions & PERMIT_WRITE != 0:
        flags = flags | WRITABLE
    if permissions & PERMIT_EXECUTE == 0:
        flags = flags | NO_EXECUTE
    return flags


@fn(phase="init")
def _map_lane_stacks(record: RegionRecord, flags: u64) -> None:
    """Map each stack, but not the guard page below it."""
    for number in urange(record.bytes // LANE_STACK_STRIDE):
        guard = record.address + number * LANE_STACK_STRIDE
        record.page_bytes = map_range(guard + PAGE_BYTES, u64(LANE_STACK_BYTES), flags)


@fn(phase="init")
def map_regions(table: RegionTable) -> None:
    """Map every region with its permissions and note them and the page size in its record.

    A record that permits something already gets just that.
    """
    for i in urange(table.count):
        record = table.records[i]
        if record.permissions == 0:
            record.permissions = permissions_of(record.kind)
        if record.permissions != 0:
            flags = _flags_of(record.kind, record.permissions)
            if record.kind == RegionKind.LANE_STACKS:
                _map_lane_stacks(record, flags)
            else:
                record.page_bytes = map_range(record.address, record.bytes, flags)


@fn(phase="init")
def map_device(address: u64, bytes: u64) -> None:
    """Map a device's registers, uncached. Whole 4 KiB pages."""
    map_range(address, bytes, u64(PRESENT | WRITABLE | USER | UNCACHED | NO_EXECUTE))


@fn
def activate() -> None:
    """Use the tables."""
    load_page_tables(address_map.base)


@fn(phase="init")
def entry_of(address: u64) -> EntryPlace:
    """Return where the entry is that maps an address."""
    place = EntryPlace(slot=u64(0), page_bytes=u64(0))
    table = u64(0)
    depth = u64(4)
    while place.page_bytes == 0:
        slot = table * ENTRIES + (address >> (12 + 9 * (depth - 1)) & 511)
        entry = address_map.tables[slot]
        if entry & PRESENT == 0:
            panic("a region is not mapped")
        if depth == 1 or entry & LARGE != 0:
            place.slot = slot
            place.page_bytes = u64(1) << (12 + 9 * (depth - 1))
        else:
            table = ((entry & ADDRESS_BITS) - address_map.base) // PAGE_BYTES
            depth -= 1
    return place


@fn(phase="init")
def _change(address: u64, bytes: u64, clear: u64) -> None:
    """Clear flag bits in the entries of a mapped range, whatever their page size."""
    at = address
    while at < address + bytes:
        place = entry_of(at)
        address_map.tables[place.slot] = address_map.tables[place.slot] & ~clear
        at += place.page_bytes


@fn(phase="init")
def hide_tables(address: u64, bytes: u64) -> None:
    """Take the page tables out of ring 3's reach.

    A table that is out of reach can be read no more, so nothing is looked up on the way: all of them are
    mapped by one table, and the entry that maps that one goes last.
    """
    first = entry_of(address)
    last = entry_of(address + bytes - PAGE_BYTES)
    assert first.slot // ENTRIES == last.slot // ENTRIES, "the page tables are mapped by several tables"
    mapped_by = address_map.base + first.slot // ENTRIES * PAGE_BYTES
    own = first.slot + (mapped_by - address) // first.page_bytes
    for slot in urange(first.slot, last.slot + 1):
        if slot != own:
            address_map.tables[slot] = address_map.tables[slot] & ~u64(USER)
    address_map.tables[own] = address_map.tables[own] & ~u64(USER)


@fn(phase="init")
def make_read_only(table: RegionTable, kind: RegionKind) -> None:
    """Take away the permission to write to a kind of region; takes effect with `activate`."""
    for i in urange(table.count):
        record = table.records[i]
        if record.kind == kind and record.permissions != PERMIT_READ:
            record.permissions = u32(PERMIT_READ)
            _change(record.address, record.bytes, u64(WRITABLE))


@fn(phase="init")
def seal_address_map(table: RegionTable) -> None:
    """Put the page tables out of ring 3's reach, and use the map so. Nothing changes it after this."""
    for i in urange(table.count):
        record = table.records[i]
        if record.kind == RegionKind.PAGE_TABLES:
            record.permissions = u32(0)
            hide_tables(record.address, record.bytes)
    activate()
