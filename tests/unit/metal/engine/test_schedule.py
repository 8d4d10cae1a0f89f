"""The static schedule, and the memory plan it refers to."""

from dataclasses import fields, replace
from itertools import pairwise

import pytest

from axiom.abi.model_shape import ModelShape, TensorSpec
from axiom.metal.engine import schedule as schedule_module
from axiom.metal.engine.activations import Buffer, activation_bytes, plan_activations
from axiom.metal.engine.kv_cache import kv_cache_bytes, plan_kv_cache
from axiom.metal.engine.operation import OperationKind
from axiom.metal.engine.schedule import build_schedule
from axiom.metal.engine.spec import EngineSpec
from axiom.metal.ops.matrix import Matrix

SHAPE = ModelShape(
    n_layers=2,
    d_model=64,
    d_ffn=172,
    n_heads=8,
    n_kv_heads=4,
    head_dim=8,
    n_vocab=500,
    n_context=512,
    rope_theta=10000.0,
    rms_epsilon=1e-5,
    tied=True,
)


def make_spec(layout: str, down: str, n_context: int = 100, kv_type: str = "f32") -> EngineSpec:
    tensors: list[TensorSpec] = []
    at = 0

    def put(name: str, kind: str, kind_layout: str, rows: int, columns: int, size: int) -> None:
        nonlocal at
        tensors.append(TensorSpec(name, kind, kind_layout, rows, columns, at, size))
        at += -(-size // 4096) * 4096

    def matrix(name: str, rows: int, columns: int, matrix_layout: str = layout) -> None:
        size = Matrix(matrix_layout, rows, columns).bytes
        put(name, "matrix", matrix_layout, rows, columns, size)

    put("rope_frequencies", "f64_vector", "", 1, 4, 32)
    matrix("token_embd", 500, 64)
    for layer in range(2):
        prefix = f"blk.{layer}."
        put(prefix + "attn_norm", "f32_vector", "", 1, 64, 256)
        for name, rows in (("attn_q", 64), ("attn_k", 32), ("attn_v", 32), ("attn_output", 64)):
            matrix(prefix + name, rows, 64)
        put(prefix + "ffn_norm", "f32_vector", "", 1, 64, 256)
        matrix(prefix + "ffn_gate", 172, 64)
        matrix(prefix + "ffn_up", 172, 64)
        matrix(prefix + "ffn_down", 64, 172, down)
    put("output_norm", "f32_vector", "", 1, 64, 256)
    return EngineSpec(SHAPE, tuple(tensors), n_context, kv_type)


def test_a_float_model_never_quantises() -> None:
    schedule = build_schedule(make_spec("f32x16", "f32x16"))
    kinds = {o.kind for o in schedule.operations}
    assert not kinds & {OperationKind.QUANTISE, OperationKind.NORM_AND_QUANTISE}
    assert {m.layout for m in schedule.matrices} == {"f32x16"}


def test_a_float_matrix_among_quantised_ones_reads_the_plain_buffer() -> None:
    spec = make_spec("q8_0x16", "f16x16")
    at = plan_activations(spec)
    operations = build_schedule(spec).operations
    down = [o for o in operations if o.name.endswith("ffn_down")]
    assert [o.source for o in down] == [at.gate.offset] * 2
    gate = [o for o in operations if o.name.endswith("ffn_gate")]
    assert [o.source for o in gate] == [at.quantised.offset] * 2
    quantised = [o.source for o in operations if o.kind == OperationKind.QUANTISE]
    assert quantised == [at.attended.offset] * 2
    norms = [o.name for o in operations if o.kind == OperationKind.NORM_AND_QUANTISE]
    assert len(norms) == 5
    assert norms[-1] == "output_norm"


def k_spec(**layouts: str) -> EngineSpec:
    """Return a spec of 256 columns whose matrices are Q4_0 but for those named."""
    shape = SHAPE._replace(d_model=256, d_ffn=256, n_heads=32, n_kv_heads=32)
    tensors: list[TensorSpec] = []
    for tensor in make_spec("q4_0x16", "q4_0x16").tensors:
        layout = layouts.get(tensor.name.split(".")[-1], tensor.layout)
        if tensor.kind == "matrix":
            size = Matrix(layout, 256, 256).bytes
            made = TensorSpec(tensor.name, "matrix", layout, 256, 256, len(tensors) << 20, size)
        else:
            made = tensor._replace(offset=len(tensors) << 20)
        tensors.append(made)
    return EngineSpec(shape._replace(n_vocab=256), tuple(tensors), 100, "f32")


def forms_read(spec: EngineSpec) -> None:
    """Check that every matrix finds its form of activations, of what it is to be multiplied by."""
    at = plan_activations(spec)
    schedule = build_schedule(spec)
    form, of = 0, 0
    wanted = {"attn_output": at.attended.offset, "ffn_down": at.gate.offset}
    stepping = False
    for operation in schedule.operations:
        if operation.kind == OperationKind.NORM_AND_QUANTISE:
            form, of = operation.scale_columns, operation.target
        elif operation.kind == OperationKind.QUANTISE:
            # Other lanes may still read what this writes over, but for a step that has ended.
            assert not stepping
            form, of = operation.scale_columns, operation.source
        elif operation.kind == OperationKind.MATMUL and operation.source == at.quantised.offset:
            assert form == schedule.matrices[operation.matrix].scale_columns
            assert of == wanted.get(operation.name.split(".")[-1], at.normed.offset)
        stepping = not operation.ends_step


@pytest.mark.parametrize(
    ("layouts", "again"),
    [
        ({}, 0),
        ({"token_embd": "q6_kx16"}, 0),
        ({"attn_v": "q6_kx16"}, 2),
        ({"attn_q": "q6_kx16", "attn_v": "q4_kx16"}, 2),
        ({"attn_q": "f16x16", "attn_k": "q5_kx16"}, 2),
        ({"ffn_up": "q4_kx16"}, 2),
        ({"ffn_gate": "q4_kx16", "ffn_down": "q6_kx16"}, 2),
        ({"ffn_gate": "q4_kx16", "ffn_up": "f16x16"}, 0),
    ],
)
def test_every_matrix_reads_its_form_of_activations(layouts: dict[str, str], again: int) -> None:
    spec = k_spec(**layouts)
    forms_read(spec)
    names = [o.name for o in build_schedule(spec).operations]
    assert sorted(n for n in names if n in {t.name for t in spec.tensors if t.kind == "matrix"}) == sorted(
        t.name for t in spec.tensors if t.kind == "matrix"
    )
    assert names.count("swiglu") == 2
    # Once before attn_output and once before ffn_down, of either layer, and where forms are mixed.
    assert names.count("quantise") == 4 + again


def test_every_weight_is_read_once_and_the_counts_add_up() -> None:
    spec = make_spec("q4_0x16", "f16x16")
    schedule = build_schedule(spec)
    rows = [o for o in schedule.operations if o.kind == OperationKind.MATMUL]
    matrices = [t for t in spec.tensors if t.kind == "matrix"]
    assert sum(o.bytes_read for o in rows) == sum(t.bytes for t in matrices)
    padded = [Matrix(t.layout, t.rows, t.columns).n_groups * 16 * t.columns for t in matrices]
    assert sum(o.multiply_adds for o in rows) == sum(padded)
    assert schedule.operations[schedule.output_start].name == "output_norm"
    assert schedule.operations[-1].kind == OperationKind.SAMPLE


def test_a_step_of_much_work_goes_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = replace(make_spec("f32x16", "f32x16"), n_batch=10)
    head = spec.output_tensor().rows * 64 * 10
    monkeypatch.setattr(schedule_module, "MAX_SHARE_MULTIPLY_ADDS", head // 4)
    pieces = {o.name: o.n_pieces for o in build_schedule(spec).operations}
    assert pieces["token_embd"] in (4, 5)  # rows are padded to whole groups
    assert pieces["blk.0.attn_output"] == 1


def test_only_the_lanes_own_rows_are_read_before_a_step_ends() -> None:
    operations = build_schedule(make_spec("q8_0x16", "q8_0x16")).operations
    run: list[OperationKind] = []
    by_rows = {OperationKind.MATMUL, OperationKind.ADD, OperationKind.SWIGLU}
    by_tokens = {OperationKind.EMBED, OperationKind.ROPE_TABLES, OperationKind.NORM_AND_QUANTISE}
    for operation in operations:
        run.append(operation.kind)
        if operation.ends_step:
            assert len(run) == 1 or set(run) <= by_rows or set(run) <= by_tokens
            run = []
    assert not run


def test_an_untied_model_uses_its_output_matrix() -> None:
    spec = make_spec("f32x16", "f32x16")
    embedding = spec.tensor("token_embd")
    output = embedding._replace(name="output", offset=10**6)
    untied = replace(spec, shape=SHAPE._replace(tied=False), tensors=(*spec.tensors, output))
    assert build_schedule(untied).operations[-2].weights == 10**6
    assert build_schedule(spec).operations[-2].weights == embedding.offset


def test_buffers_do_not_overlap_and_fill_the_region() -> None:
    spec = make_spec("q8_0x16", "f16x16")
    plan = plan_activations(spec)
    buffers: list[Buffer] = [getattr(plan, f.name) for f in fields(plan)]
    for first, second in pairwise(buffers):
        assert first.offset + first.bytes <= second.offset
        assert second.offset % 64 == 0
    assert activation_bytes(spec) % 4096 == 0
    assert buffers[-1].offset + buffers[-1].bytes <= activation_bytes(spec)
    assert plan.logits.bytes >= 4 * 500


def test_rows_of_a_batch_are_an_odd_number_of_cache_lines_apart() -> None:
    plan = plan_activations(make_spec("q8_0x16", "f16x16"))
    for buffer, count in ((plan.residual, 64), (plan.projected, 64), (plan.gate, 172), (plan.up, 172)):
        assert buffer.stride >= count
        assert buffer.stride * 4 // 64 % 2 == 1


@pytest.mark.parametrize(
    ("kv_type", "key_bytes", "value_bytes"),
    [
        ("f32", 112 * 8 * 4, 112 * 16 * 4),
        ("f16", 112 * 8 * 2, 112 * 16 * 2),
        ("q8_0", 112 * (8 + 2), 112 * (16 + 2)),
    ],
)
def test_the_kv_cache_holds_every_position_of_every_head(
    kv_type: str, key_bytes: int, value_bytes: int
) -> None:
    spec = make_spec("f32x16", "f32x16", n_context=100, kv_type=kv_type)
    cache = plan_kv_cache(spec)
    assert (cache.key_bytes, cache.value_bytes) == (key_bytes, value_bytes)
    assert cache.layer_bytes == 4 * (key_bytes + value_bytes)
    assert kv_cache_bytes(spec) >= 2 * cache.layer_bytes
    assert kv_cache_bytes(spec) % 4096 == 0


def test_an_unknown_kv_type_is_refused() -> None:
    with pytest.raises(ValueError, match="f8"):
        kv_cache_bytes(make_spec("f32x16", "f32x16", kv_type="f8"))


def test_a_tensor_shorter_than_its_layout_is_refused() -> None:
    spec = make_spec("f32x16", "f32x16")
    short = tuple(t._replace(bytes=t.bytes - 1) if t.name == "token_embd" else t for t in spec.tensors)
    with pytest.raises(ValueError, match="token_embd"):
        build_schedule(replace(spec, tensors=short))
