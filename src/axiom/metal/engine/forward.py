"""Execute one operation of the schedule. Only kinds and matrix shapes that occur are compiled."""

from collections.abc import Callable

from axiom.lang import Slice, f16, f32, f64, fn, reinterpret, static, u8, u64, urange
from axiom.metal.engine.activations import Buffer, plan_activations
from axiom.metal.engine.kv_cache import KvCache, plan_kv_cache
from axiom.metal.engine.operation import OperationKind, OperationRecord
from axiom.metal.engine.schedule import Schedule
from axiom.metal.engine.sequence import EngineState
from axiom.metal.engine.spec import EngineSpec
from axiom.metal.ops.attention import attend
from axiom.metal.ops.elementwise import add, swiglu
from axiom.metal.ops.embedding import embed_row
from axiom.metal.ops.gemv import gemv
from axiom.metal.ops.kv_layout import KvT, store_key, store_value
from axiom.metal.ops.matrix import Matrix, round_up
from axiom.metal.ops.quantise import quantise, quantised_bytes
from axiom.metal.ops.rmsnorm import rmsnorm
from axiom.metal.ops.rope import rope, rope_tables


@fn
def bytes_at(state: EngineState, offset: u64, count: u64) -> Slice[u8]:
    """Return part of the activations."""
    return state.activations.part(offset, count)


@fn
def floats_at(state: EngineState, offset: u64, count: u64) -> Slice[f32]:
    """Return `count` numbers of the activations."""
    return reinterpret(f32, state.activations.part(offset, count * 4))


@fn
def buffer_floats(state: EngineState, buffer: Buffer) -> Slice[f32]:
    """Return a whole buffer of the activations."""
    return reinterpret(f32, state.activations.part(buffer.offset, buffer.bytes))


@fn
def layer_cache(element: type[KvT], cache: KvCache, state: EngineState, layer: u64) -> Slice[KvT]:
    """Return one layer of the KV cache."""
    part = state.kv_cache.part(layer * cache.layer_bytes, cache.layer_bytes)
    return reinterpret(element, part)


@fn
def matvec(matrix: Matrix, state: EngineState, record: OperationRecord) -> None:
    """Multiply by the record's row groups of a matrix of this shape."""
    source_bytes = matrix.padded_columns * 4
    if matrix.quantised:
        source_bytes = quantised_bytes(matrix.columns)
    gemv(
        matrix,
        state.weights.part(record.weights, matrix.bytes),
        bytes_at(state, record.source, u64(source_bytes)),
        floats_at(state, record.target, u64(matrix.n_groups * 16)),
        u64(record.first_group),
        u64(record.last_group),
    )


def make_execute(spec: EngineSpec, schedule: Schedule) -> Callable[[EngineState, OperationRecord], None]:
    """Return the function that executes any operation of the schedule except SAMPLE."""
    shape, at, cache = spec.shape, plan_activations(spec), plan_kv_cache(spec)
    matrices = tuple(enumerate(schedule.matrices))
    embedding = schedule.matrices[schedule.operations[0].matrix]
    n_queries = shape.n_heads // shape.n_kv_heads
    is_quantised = any(matrix.quantised for matrix in schedule.matrices)
    head_dim, n_heads, n_kv_heads = shape.head_dim, shape.n_heads, shape.n_kv_heads
    shared_dim = n_queries * head_dim
    padded_model = round_up(shape.d_model, 16)
    padded_frequencies = round_up(head_dim // 2, 8)

    @fn
    def embed(state: EngineState, record: OperationRecord) -> None:
        weights = state.weights.part(record.weights, embedding.bytes)
        embed_row(embedding, weights, u64(state.input_token), buffer_floats(state, at.residual))

    @fn
    def tables(state: EngineState, record: OperationRecord) -> None:
        frequencies = reinterpret(f64, state.weights.part(record.weights, padded_frequencies * 8))
        cosines = buffer_floats(state, at.cosines)
        sines = buffer_floats(state, at.sines)
        rope_tables(frequencies, u64(state.position), cosines, sines)

    @fn
    def norm(state: EngineState, record: OperationRecord) -> None:
        weight = reinterpret(f32, state.weights.part(record.weights, padded_model * 4))
        source = floats_at(state, record.source, u64(padded_model))
        target = floats_at(state, record.target, u64(padded_model))
        rmsnorm(source, weight, target, shape.d_model, shape.rms_epsilon)

    @fn
    def rope_and_cache(element: type[KvT], state: EngineState, layer: u64) -> None:
        cosines = buffer_floats(state, at.cosines)
        sines = buffer_floats(state, at.sines)
        key = buffer_floats(state, at.key)
        value = buffer_floats(state, at.value)
        rope(buffer_floats(state, at.query), cosines, sines, n_heads, head_dim)
        rope(key, cosines, sines, n_kv_heads, head_dim)
        run = layer_cache(element, cache, state, layer)
        position = u64(state.position)
        for head in urange(n_kv_heads):
            keys = run.part(head * cache.key_count, cache.key_count)
            values = run.part(head * cache.value_count + cache.layer_values_at, cache.value_count)
            store_key(element, keys, position, key.part(head * head_dim, head_dim))
            store_value(
                element, values, position, value.part(head * head_dim, round_up(head_dim, 16)), head_dim
            )

    @fn
    def attention(element: type[KvT], state: EngineState, layer: u64) -> None:
        run = layer_cache(element, cache, state, layer)
        query = buffer_floats(state, at.query)
        attended = buffer_floats(state, at.attended)
        scores = buffer_floats(state, at.scores)
        sums = buffer_floats(state, at.sums)
        n_positions = u64(state.position) + 1
        for head in urange(n_kv_heads):
            attend(
                query.part(head * shared_dim, shared_dim),
                run.part(head * cache.key_count, cache.key_count),
                run.part(head * cache.value_count + cache.layer_values_at, cache.value_count),
                scores,
                sums,
                attended.part(head * shared_dim, shared_dim),
                n_positions,
                n_queries,
                head_dim,
            )

    @fn
    def execute(state: EngineState, record: OperationRecord) -> None:
        match record.kind:
            case OperationKind.EMBED:
                embed(state, record)
            case OperationKind.ROPE_TABLES:
                tables(state, record)
            case OperationKind.NORM:
                norm(state, record)
            case OperationKind.QUANTISE:
                if is_quantised:
                    count = u64(record.count)
                    target = bytes_at(state, record.target, count // 32 * quantised_bytes(32))
                    quantise(floats_at(state, record.source, count), target)
            case OperationKind.MATVEC:
                for number, matrix in static(matrices):
                    if record.matrix == number:
                        matvec(matrix, state, record)
            case OperationKind.ROPE_AND_CACHE:
                if cache.kv_type == "f16":
                    rope_and_cache(f16, state, u64(record.layer))
                else:
                    rope_and_cache(f32, state, u64(record.layer))
            case OperationKind.ATTENTION:
                if cache.kv_type == "f16":
                    attention(f16, state, u64(record.layer))
                else:
                    attention(f32, state, u64(record.layer))
            case OperationKind.ADD:
                count = u64(record.count)
                add(floats_at(state, record.target, count), floats_at(state, record.source, count))
            case OperationKind.SWIGLU:
                count = u64(record.count)
                swiglu(floats_at(state, record.target, count), floats_at(state, record.source, count))
            case OperationKind.SAMPLE:
                pass

    return execute
