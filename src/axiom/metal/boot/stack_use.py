"""What the kernel has used of its stacks, for the host to compare with what the build has proved."""

from axiom.abi.boot import LANE_STACK_BYTES, LANE_STACK_STRIDE, PAGE_BYTES, Counters, RegionKind
from axiom.lang import Slice, fn, maximum, reinterpret, u32, u64, urange
from axiom.metal.arch.gates import ring0_stack_used
from axiom.metal.arch.stacks import boot_stack, paint, used_bytes
from axiom.metal.boot.start_report import report
from axiom.metal.kernel.frames import memory_of


@fn
def _run_stack() -> Slice[u64]:
    return reinterpret(u64, memory_of(RegionKind.STACK))


@fn
def _lane_stack(number: u64) -> Slice[u64]:
    """Return the stack of the processor that was woken as number `number` + 1, without its guard page."""
    stacks = memory_of(RegionKind.LANE_STACKS)
    return reinterpret(u64, stacks.part(number * LANE_STACK_STRIDE + PAGE_BYTES, LANE_STACK_BYTES))


@fn
def _n_lane_stacks() -> u64:
    return memory_of(RegionKind.LANE_STACKS).length // LANE_STACK_STRIDE


@fn
def paint_run_stack() -> None:
    """Paint the stack of `axiom_run`, which is mapped and not in use."""
    paint(_run_stack())


@fn
def paint_lane_stacks() -> None:
    """Paint the stack of every processor that may be woken; none is awake."""
    for number in urange(_n_lane_stacks()):
        paint(_lane_stack(number))


@fn
def count_stacks(counters: Counters) -> None:
    """Fill in what was ever used of each stack, and of the fullest where there are several of a kind."""
    counters.boot_stack_bytes = used_bytes(boot_stack())
    counters.run_stack_bytes = used_bytes(_run_stack())
    for number in urange(_n_lane_stacks()):
        used = used_bytes(_lane_stack(number))
        counters.lane_stack_bytes = maximum(counters.lane_stack_bytes, used)
    for core in urange(maximum(report.n_lanes, u32(1))):
        counters.ring0_stack_bytes = maximum(counters.ring0_stack_bytes, ring0_stack_used(core))
