"""Execute one operation of the schedule. Only kinds and matrix shapes that occur are compiled.

Every lane calls `execute` for its parts of every operation: rows of a matrix, tokens, heads. The parts are
disjoint, so that nothing depends on how many lanes there are, nor on which of them does what.
"""

from collections.abc import Callable

from axiom.lang import (
    Slice,
    current_target,
    f32,
    f64,
    fn,
    minimum,
    reinterpret,
    static,
    struct,
    u8,
    u32,
    u64,
    urange,
)
from axiom.metal.engine.activations import Buffer, plan_activations
from axiom.metal.engine.kv_cache import KvCache, plan_kv_cache
from axiom.metal.engine.operation import OperationKind, OperationRecord
from axiom.metal.engine.schedule import Schedule
from axiom.metal.engine.sequence import EngineState
from axiom.metal.engine.spec import EngineSpec
from axiom.metal.ops.attention import attend, block_tokens
from axiom.metal.ops.elementwise import add, swiglu
from axiom.metal.ops.embedding import embed_row
from axiom.metal.ops.gemm import activation_row_bytes, gemm, most_together, padded_tokens
from axiom.metal.ops.gemv import gemv
from axiom.metal.ops.kv_layout import store_key, store_value
from axiom.metal.ops.matrix import SUPER_COLUMNS, Matrix, round_up, row_stride
from axiom.metal.ops.quantise import quantise, quantise_super, quantised_stride
from axiom.metal.ops.rmsnorm import rmsnorm
from axiom.metal.ops.rope import rope, rope_tables


@struct
class Share:
    """Which part of a step a lane does: parts [first, last) of `of` equal ones."""

    lane: u64
    first: u64
    last: u64
    of: u64


@fn
def first_of(share: Share, count: u64) -> u64:
    """Return where the share of `count` things starts."""
    return count * share.first // share.of


@fn
def end_of(share: Share, count: u64) -> u64:
    """Return where the share of `count` things ends, and the next part starts."""
    return count * share.last // share.of


@fn
def together_in(state: EngineState) -> u64:
    """Return how many row groups parts are multiples of: what `gemm` is fastest with."""
    return u64(most_together(current_target())) if state.n_tokens > 1 else u64(1)


@fn
def first_group(state: EngineState, share: Share, n_groups: u64) -> u64:
    """Return the first row group of the share."""
    together = together_in(state)
    return first_of(share, n_groups) // together * together


@fn
def end_group(state: EngineState, share: Share, n_groups: u64) -> u64:
    """Return the row group after the last one of the share."""
    together = together_in(state)
    return n_groups if share.last == share.of else end_of(share, n_groups) // together * together


@fn
def bytes_at(state: EngineState, offset: u64, count: u64) -> Slice[u8]:
    """Return part of the activations."""
    return state.activations.part(offset, count)


@fn
def floats_at(state: EngineState, offset: u64, count: u64) -> Slice[f32]:
    """Return `count` numbers of the activations."""
    return reinterpret(f32, state.activations.part(offset, count * 4))


@fn
def row_of(state: EngineState, buffer: Buffer, token: u64) -> Slice[f32]:
    """Return a token's (or lane's) row of a buffer."""
    return floats_at(state, token * (buffer.stride * 4) + buffer.offset, u64(buffer.stride))


@fn
def layer_cache(cache: KvCache, state: EngineState, layer: u64) -> Slice[u8]:
    """Return one layer of the KV cache."""
    return state.kv_cache.part(layer * cache.layer_bytes, cache.layer_bytes)


@fn
def matmul(matrix: Matrix, state: EngineState, record: OperationRecord, share: Share) -> None:
    """Multiply the tokens by the lane's row groups of a matrix of this shape."""
    n_rows = matrix.n_groups * 16
    stride = row_stride(n_rows)
    n_tokens = u64(state.n_tokens)
    row_bytes = activation_row_bytes(matrix)
    weights = state.weights.part(record.weights, matrix.bytes)
    rows = padded_tokens(n_tokens) if matrix.quantised else n_tokens
    source = bytes_at(state, record.source, rows * row_bytes)
    target = floats_at(state, record.target, (n_tokens - 1) * stride + n_rows)
    first = first_group(state, share, u64(matrix.n_groups))
    last = end_group(state, share, u64(matrix.n_groups))
    if n_tokens == 1:
        gemv(matrix, weights, source, target, first, last)
    else:
        gemm(matrix, weights, source, target, first, last, n_tokens, stride)


def make_execute(
    spec: EngineSpec, schedule: Schedule
) -> Callable[[EngineState, OperationRecord, Share], None]:
    """Return the function that does a lane's part of any operation of the schedule except SAMPLE."""
    shape, at, cache = spec.shape, plan_activations(spec), plan_kv_cache(spec)
    matrices = tuple(enumerate(schedule.matrices))
    embedding = schedule.matrices[schedule.operations[0].matrix]
    n_queries = shape.n_heads // shape.n_kv_heads
    scale_columns = tuple(sorted({m.scale_columns for m in schedule.matrices if m.quantised}))
    is_quantised = len(scale_columns) > 0
    head_dim, n_kv_heads = shape.head_dim, shape.n_kv_heads
    shared_dim, block = n_queries * head_dim, block_tokens(n_queries)
    padded_model = round_up(shape.d_model, 16)
    padded_frequencies = round_up(head_dim // 2, 8)

    @fn
    def embed(state: EngineState, record: OperationRecord, share: Share) -> None:
        weights = state.weights.part(record.weights, embedding.bytes)
        tokens = reinterpret(u32, state.activations.part(at.tokens.offset, at.tokens.bytes))
        n_tokens = u64(state.n_tokens)
        for token in urange(first_of(share, n_tokens), end_of(share, n_tokens)):
            row = u64(tokens[u64(state.position) + token])
            embed_row(embedding, weights, row, row_of(state, at.residual, token))

    @fn
    def tables(state: EngineState, record: OperationRecord, share: Share) -> None:
        frequencies = reinterpret(f64, state.weights.part(record.weights, padded_frequencies * 8))
        n_tokens = u64(state.n_tokens)
        for token in urange(first_of(share, n_tokens), end_of(share, n_tokens)):
            cosines = row_of(state, at.cosines, token)
            sines = row_of(state, at.sines, token)
            rope_tables(frequencies, u64(state.position) + token, cosines, sines)

    @fn
    def norm(state: EngineState, record: OperationRecord, share: Share) -> None:
        weight = reinterpret(f32, state.weights.part(record.weights, padded_model * 4))
        n_tokens = u64(state.n_tokens)
        for token in urange(first_of(share, n_tokens), end_of(share, n_tokens)):
            source = row_of(state, at.residual, u64(state.first_row) + token)
            target = row_of(state, at.normed, token)
            rmsnorm(source, weight, target, shape.d_model, shape.rms_epsilon)

    @fn
    def quantise_row(record: OperationRecord, source: Slice[f32], target: Slice[u8]) -> None:
        for columns in static(scale_columns):
            if record.scale_columns == columns:
                if columns == SUPER_COLUMNS:
                    quantise_super(source, target)
                else:
                    quantise(source, target)

    @fn
    def quantise_rows(state: EngineState, record: OperationRecord, share: Share) -> None:
        columns = u64(record.count)
        stride = (columns + 15) // 16 * 16 | 16
        n_bytes = quantised_stride(columns)
        n_tokens = u64(state.n_tokens)
        for token in urange(first_of(share, n_tokens), end_of(share, n_tokens)):
            source = floats_at(state, record.source + token * stride * 4, columns)
            target = bytes_at(state, token * n_bytes + at.quantised.offset, n_bytes)
            quantise_row(record, source, target)

    @fn
    def quantise_normed(state: EngineState, record: OperationRecord, share: Share) -> None:
        columns = u64(record.count)
        n_bytes = quantised_stride(columns)
        n_tokens = u64(state.n_tokens)
        for token in urange(first_of(share, n_tokens), end_of(share, n_tokens)):
            source = row_of(state, at.normed, token).part(0, columns)
            target = bytes_at(state, token * n_bytes + at.quantised.offset, n_bytes)
            quantise_row(record, source, target)

    @fn
    def rope_and_cache(state: EngineState, layer: u64, share: Share) -> None:
        run = layer_cache(cache, state, layer)
        n_items = u64(state.n_tokens) * n_kv_heads
        for item in urange(first_of(share, n_items), end_of(share, n_items)):
            token = item // n_kv_heads
            head = item % n_kv_heads
            cosines = row_of(state, at.cosines, token)
            sines = row_of(state, at.sines, token)
            query = row_of(state, at.query, token).part(head * shared_dim, shared_dim)
            key = row_of(state, at.key, token).part(head * head_dim, head_dim)
            value_at = (token * at.value.stride + head * head_dim) * 4 + at.value.offset
            rope(query, cosines, sines, n_queries, head_dim)
            rope(key, cosines, sines, 1, head_dim)
            position = u64(state.position) + token
            keys = run.part(head * cache.key_bytes, cache.key_bytes)
            values = run.part(head * cache.value_bytes + cache.layer_values_at, cache.value_bytes)
            store_key(cache.form, keys, position, key)
            value = floats_at(state, value_at, u64(round_up(head_dim, 16)))
            store_value(cache.form, values, position, value)

    @fn
    def attention(state: EngineState, layer: u64, share: Share) -> None:
        run = layer_cache(cache, state, layer)
        scores = row_of(state, at.scores, share.lane)
        sums = row_of(state, at.sums, share.lane)
        # By heads and blocks of tokens: a block shares what it reads of the cache.
        n_tokens = u64(state.n_tokens)
        n_blocks = (n_tokens + (block - 1)) // block
        n_items = n_blocks * n_kv_heads
        for item in urange(first_of(share, n_items), end_of(share, n_items)):
            head = item // n_blocks
            token = item % n_blocks * block
            count = minimum(n_tokens - token, u64(block))
            first = (token * at.query.stride + head * shared_dim) * 4
            length = (count - 1) * at.query.stride + shared_dim
            attend(
                cache.form,
                floats_at(state, first + at.query.offset, length),
                run.part(head * cache.key_bytes, cache.key_bytes),
                run.part(head * cache.value_bytes + cache.layer_values_at, cache.value_bytes),
                scores,
                sums,
                floats_at(state, first + at.attended.offset, length),
                u64(state.position) + token,
                count,
                at.query.stride,
                n_queries,
            )

    @fn
    def add_rows(state: EngineState, record: OperationRecord, share: Share) -> None:
        count = u64(record.count)
        first = first_group(state, share, count // 16) * 16
        n_rows = end_group(state, share, count // 16) * 16 - first
        for token in urange(u64(state.n_tokens)):
            start = (token * (count | 16) + first) * 4
            target = floats_at(state, record.target + start, n_rows)
            add(target, floats_at(state, record.source + start, n_rows))

    @fn
    def swiglu_rows(state: EngineState, record: OperationRecord, share: Share) -> None:
        count = u64(record.count)
        first = first_group(state, share, count // 16) * 16
        n_rows = end_group(state, share, count // 16) * 16 - first
        for token in urange(u64(state.n_tokens)):
            start = (token * (count | 16) + first) * 4
            target = floats_at(state, record.target + start, n_rows)
            swiglu(target, floats_at(state, record.source + start, n_rows))

    @fn
    def execute(state: EngineState, record: OperationRecord, share: Share) -> None:
        match record.kind:
            case OperationKind.EMBED:
                embed(state, record, share)
            case OperationKind.ROPE_TABLES:
                tables(state, record, share)
            case OperationKind.NORM:
                norm(state, record, share)
            case OperationKind.NORM_AND_QUANTISE:
                norm(state, record, share)
                if is_quantised:
                    quantise_normed(state, record, share)
            case OperationKind.QUANTISE:
                if is_quantised:
                    quantise_rows(state, record, share)
            case OperationKind.MATMUL:
                for number, matrix in static(matrices):
                    if record.matrix == number:
                        matmul(matrix, state, record, share)
            case OperationKind.ROPE_AND_CACHE:
                rope_and_cache(state, u64(record.layer), share)
            case OperationKind.ATTENTION:
                attention(state, u64(record.layer), share)
            case OperationKind.ADD:
                add_rows(state, record, share)
            case OperationKind.SWIGLU:
                swiglu_rows(state, record, share)
            case OperationKind.SAMPLE:
                pass

    return execute
