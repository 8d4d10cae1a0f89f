"""Where each buffer of the forward pass lies in the activations region.

Every buffer starts on a cache line. A buffer of numbers holds one row per token of a batch (or per lane),
each padded with zeros to a multiple of 16 numbers, a `row_stride` after the one before. Everything but
padding is written before it is read, so that nothing else has to be cleared: a first touch takes 10 ms.
"""

from dataclasses import dataclass, fields

from axiom.lang import u64
from axiom.metal.engine.spec import EngineSpec
from axiom.metal.engine.trace import TRACE_BYTES
from axiom.metal.ops.attention import score_count, sum_count
from axiom.metal.ops.gemm import padded_tokens
from axiom.metal.ops.matrix import round_up, row_stride
from axiom.metal.ops.quantise import quantised_stride

CACHE_LINE_BYTES = 64
PAGE_BYTES = 4096
F32_BYTES = 4


@dataclass(frozen=True)
class Buffer:
    """A part of the activations region. stride: numbers from one token to the next; 0: one row only.

    padded: it has numbers that only padding makes anybody read.
    """

    offset: int
    bytes: int
    stride: int = 0
    padded: bool = False


@dataclass(frozen=True)
class Activations:
    """The buffers; numbers are f32 unless said otherwise.

    Per token of a batch - residual, normed, projected: d_model. query, attended: n_heads * head_dim.
    key, value: n_kv_heads * head_dim. cosines, sines: head_dim. gate, up: d_ffn.
    quantised: a batch of rows of the widest matrix in the format of `quantise`.
    Per lane - scores, sums: the workspace of `attend`.
    trace: a ring of `trace`, in bytes.
    Once - logits: n_vocab. draw_weights: i32 per token of the vocabulary. tokens: u32 per position, the
    prompt.
    """

    residual: Buffer
    normed: Buffer
    projected: Buffer
    quantised: Buffer
    query: Buffer
    key: Buffer
    value: Buffer
    attended: Buffer
    cosines: Buffer
    sines: Buffer
    scores: Buffer
    sums: Buffer
    gate: Buffer
    up: Buffer
    logits: Buffer
    draw_weights: Buffer
    tokens: Buffer
    trace: Buffer

    @property
    def bytes(self) -> int:
        """The size of the whole region, a multiple of 4096."""
        last: Buffer = getattr(self, fields(self)[-1].name)
        return round_up(last.offset + last.bytes, PAGE_BYTES)

    def padded(self) -> tuple[Buffer, ...]:
        """Return the buffers that must be zeros at start."""
        buffers: list[Buffer] = [getattr(self, field.name) for field in fields(self)]
        return tuple(buffer for buffer in buffers if buffer.padded)


def plan_activations(spec: EngineSpec) -> Activations:
    """Lay the buffers out one after the other."""
    shape = spec.shape
    widest = max(t.columns for t in spec.tensors if t.kind == "matrix")
    queries = shape.n_heads // shape.n_kv_heads
    at = 0

    def place(n_bytes: int, stride: int = 0, padded: bool = False) -> Buffer:
        nonlocal at
        made = Buffer(at, n_bytes, stride, padded)
        at = round_up(at + n_bytes, CACHE_LINE_BYTES)
        return made

    def once(count: int) -> Buffer:
        return place(round_up(count, 16) * F32_BYTES, padded=count % 16 != 0)

    def batch(count: int, more: int = 0) -> Buffer:
        stride = row_stride(count)
        padded = count % 16 != 0 or more != 0
        return place((stride * spec.n_batch + more) * F32_BYTES, stride, padded)

    def per_lane(count: int) -> Buffer:
        stride = round_up(count, 16)
        return place(stride * spec.n_lanes * F32_BYTES, stride, stride != count)

    # A value is read sixteen numbers at a time from any head's start, hence the more.
    beyond = 0 if shape.head_dim % 16 == 0 else 16
    return Activations(
        residual=batch(shape.d_model),
        normed=batch(shape.d_model),
        projected=batch(shape.d_model),
        quantised=place(
            int(quantised_stride(u64(round_up(widest, 32))) * padded_tokens(u64(spec.n_batch)))
        ),
        query=batch(shape.q_dim),
        key=batch(shape.kv_dim),
        value=batch(shape.kv_dim, more=beyond),
        attended=batch(shape.q_dim),
        cosines=batch(shape.head_dim),
        sines=batch(shape.head_dim),
        scores=per_lane(score_count(spec.n_context, queries)),
        sums=per_lane(sum_count(shape.head_dim, queries)),
        gate=batch(shape.d_ffn),
        up=batch(shape.d_ffn),
        logits=once(shape.n_vocab),
        draw_weights=once(shape.n_vocab),
        tokens=once(spec.n_context),
        trace=place(spec.n_lanes * TRACE_BYTES, TRACE_BYTES // F32_BYTES),
    )


def activation_bytes(spec: EngineSpec) -> int:
    """Return the size of the activations region, a multiple of 4096."""
    return plan_activations(spec).bytes
