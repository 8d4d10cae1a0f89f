"""Memory by physical address, as it is while entry's page tables are loaded."""

from axiom.abi.boot import PAGE_BYTES
from axiom.lang import Slice, fn, slice_at, struct, u8, u64, unsafe

BOOT_MAP_BYTES = 1 << 32


@struct
class PhysicalMemory:
    """Memory that may be used: `bytes[0]` has the physical address `start`."""

    bytes: Slice[u8]
    start: u64

    @fn
    def holds(self, address: u64, count: u64) -> bool:
        """Tell whether a range is inside."""
        length = self.bytes.length
        return (
            address >= self.start
            and address - self.start <= length
            and (count <= length - (address - self.start))
        )

    @fn
    def range(self, address: u64, count: u64) -> Slice[u8]:
        """Return a range that is inside."""
        return self.bytes.part(address - self.start, count)


@fn(phase="init")
def boot_memory() -> PhysicalMemory:
    """Return what entry's page tables map, but the first page: for what firmware has left there, and the
    page of the trampoline. Of use only until the address map is active; after that, most of it faults.
    """
    # SAFETY: the tables map the first 4 GiB one to one. Nothing is kept there yet but the image, whose
    # place no firmware names; what firmware names is looked at, and read as bytes.
    with unsafe:
        mapped = slice_at(u8, u64(PAGE_BYTES), BOOT_MAP_BYTES - PAGE_BYTES)
    return PhysicalMemory(bytes=mapped, start=u64(PAGE_BYTES))
