"""Time: the time-stamp counter, its frequency, and deadlines.

The frequency comes from the hypervisor (CPUID leaf 0x40000010, kHz in EAX) when it tells, else from
the processor (leaf 0x15), else it is measured against the HPET.
"""

from axiom.lang import fn, static_var, struct, struct_in, u32, u64, urange, zeroed
from axiom.metal.arch.gates import processor_leaf
from axiom.metal.arch.hpet import HpetRegisters, hpet
from axiom.metal.arch.processor import pause, read_cycles

MEASURE_FEMTOSECONDS = 10_000_000_000_000
LONGEST_PERIOD_FEMTOSECONDS = 100_000_000
SAMPLE_TRIES = 8
GIVE_UP_CYCLES = 40_000_000_000


@struct
class ClockState:
    """The cycles per second of the time-stamp counter; 0 until `start_clock`."""

    tsc_hz: u64


clock = static_var(zeroed(ClockState))


@struct
class ClockSample:
    """The HPET's count and the time-stamp counter at one moment, known to half of `width` cycles."""

    count: u64
    cycles: u64
    width: u64


@fn
def now_cycles() -> u64:
    """Return the time-stamp counter."""
    return read_cycles()


@fn
def has_passed(start: u64, cycles: u64) -> bool:
    """Tell whether `cycles` have passed since `start`."""
    return read_cycles() - start > cycles


@fn
def milliseconds(count: u64) -> u64:
    """Return a time in cycles."""
    return clock.tsc_hz // 1000 * count


@fn(phase="init")
def start_clock() -> bool:
    """Find the counter's frequency; False when nothing tells it."""
    hypervisor = processor_leaf(u32(0x40000000), u32(0))
    if hypervisor.eax >= 0x40000010 and hypervisor.eax < 0x40010000:
        told = processor_leaf(u32(0x40000010), u32(0))
        if told.eax > 100_000:
            clock.tsc_hz = u64(told.eax) * 1000
            return True
    leaf = processor_leaf(u32(0), u32(0))
    if leaf.eax >= 0x15:
        ratio = processor_leaf(u32(0x15), u32(0))
        if ratio.eax != 0 and ratio.ebx != 0 and ratio.ecx != 0:
            clock.tsc_hz = u64(ratio.ecx) * u64(ratio.ebx) // u64(ratio.eax)
            return True
    return measure_clock()


@fn(phase="init")
def _sample(registers: HpetRegisters) -> ClockSample:
    """Read both counters at the same time: the tightest of a few tries around a slow register read."""
    best = ClockSample(count=u64(0), cycles=u64(0), width=~u64(0))
    for _ in urange(SAMPLE_TRIES):
        before = read_cycles()
        count = registers.MAIN_COUNTER
        width = read_cycles() - before
        if width < best.width:
            best.count = count
            best.cycles = before + width // 2
            best.width = width
    return best


@fn(phase="init")
def measure_clock() -> bool:
    """Measure against the HPET; False when there is none, or it does not count."""
    registers = struct_in(HpetRegisters, hpet(), 0)
    period = registers.CAPABILITIES >> 32
    if period == 0 or period > LONGEST_PERIOD_FEMTOSECONDS:
        return False
    registers.CONFIGURATION = registers.CONFIGURATION | 1
    first = _sample(registers)
    wanted = u64(MEASURE_FEMTOSECONDS) // period
    count = first.count
    while count - first.count < wanted:
        pause()
        count = registers.MAIN_COUNTER
        if count < first.count or read_cycles() - first.cycles > GIVE_UP_CYCLES:
            return False
    last = _sample(registers)
    nanoseconds = (last.count - first.count) * period // 1_000_000
    clock.tsc_hz = (last.cycles - first.cycles) * 1_000_000 // nanoseconds * 1000
    return True
