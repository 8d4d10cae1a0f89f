"""Waiting for a store to a cache line without polling, where the processor lets ring 3 do so (WAITPKG).

Sources: Intel SDM volume 2, CPUID leaf 7 (ECX bit 5), UMONITOR, UMWAIT. The instructions are spelt as
bytes, because the code around them is compiled for processors without them. A virtual machine monitor that
cannot give them to its guest does not show the bit in ring 0, whatever ring 3 sees.
"""

from axiom.lang import asm, fn, truncate, u32, u64, unsafe
from axiom.metal.arch.gates import processor_leaf

WAITPKG = 1 << 5
UMONITOR_RAX = ".byte 0xf3, 0x0f, 0xae, 0xf0"
UMWAIT_ECX = ".byte 0xf2, 0x0f, 0xae, 0xf1"
LIGHT_SLEEP = 1


@fn(phase="init")
def has_user_wait() -> bool:
    """Tell whether ring 3 may wait like this. Gates: start-up only."""
    if processor_leaf(u32(0), u32(0)).eax < 7:
        return False
    return processor_leaf(u32(7), u32(0)).ecx & WAITPKG != 0


@fn(inline="always")
def monitor_line(address: u64) -> None:
    """Watch the cache line at `address`, from now until the next `wait_for_store`."""
    # SAFETY: reads nothing that it gives back; the address is mapped.
    with unsafe:
        asm(UMONITOR_RAX, "{rax},~{memory}", address)


@fn(inline="always")
def wait_for_store(until_cycles: u64) -> None:
    """Wait for a store to the watched line, but not past a time; may return early."""
    # SAFETY: changes nothing but flags.
    with unsafe:
        asm(
            UMWAIT_ECX,
            "{ecx},{eax},{edx},~{cc},~{memory}",
            u32(LIGHT_SLEEP),
            truncate(u32, until_cycles),
            truncate(u32, until_cycles >> 32),
        )
