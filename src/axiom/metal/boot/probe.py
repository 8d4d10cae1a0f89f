"""What a machine's memory and cores can do, measured by lanes in a Linux process."""

from collections.abc import Callable
from dataclasses import dataclass

from axiom.lang import Slice, Target, fn, i32, static_var, struct, u8, u32, u64, urange, zeroed
from axiom.metal.kernel.lanes import Lanes, make_lanes
from axiom.metal.ops.plain_read import plain_read, read_ahead

LINE_BYTES = 256


@struct
class ProbeState:
    """Memory to read, whether to ask for it ahead, and what came of it; without memory lanes only meet."""

    memory: Slice[u8]
    ahead: bool
    sum: i32


@dataclass(frozen=True)
class Probe:
    """What the lanes can be asked for.

    read(memory): every lane reads its part once. read_ahead: the same, and asks for memory ahead of its
    walk, as `gemv` does. meet(count): they meet so often.
    """

    read: Callable[[Slice[u8]], i32]
    read_ahead: Callable[[Slice[u8]], i32]
    meet: Callable[[u64], None]
    lanes: Lanes


def make_probe(target: Target) -> Probe:
    """Return the functions of a probe, to be loaded together with its lanes."""
    state = static_var(zeroed(ProbeState))

    @fn(target=target, inline="never")
    def read_part(lane: u32, n_lanes: u32) -> i32:
        blocks = state.memory.length // LINE_BYTES
        first = blocks * u64(lane) // u64(n_lanes)
        last = blocks * (u64(lane) + 1) // u64(n_lanes)
        part = state.memory.part(first * LINE_BYTES, (last - first) * LINE_BYTES)
        return read_ahead(part) if state.ahead else plain_read(part)

    @fn
    def share(lane: u32, n_lanes: u32) -> None:
        if state.memory.length > 0:
            found = read_part(lane, n_lanes)
            if lane == 0:
                state.sum = found

    lanes = make_lanes(share, hosted=True)

    @fn
    def read(memory: Slice[u8]) -> i32:
        state.memory = memory
        state.ahead = False
        lanes.run()
        return state.sum

    @fn
    def read_with_ahead(memory: Slice[u8]) -> i32:
        state.memory = memory
        state.ahead = True
        lanes.run()
        return state.sum

    @fn
    def meet(count: u64) -> None:
        state.memory = state.memory.part(0, 0)
        for _ in urange(count):
            lanes.run()

    return Probe(read, read_with_ahead, meet, lanes)
