"""The one interrupt: a timer that stops a kernel whose scheduler makes no progress.

The local APIC's timer ticks ten times a second; the stub in arch.vectors compares the heartbeat and,
after `STALLED_TICKS` ticks without one, raises the exception path. Source: Intel SDM volume 3, section
11.5.4. The legacy PIC is masked; nothing else may interrupt.
"""

from axiom.lang import fn, static_var, struct, struct_in, u8, u16, u32, u64, zeroed
from axiom.metal.arch.gates import disable_interrupts, enable_interrupts
from axiom.metal.arch.local_apic import LocalApic, local_apic
from axiom.metal.arch.ports import out8
from axiom.metal.arch.processor import pause
from axiom.metal.arch.statistics import beat
from axiom.metal.arch.vectors import SPURIOUS_VECTOR, WATCHDOG_VECTOR
from axiom.metal.kernel.clock import clock, has_passed, milliseconds, now_cycles

TICKS_PER_SECOND = 10
PERIODIC = 1 << 17
MASKED = 1 << 16
DIVIDE_BY_16 = 3
CALIBRATION_MS = 5


@struct
class WatchdogState:
    """When the timer, which is being measured, began to count."""

    began_cycles: u64


watchdog = static_var(zeroed(WatchdogState))


@fn(phase="init")
def prepare_watchdog() -> None:
    """Mask the PIC and begin to measure the timer, which other work need not wait for."""
    out8(u16(0x21), u8(0xFF))
    out8(u16(0xA1), u8(0xFF))
    apic = struct_in(LocalApic, local_apic(), 0)
    apic.SPURIOUS = u32(0x100 | SPURIOUS_VECTOR)
    apic.DIVIDE = u32(DIVIDE_BY_16)
    apic.TIMER = u32(MASKED | WATCHDOG_VECTOR)
    apic.INITIAL_COUNT = u32(0xFFFFFFFF)
    watchdog.began_cycles = now_cycles()


@fn(phase="init")
def start_watchdog() -> None:
    """Start the timer and let it interrupt, within seconds of `prepare_watchdog`: a timer ends at 0."""
    wait = milliseconds(u64(CALIBRATION_MS))
    while not has_passed(watchdog.began_cycles, wait):
        pause()
    apic = struct_in(LocalApic, local_apic(), 0)
    passed = u64(u32(0xFFFFFFFF) - apic.CURRENT_COUNT)
    per_tick = passed * (clock.tsc_hz // TICKS_PER_SECOND) // (now_cycles() - watchdog.began_cycles)
    beat()
    apic.TIMER = u32(PERIODIC | WATCHDOG_VECTOR)
    apic.INITIAL_COUNT = u32(per_tick)
    enable_interrupts()


@fn
def stop_watchdog() -> None:
    """Let nothing interrupt any more."""
    disable_interrupts()
