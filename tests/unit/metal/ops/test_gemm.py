"""Matrix times a batch of vectors: the bits of one token at a time."""

from functools import cache
from typing import Any

import numpy as np
import pytest

from axiom.lang import Slice, f32, fn, u8, u64
from axiom.metal.ops.gemm import activation_row_bytes, gemm
from axiom.metal.ops.gemv import gemv
from axiom.metal.ops.matrix import Matrix
from axiom.metal.ops.quantise import quantise
from tests.support.identity import run_checked
from tests.support.packing import LAYOUTS, columns_for, pack
from tests.support.targets import HOSTED_TARGETS, run


@cache
def gemm_for(matrix: Matrix, out_stride: int) -> Any:
    @fn
    def specialised(
        weights: Slice[u8], activations: Slice[u8], out: Slice[f32], first: u64, last: u64, n_tokens: u64
    ) -> None:
        gemm(matrix, weights, activations, out, first, last, n_tokens, out_stride)

    return specialised


@cache
def gemv_for(matrix: Matrix) -> Any:
    @fn
    def specialised(weights: Slice[u8], activations: Slice[u8], out: Slice[f32]) -> None:
        gemv(matrix, weights, activations, out, u64(0), u64(matrix.n_groups))

    return specialised


def activation_rows(matrix: Matrix, x: np.ndarray) -> np.ndarray:
    """Return the bytes of each token, one row each."""
    rows = np.zeros((len(x), activation_row_bytes(matrix)), np.uint8)
    for row, numbers in zip(rows, x, strict=True):
        if matrix.quantised:
            run("hosted-v3", quantise, numbers, row)
        else:
            row[: numbers.nbytes] = numbers.view(np.uint8)
    return rows


@pytest.mark.parametrize("target", HOSTED_TARGETS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("rows", "columns"), [(40, 96), (16, 32)])
@pytest.mark.parametrize("scale", [1.0, 1e-38, 1e30, 0.0])
def test_a_batch_has_the_bits_of_each_token(
    target: str, layout: str, rows: int, columns: int, scale: float
) -> None:
    random = np.random.default_rng(rows + columns)
    columns = columns_for(layout, columns)
    packed, _ = pack(layout, random.normal(size=(rows, columns)).astype(np.float32))
    matrix, n_tokens, stride = Matrix(layout, rows, columns), 15, 64
    x = (random.normal(size=(n_tokens, columns)) * scale).astype(np.float32)
    activations = activation_rows(matrix, x)
    expected = np.zeros((n_tokens, matrix.n_groups * 16), np.float32)
    for row, out in zip(activations, expected, strict=True):
        run(target, gemv_for(matrix), packed, row, out)
    for count in (15, 1, 3):
        made = np.full((n_tokens, stride), np.nan, np.float32)
        for first, last in ((0, 1), (1, matrix.n_groups)):
            # The oracle is slow; `gemv`, which the bits are compared with, is checked against it at length.
            call = run_checked if count == 3 and scale == 1.0 and rows == 16 else run
            call(
                target,
                gemm_for(matrix, stride),
                packed,
                activations.reshape(-1),
                made.reshape(-1),
                first,
                last,
                count,
            )
        width = matrix.n_groups * 16
        assert made[:count, :width].tobytes() == expected[:count].tobytes()
        assert np.isnan(made[count:]).all()
        assert np.isnan(made[:, width:]).all()
