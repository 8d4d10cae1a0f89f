"""The parts of the image as regions; the linker script gives each a pair of symbols and whole pages."""

from axiom.abi.boot import RegionKind, RegionTable
from axiom.lang import fn, static, symbol_address, u64
from axiom.metal.kernel.frames import add_region

IMAGE_PARTS: tuple[tuple[RegionKind, str, str], ...] = (
    (RegionKind.RING0_CODE, "axiom_ring0_code_start", "axiom_ring0_code_end"),
    (RegionKind.RING0_DATA, "axiom_ring0_data_start", "axiom_ring0_data_end"),
    (RegionKind.IMAGE_CODE, "axiom_code_start", "axiom_code_end"),
    (RegionKind.IMAGE_RODATA, "axiom_rodata_start", "axiom_rodata_end"),
    (RegionKind.IMAGE_DATA, "axiom_data_start", "axiom_data_end"),
)


@fn(phase="init")
def add_image_regions(table: RegionTable) -> u64:
    """Add the parts of the image that runs to an empty table; return the address behind the last."""
    for kind, first, last in static(IMAGE_PARTS):
        start = symbol_address(first)
        add_region(table, kind, start, symbol_address(last) - start)
    record = table.records[table.count - 1]
    return record.address + record.bytes
