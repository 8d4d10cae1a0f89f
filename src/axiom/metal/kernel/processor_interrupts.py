"""Interrupts from one processor to another, through the local APIC.

Source: Intel SDM volume 3, section 11.6.1 (interrupt command register). Ids are those of 8 bits.
"""

from axiom.lang import at, fn, mmio, struct_at, u32, u64, unsafe
from axiom.metal.arch.processor import pause
from axiom.metal.kernel.clock import has_passed, milliseconds, now_cycles
from axiom.metal.kernel.watchdog import LOCAL_APIC_ADDRESS

LARGEST_APIC_ID = 254
INIT = 0x4500
START_UP = 0x4600
PENDING = 1 << 12
DELIVERY_MS = 10


@mmio
class InterruptCommands:
    """The local APIC's identity and the register that sends interrupts."""

    ID: u32 = at(0x20)
    COMMAND: u32 = at(0x300)
    DESTINATION: u32 = at(0x310)


@fn
def own_apic_id() -> u32:
    """Return the id of the processor that asks."""
    # SAFETY: the local APIC's page is mapped uncached.
    with unsafe:
        apic = struct_at(InterruptCommands, u64(LOCAL_APIC_ADDRESS))
    return apic.ID >> 24


@fn(phase="init")
def send_interrupt(apic_id: u32, command: u32) -> None:
    """Send an interrupt to one processor, once the one before has left."""
    # SAFETY: the local APIC's page is mapped uncached.
    with unsafe:
        apic = struct_at(InterruptCommands, u64(LOCAL_APIC_ADDRESS))
    start = now_cycles()
    while apic.COMMAND & PENDING != 0 and not has_passed(start, milliseconds(u64(DELIVERY_MS))):
        pause()
    apic.DESTINATION = apic_id << 24
    apic.COMMAND = command
