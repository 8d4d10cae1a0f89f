"""The counters that assembly keeps."""

from axiom.lang import fn, slice_at, struct, struct_at, symbol_address, u64, unsafe, volatile_store


@struct
class HardwareCounters:
    """Laid out as in `vectors`, from `axiom_ticks` on."""

    ticks: u64
    heartbeat: u64
    last_heartbeat: u64
    stalled: u64
    other_interrupts: u64
    exceptions: u64
    gate_calls: u64


@fn
def hardware_counters() -> HardwareCounters:
    """Return a copy of the counters."""
    # SAFETY: the symbol names storage of exactly this layout.
    with unsafe:
        return struct_at(HardwareCounters, symbol_address("axiom_ticks"))


@fn(inline="always")
def beat() -> None:
    """Show the watchdog that the scheduler makes progress."""
    # SAFETY: the symbol names storage of exactly this layout; only this function writes `heartbeat`.
    with unsafe:
        counters = slice_at(u64, symbol_address("axiom_ticks"), 2)
    volatile_store(counters, 1, counters[1] + 1)
