"""Matrix times vector in each layout, against float64, and the order of summation."""

from functools import cache
from typing import Any

import numpy as np
import pytest

from axiom.lang import Slice, f32, fn, u8, u64
from axiom.metal.ops.gemv import gemv
from axiom.metal.ops.matrix import Matrix
from tests.support.activations import quantised_for
from tests.support.identity import run_checked
from tests.support.packing import LAYOUTS, columns_for, dequantise, pack, pack_q4, pack_q8
from tests.support.targets import TARGETS, run


@cache
def gemv_for(matrix: Matrix) -> Any:
    """Return the op specialised for one matrix shape."""

    @fn
    def specialised(
        weights: Slice[u8], activations: Slice[u8], out: Slice[f32], first: u64, last: u64
    ) -> None:
        gemv(matrix, weights, activations, out, first, last)

    return specialised


def activations_for(matrix: Matrix, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the bytes that the op takes, and in float64 the numbers that they stand for."""
    if not matrix.quantised:
        return np.pad(x, (0, -len(x) % 4)).view(np.uint8), x.astype(np.float64)
    out = quantised_for(matrix, x)
    blocks = out.reshape(-1, 64)
    d = np.ascontiguousarray(blocks[:, 40:44]).view(np.float32).astype(np.float64)
    return out, (blocks[:, :32].view(np.int8) * d).reshape(-1)


def multiply(target: str, matrix: Matrix, packed: np.ndarray, activations: np.ndarray) -> np.ndarray:
    out = np.full(matrix.n_groups * 16, np.nan, np.float32)
    run_checked(target, gemv_for(matrix), packed, activations, out, 0, matrix.n_groups)
    return out


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("rows", "columns"), [(16, 32), (40, 96), (1, 64), (172, 64)])
def test_products_agree_with_float64(target: str, layout: str, rows: int, columns: int) -> None:
    random = np.random.default_rng(rows * 1000 + columns)
    columns = columns_for(layout, columns)
    packed, exact = pack(layout, random.normal(size=(rows, columns)).astype(np.float32))
    matrix = Matrix(layout, rows, columns)
    assert len(packed) == matrix.bytes
    activations, x = activations_for(matrix, random.normal(size=columns).astype(np.float32))
    out = multiply(target, matrix, packed, activations)
    error = np.abs(out[:rows] - exact @ x)
    assert np.all(error <= 1e-6 * (np.abs(exact) @ np.abs(x)))
    assert out[rows:].tolist() == [0.0] * (len(out) - rows)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("layout", ["f16x16", "f32x16"])
@pytest.mark.parametrize("columns", [2, 6, 172, 173])
def test_columns_that_fill_no_step_are_padded(target: str, layout: str, columns: int) -> None:
    random = np.random.default_rng(columns)
    packed, exact = pack(layout, random.normal(size=(20, columns)).astype(np.float32))
    matrix = Matrix(layout, 20, columns)
    activations, x = activations_for(matrix, random.normal(size=columns).astype(np.float32))
    out = multiply(target, matrix, packed, activations)
    assert np.all(np.abs(out[:20] - exact @ x) <= 1e-6 * (np.abs(exact) @ np.abs(x)))


@pytest.mark.parametrize("target", TARGETS)
def test_extreme_quants_are_exact(target: str) -> None:
    columns, x = 64, np.full(64, 127.0, np.float32)
    x[1::3] = -127.0
    for q8 in (-128, 127):
        quants = np.full((16, 2, 32), q8, np.int8)
        scales = np.ones((16, 2), np.float16)
        matrix = Matrix("q8_0x16", 16, columns)
        activations, _ = activations_for(matrix, x)
        out = multiply(target, matrix, pack_q8(scales, quants), activations)
        assert out.tolist() == (dequantise(scales, quants) @ x).tolist()
    for q4 in (0, 15):
        nibbles = np.full((16, 2, 32), q4, np.uint8)
        scales = np.ones((16, 2), np.float16)
        matrix = Matrix("q4_0x16", 16, columns)
        activations, _ = activations_for(matrix, x)
        out = multiply(target, matrix, pack_q4(scales, nibbles), activations)
        centred = nibbles.astype(np.int64) - 8
        assert out.tolist() == (dequantise(scales, centred) @ x).tolist()


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_row_groups_may_be_shared_out_in_any_way(target: str, layout: str) -> None:
    random = np.random.default_rng(5)
    columns = columns_for(layout, 64)
    packed, _ = pack(layout, random.normal(size=(80, columns)).astype(np.float32))
    matrix = Matrix(layout, 80, columns)
    activations, _ = activations_for(matrix, random.normal(size=columns).astype(np.float32))
    whole = multiply(target, matrix, packed, activations)
    parts = np.full(80, np.nan, np.float32)
    for first, last in ((3, 5), (0, 1), (1, 3), (2, 2)):
        run(target, gemv_for(matrix), packed, activations, parts, first, last)
    assert whole.tobytes() == parts.tobytes()


@pytest.mark.parametrize("target", TARGETS)
def test_floats_are_summed_in_the_documented_order(target: str) -> None:
    random = np.random.default_rng(6)
    rows = (random.normal(size=(16, 40)) * 10.0 ** random.integers(-4, 5, (16, 40))).astype(np.float32)
    x = random.normal(size=40).astype(np.float32)
    lanes = np.zeros((4, 16), np.float32)
    for k in range(40):
        # A product of two f32 is exact in long double's 64 bits only with room to spare for the sum
        # of numbers this close in size; rounding once to f32 is then the fused result.
        fused = rows[:, k].astype(np.longdouble) * x[k] + lanes[k % 4]
        lanes[k % 4] = fused.astype(np.float32)
    want = (lanes[0] + lanes[1]) + (lanes[2] + lanes[3])
    packed, _ = pack("f32x16", rows)
    assert multiply(target, Matrix("f32x16", 16, 40), packed, x.view(np.uint8)).tolist() == want.tolist()
