"""Interrupts from one processor to another, through the local APIC.

Source: Intel SDM volume 3, section 11.6.1 (interrupt command register). Ids are those of 8 bits.
"""

from axiom.lang import fn, struct_in, u32, u64
from axiom.metal.arch.local_apic import LocalApic, local_apic
from axiom.metal.arch.processor import pause
from axiom.metal.kernel.clock import has_passed, milliseconds, now_cycles

LARGEST_APIC_ID = 254
INIT = 0x4500
START_UP = 0x4600
PENDING = 1 << 12
DELIVERY_MS = 10


@fn
def own_apic_id() -> u32:
    """Return the id of the processor that asks."""
    return struct_in(LocalApic, local_apic(), 0).ID >> 24


@fn(phase="init")
def send_interrupt(apic_id: u32, command: u32) -> None:
    """Send an interrupt to one processor, once the one before has left."""
    apic = struct_in(LocalApic, local_apic(), 0)
    start = now_cycles()
    while apic.COMMAND & PENDING != 0 and not has_passed(start, milliseconds(u64(DELIVERY_MS))):
        pause()
    apic.DESTINATION = apic_id << 24
    apic.COMMAND = command
