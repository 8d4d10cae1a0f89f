"""Matrix times a batch of vectors: the bits of one token at a time."""

from functools import cache
from typing import Any

import numpy as np
import pytest

from axiom.lang import Slice, f32, fn, u8, u64
from axiom.metal.ops.gemm import activation_row_bytes, gemm, padded_tokens
from axiom.metal.ops.gemv import gemv
from axiom.metal.ops.matrix import Matrix
from tests.support.activations import quantised_for
from tests.support.identity import run_checked
from tests.support.packing import LAYOUTS, NIBBLES, SUPER, columns_for, pack
from tests.support.targets import GEMM_TARGETS, run


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
    rows = np.full((int(padded_tokens(u64(len(x)))), activation_row_bytes(matrix)), 0xFF, np.uint8)
    for row, numbers in zip(rows[: len(x)], x, strict=True):
        if matrix.quantised:
            made = quantised_for(matrix, numbers, "hosted-v3")
            row[: made.nbytes] = made
        else:
            row[: numbers.nbytes] = numbers.view(np.uint8)
    return rows


@pytest.mark.parametrize("target", GEMM_TARGETS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("rows", "columns"), [(40, 96), (16, 32)])
@pytest.mark.parametrize("scale", [1.0, 1e-38, 1e30, 0.0])
def test_a_batch_has_the_bits_of_each_token(
    target: str, layout: str, rows: int, columns: int, scale: float
) -> None:
    random = np.random.default_rng(rows + columns)
    columns = columns_for(layout, columns)
    packed, _ = pack(layout, random.normal(size=(rows, columns)).astype(np.float32))
    matrix, n_tokens, stride = Matrix(layout, rows, columns), 30, 64
    x = (random.normal(size=(n_tokens, columns)) * scale).astype(np.float32)
    activations = activation_rows(matrix, x)
    expected = np.zeros((n_tokens, matrix.n_groups * 16), np.float32)
    for row, out in zip(activations, expected, strict=False):
        run(target, gemv_for(matrix), packed, row, out)
    for count in (30, 16, 15, 1, 3):
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


@pytest.mark.parametrize("target", GEMM_TARGETS)
@pytest.mark.parametrize(("layout", "largest"), [("q4_kx16", 15), ("q5_kx16", 31)])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_largest_sums_have_the_bits_of_each_token(
    target: str, layout: str, largest: int, sign: float
) -> None:
    """All quants at their largest, and scales from none to the largest: as much as a sum can be."""
    matrix, n_tokens = Matrix(layout, 16, 256), 30
    packed = np.full(matrix.bytes, 0xFF, np.uint8)
    packed[:64].view(np.float16)[:] = 1.0
    scales = np.repeat(np.array([0, 1, 2, 31, 32, 61, 62, 63], np.uint8), 16)
    packed[64:192], packed[192:320] = scales, 0
    activations = activation_rows(matrix, np.full((n_tokens, 256), sign * 127, np.float32))
    expected, made = np.zeros(16, np.float32), np.full((n_tokens, 16), np.nan, np.float32)
    run(target, gemv_for(matrix), packed, activations[0], expected)
    assert expected.tolist() == [sign * 127 * largest * 32 * (0 + 1 + 2 + 31 + 32 + 61 + 62 + 63)] * 16
    run(target, gemm_for(matrix, 16), packed, activations.reshape(-1), made.reshape(-1), 0, 1, n_tokens)
    assert made.tobytes() == np.tile(expected, n_tokens).tobytes()


def super_sums(layout: str, packed: np.ndarray, activations: np.ndarray) -> np.ndarray:
    """Return what a super-block of a group comes to, in the documented order."""
    blocks = activations.reshape(8, 64)
    x = blocks[:, :32].view(np.int8).astype(np.int64)
    d_x = blocks[0, 40:44].view(np.float32)[0]
    d = packed[:32].view(np.float16).astype(np.float64)
    if layout == "q6_kx16":
        scales = packed[32:288].view(np.int8).reshape(8, 2, 16).astype(np.int64)
        products = (x.reshape(8, 2, 16, 1) * 31).sum(axis=2)
        parts = (products * scales).sum(axis=1).reshape(4, 2, 16).sum(axis=1)
    else:
        scales = packed[64:192].reshape(8, 16).astype(np.int64)
        products = (x[:, :, None] * (15 if layout == "q4_kx16" else 31)).sum(axis=1)
        parts = (products * scales).reshape(-1, 8 if layout == "q4_kx16" else 4, 16).sum(axis=1)
    total = np.zeros(16, np.float32)
    for part in parts:
        total = total + part.astype(np.float32)
    acc = (d * (total * d_x)).astype(np.float32)
    if layout == "q6_kx16":
        return acc
    least = (packed[192:320].reshape(8, 16).astype(np.int64) * x.sum(axis=1)[:, None]).sum(axis=0)
    minimum = packed[32:64].view(np.float16).astype(np.longdouble)
    scaled = (least.astype(np.float32) * d_x).astype(np.longdouble)
    return (acc - minimum * scaled).astype(np.float32)


@pytest.mark.parametrize("target", ["python", *GEMM_TARGETS])
@pytest.mark.parametrize("layout", SUPER)
@pytest.mark.parametrize("seed", range(4))
def test_sums_beyond_24_bits_are_rounded_in_the_documented_order(
    target: str, layout: str, seed: int
) -> None:
    random = np.random.default_rng(seed)
    matrix, n_tokens = Matrix(layout, 16, 256), 12
    packed = np.full(matrix.bytes, 0xFF, np.uint8)
    packed[:32].view(np.float16)[:] = random.normal(size=16)
    if layout == "q6_kx16":
        packed[32:288] = random.integers(100, 128, 256) * np.repeat(random.choice([1, -1], 16), 16)
    else:
        packed[32:64].view(np.float16)[:] = random.normal(size=16)
        packed[64:320] = random.integers(40, 64, 256)
    x = (random.integers(110, 128, (n_tokens, 256)) * random.choice([1, -1], (n_tokens, 1))).astype(
        np.float32
    )
    x[:, ::97] *= -1
    activations = activation_rows(matrix, x)
    wanted = np.array([super_sums(layout, packed, row[:512]) for row in activations[:n_tokens]])
    made = np.full((n_tokens, 16), np.nan, np.float32)
    rows = activations.reshape(-1)
    run(target, gemm_for(matrix, 16), packed, rows, made.reshape(-1), 0, 1, n_tokens)
    assert made.tobytes() == wanted.tobytes()
    for row, sums in zip(activations, wanted, strict=False):
        single = np.zeros(16, np.float32)
        run(target, gemv_for(matrix), packed, row, single)
        assert single.tobytes() == sums.tobytes()


@pytest.mark.parametrize("target", GEMM_TARGETS)
@pytest.mark.parametrize("layout", [*NIBBLES, *SUPER, "q8_0x16"])
@pytest.mark.parametrize(("fill", "sign"), [(0xFF, 1.0), (0xFF, -1.0), (0x00, 1.0), (0x00, -1.0)])
def test_equal_extreme_quants_have_the_sums_of_the_meaning(
    target: str, layout: str, fill: int, sign: float
) -> None:
    """No sum on the way may leave what holds it."""
    matrix, n_tokens = Matrix(layout, 16, columns_for(layout, 64)), 30
    packed = np.full((matrix.n_units, matrix.unit_bytes), fill, np.uint8)
    packed[:, :64] = np.full(32, 1.0, np.float16).view(np.uint8)
    activations = activation_rows(matrix, np.full((n_tokens, matrix.columns), sign * 127, np.float32))
    meaning, single = np.zeros(16, np.float32), np.zeros(16, np.float32)
    run("python", gemv_for(matrix), packed.reshape(-1), activations[0], meaning)
    run(target, gemv_for(matrix), packed.reshape(-1), activations[0], single)
    assert single.tobytes() == meaning.tobytes()
    made = np.full((n_tokens, 16), np.nan, np.float32)
    rows = activations.reshape(-1)
    run(target, gemm_for(matrix, 16), packed.reshape(-1), rows, made.reshape(-1), 0, 1, n_tokens)
    assert made.tobytes() == np.tile(meaning, n_tokens).tobytes()


@pytest.mark.parametrize("layout", [*NIBBLES, *SUPER, "q8_0x16"])
def test_matrix_tiles_have_the_bits_of_dot_products(layout: str) -> None:
    """More row groups and columns than are done at once, tiles that are full and one that is not."""
    random = np.random.default_rng(5)
    rows, columns = 100, columns_for(layout, 544)
    matrix = Matrix(layout, rows, columns)
    packed, _ = pack(layout, random.normal(size=(rows, columns)).astype(np.float32))
    x = random.normal(size=(45, columns)).astype(np.float32) * 10.0 ** random.integers(-3, 4, (45, 1))
    activations = activation_rows(matrix, x.astype(np.float32)).reshape(-1)
    width = matrix.n_groups * 16
    for count in (11, 12, 33, 45):
        made = {
            target: np.full((45, width), np.nan, np.float32) for target in ("hosted-v4", "hosted-tiles")
        }
        for target, out in made.items():
            part = activations[: int(padded_tokens(u64(count))) * activation_row_bytes(matrix)]
            run(target, gemm_for(matrix, width), packed, part, out.reshape(-1), 0, matrix.n_groups, count)
        dots, tiles = made.values()
        assert dots.tobytes() == tiles.tobytes()
        assert not np.isnan(tiles[:count]).any()
        assert np.isnan(tiles[count:]).all()
