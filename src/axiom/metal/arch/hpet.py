"""The high precision event timer, a counter of known frequency.

Source: IA-PC HPET specification 1.0a, section 2.3.
"""

from axiom.lang import Slice, at, fn, mmio, slice_at, u8, u64, unsafe

HPET_ADDRESS = 0xFED00000
HPET_BYTES = 1024


@mmio
class HpetRegisters:
    """The registers that measuring needs. The upper half of CAPABILITIES is the period in femtoseconds."""

    CAPABILITIES: u64 = at(0x00)
    CONFIGURATION: u64 = at(0x10)
    MAIN_COUNTER: u64 = at(0xF0)


@fn(phase="init")
def hpet() -> Slice[u8]:
    """Return where `HpetRegisters` lie at 0; all ones are read on a machine that has none."""
    # SAFETY: entry's page tables map the page, and so does the address map, uncached. No memory lies there.
    with unsafe:
        return slice_at(u8, u64(HPET_ADDRESS), HPET_BYTES)
