"""Which processors there are: the local APIC ids in ACPI's table MADT.

Source: ACPI Specification 6.5, section 5.2.12. Read first: `acpi`, which finds the table and checks it.
"""

from axiom.abi.boot import MAX_LANES
from axiom.lang import Array, Slice, array, fn, load_bytes, struct, u32, u64, urange
from axiom.metal.arch.physical_memory import PhysicalMemory
from axiom.metal.drivers.acpi import AcpiStatus, TablePlace, find_table, whole_table

MADT_SIGNATURE = int.from_bytes(b"APIC", "little")
MADT_ENTRIES_OFFSET = 44
LOCAL_APIC, LOCAL_X2APIC = 0, 9
LOCAL_APIC_BYTES, LOCAL_X2APIC_BYTES = 8, 16
ENABLED = 1


@struct
class Processors:
    """The ids of the processors that firmware has enabled, in its order; the first MAX_LANES of them."""

    count: u64
    apic_ids: Array[u32] = array(u32, MAX_LANES)

    @fn
    def add(self, apic_id: u32, flags: u32) -> None:
        """Take a processor that is enabled, once."""
        for i in urange(self.count):
            if self.apic_ids[i] == apic_id:
                return
        if flags & ENABLED != 0 and self.count < MAX_LANES:
            self.apic_ids[self.count] = apic_id
            self.count += 1

    @fn
    def ids(self) -> Slice[u32]:
        """Return the ids."""
        return self.apic_ids.all.part(0, self.count)


@fn(phase="init")
def find_processors(memory: PhysicalMemory, rsdp_address: u64, found: Processors) -> AcpiStatus:
    """Follow the root pointer at `rsdp_address` (0: there is none) to MADT, and add to `found`."""
    place = TablePlace(address=u64(0))
    status = find_table(memory, rsdp_address, u32(MADT_SIGNATURE), place)
    if status != AcpiStatus.OK:
        return status
    table = whole_table(memory, place.address)
    if table.length < MADT_ENTRIES_OFFSET:
        return AcpiStatus.MADT_DAMAGED
    at = u64(MADT_ENTRIES_OFFSET)
    while table.length - at >= 2:
        kind = table[at]
        length = u64(table[at + 1])
        if length < 2 or length > table.length - at:
            return AcpiStatus.MADT_DAMAGED
        if kind == LOCAL_APIC and length >= LOCAL_APIC_BYTES:
            found.add(u32(table[at + 3]), load_bytes(u32, table, at + 4))
        if kind == LOCAL_X2APIC and length >= LOCAL_X2APIC_BYTES:
            found.add(load_bytes(u32, table, at + 4), load_bytes(u32, table, at + 8))
        at += length
    return AcpiStatus.OK
