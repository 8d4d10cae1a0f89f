"""How fast a region can be read: by one processor alone, or by all of them at once, each its part.

For the host, which asks when no sequence runs. The read is `ops.plain_read.read_ahead`.
"""

from axiom.abi.boot import MAX_LANES, RegionKind
from axiom.abi.link import ErrorCode, MeasuredMessage, MeasureMessage, MessageType
from axiom.lang import (
    Array,
    Slice,
    array,
    bytes_of,
    fn,
    i32,
    minimum,
    static_var,
    struct,
    u8,
    u32,
    u64,
    zeroed,
)
from axiom.metal.engine.sequence import EngineState
from axiom.metal.kernel.clock import now_cycles
from axiom.metal.kernel.link import link, send_frame
from axiom.metal.ops.plain_read import BLOCK_BYTES, read_ahead


@struct
class MeasureState:
    """What is read now, by which lane; sums: what each found, so that its reading has a use.

    lane: from the number of lanes on, all of them.
    """

    asked: MeasureMessage
    memory: Slice[u8]
    running: bool
    sums: Array[i32] = array(i32, MAX_LANES)


measure = static_var(zeroed(MeasureState))


@fn(inline="always")
def read_share(lane: u32, n_lanes: u32) -> None:
    """Read the lane's part."""
    memory = measure.memory
    if measure.asked.lane == lane:
        measure.sums[lane] = read_ahead(memory)
    elif measure.asked.lane >= n_lanes:
        blocks = memory.length // BLOCK_BYTES
        first = blocks * u64(lane) // u64(n_lanes)
        last = blocks * (u64(lane) + 1) // u64(n_lanes)
        measure.sums[lane] = read_ahead(memory.part(first * BLOCK_BYTES, (last - first) * BLOCK_BYTES))


@fn
def region_of(state: EngineState, kind: u32) -> Slice[u8]:
    """Return a region that the engine reads; no bytes for any other."""
    if kind == u32(RegionKind.WEIGHTS):
        return state.weights
    if kind == u32(RegionKind.KV_CACHE):
        return state.kv_cache
    if kind == u32(RegionKind.ACTIVATIONS):
        return state.activations
    return state.weights.part(0, 0)


@fn
def choose_part(state: EngineState, asked: MeasureMessage) -> ErrorCode:
    """Note what is to be read."""
    memory = region_of(state, asked.kind)
    if asked.bytes == 0 or asked.first >= memory.length:
        return ErrorCode.BAD_PARAMETERS
    measure.asked = asked
    measure.memory = memory.part(asked.first, minimum(asked.bytes, memory.length - asked.first))
    return ErrorCode.NONE


@fn
def begin_measure() -> u64:
    """Make the next shares reads; return the time."""
    measure.running = True
    return now_cycles()


@fn
def end_measure(start: u64) -> bool:
    """Tell the host what the read took; False while there is no room for the message."""
    cycles = now_cycles() - start
    measure.running = False
    asked = measure.asked
    message = MeasuredMessage(kind=asked.kind, lane=asked.lane, bytes=measure.memory.length, cycles=cycles)
    return send_frame(MessageType.MEASURED, bytes_of(message), link.memory.part(0, 0))
