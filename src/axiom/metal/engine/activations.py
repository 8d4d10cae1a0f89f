"""Where each buffer of the forward pass lies in the activations region.

Every buffer starts on a cache line and is padded with zeros to a multiple of 16 numbers.
"""

from dataclasses import dataclass, fields

from axiom.metal.engine.spec import EngineSpec
from axiom.metal.ops.matrix import round_up
from axiom.metal.ops.quantise import quantised_bytes

CACHE_LINE_BYTES = 64
PAGE_BYTES = 4096
F32_BYTES = 4


@dataclass(frozen=True)
class Buffer:
    """A part of the activations region."""

    offset: int
    bytes: int


@dataclass(frozen=True)
class Activations:
    """The buffers; numbers are f32 unless said otherwise.

    residual, normed, projected: d_model. quantised: blocks of `quantise` for the widest matrix. query,
    attended: n_heads * head_dim. key, value: n_kv_heads * head_dim. cosines, sines: head_dim.
    scores: n_context, and sums: head_dim, for each query head of one KV head. gate, up: d_ffn.
    logits: n_vocab. draw_weights: i32 per token of the vocabulary. tokens: u32 per position, the prompt.
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

    @property
    def bytes(self) -> int:
        """The size of the whole region, a multiple of 4096."""
        last: Buffer = getattr(self, fields(self)[-1].name)
        return round_up(last.offset + last.bytes, PAGE_BYTES)


def plan_activations(spec: EngineSpec) -> Activations:
    """Lay the buffers out one after the other."""
    shape = spec.shape
    widest = max(t.columns for t in spec.tensors if t.kind == "matrix")
    queries = shape.n_heads // shape.n_kv_heads
    at = 0

    def place(n_bytes: int) -> Buffer:
        nonlocal at
        made = Buffer(at, n_bytes)
        at = round_up(at + n_bytes, CACHE_LINE_BYTES)
        return made

    def numbers(count: int) -> Buffer:
        return place(round_up(count, 16) * F32_BYTES)

    # A value is read sixteen numbers at a time from any head's start, hence the 16 more.
    return Activations(
        residual=numbers(shape.d_model),
        normed=numbers(shape.d_model),
        projected=numbers(shape.d_model),
        quantised=place(quantised_bytes(round_up(widest, 32))),
        query=numbers(shape.n_heads * shape.head_dim),
        key=numbers(shape.n_kv_heads * shape.head_dim),
        value=numbers(shape.n_kv_heads * shape.head_dim + 16),
        attended=numbers(shape.n_heads * shape.head_dim),
        cosines=numbers(shape.head_dim),
        sines=numbers(shape.head_dim),
        scores=numbers(queries * round_up(spec.n_context, 16)),
        sums=numbers(queries * round_up(shape.head_dim, 16)),
        gate=numbers(shape.d_ffn),
        up=numbers(shape.d_ffn),
        logits=numbers(shape.n_vocab),
        draw_weights=numbers(shape.n_vocab),
        tokens=numbers(spec.n_context),
    )


def activation_bytes(spec: EngineSpec) -> int:
    """Return the size of the activations region, a multiple of 4096."""
    return plan_activations(spec).bytes
