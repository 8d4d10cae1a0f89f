"""The processor's own interrupt controller: its timer, its identity, interrupts to other processors.

Source: Intel SDM volume 3, sections 11.4.1 (the registers' places), 11.5.4 (timer), 11.6.1 (interrupt
command register).
"""

from axiom.lang import Slice, at, fn, mmio, slice_at, u8, u32, u64, unsafe

LOCAL_APIC_ADDRESS = 0xFEE00000
LOCAL_APIC_BYTES = 4096


@mmio
class LocalApic:
    """The registers that are used."""

    ID: u32 = at(0x20)
    SPURIOUS: u32 = at(0xF0)
    COMMAND: u32 = at(0x300)
    DESTINATION: u32 = at(0x310)
    TIMER: u32 = at(0x320)
    INITIAL_COUNT: u32 = at(0x380)
    CURRENT_COUNT: u32 = at(0x390)
    DIVIDE: u32 = at(0x3E0)


@fn
def local_apic() -> Slice[u8]:
    """Return the page in which a `LocalApic` lies at 0. Each processor sees its own there."""
    # SAFETY: entry's page tables map the page, and so does the address map, uncached. Firmware leaves the
    # controller where it is after a reset, and no memory lies there.
    with unsafe:
        return slice_at(u8, u64(LOCAL_APIC_ADDRESS), LOCAL_APIC_BYTES)
