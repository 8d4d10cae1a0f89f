"""Matrix times vector: out[r] = sum over k of w[r, k] * x[k], for a range of row groups.

Order of summation (per row, independent of vector width and of how groups are shared out):
- Q8_0: block by block, acc = fma((sum of w*x, exact) * d_w, d_x, acc);
- blocks of nibbles: see `nibbles`; super-blocks: see `gemv_k`;
- floats: four accumulators by k mod 4, each fused in order of k, combined as (a0 + a1) + (a2 + a3).

Row groups [first_group, last_group) are computed, so that several cores can share a matrix. Rows of
padding come out as zero, since their weights are. See `matrix` for the layouts.

The weights are what the time goes to. Versions that were tried for 4-bit weights, from memory, against a
plain read of the same bytes in turns (which asks for nothing ahead, so that more than 1 is possible):
1. one row group after the other, nothing asked for ahead: 0.9;
2. asked for ahead, since a processor's own prefetcher stops at every 4 KiB: 0.85 to 1.06, by the hour;
3. two row groups at a time, half of the range apart, of quantised weights: 0.97 to 1.14. Two streams keep
   more reads of memory under way. In a twin in C four gained nothing more, nor did aligned loads.
"""

from axiom.lang import (
    Slice,
    Vec,
    convert,
    current_target,
    f16,
    f32,
    fma,
    fn,
    i32,
    load_bytes,
    reinterpret,
    splat,
    u8,
    u64,
    urange,
    vload_bytes,
    vstore,
)
from axiom.metal.arch.simd import sums_in_words
from axiom.metal.ops.ahead import BLOCK_AHEAD_BYTES, prefetch_part
from axiom.metal.ops.dots import unit_dots
from axiom.metal.ops.float_sums import FLOAT_START_BITS, scaled_sum
from axiom.metal.ops.floats import floats_of
from axiom.metal.ops.gemv_k import unit_q6_k, unit_with_minimums
from axiom.metal.ops.matrix import BLOCK_COLUMNS, NIBBLE_BLOCKS, Q8_BLOCK_BYTES, Matrix
from axiom.metal.ops.nibbles import unit_nibbles
from axiom.metal.ops.quantise import BLOCK_BYTES, SCALE_AT, START_128_AT


@fn
def gemv(
    matrix: Matrix,
    weights: Slice[u8],
    activations: Slice[u8],
    out: Slice[f32],
    first_group: u64,
    last_group: u64,
) -> None:
    """Compute out rows 16 * first_group up to 16 * last_group, excluded.

    weights: the packed matrix. activations: blocks of `quantise` for the quantised layouts, else f32
    padded to a multiple of 4 with finite numbers. out: all rows, padded to a multiple of 16.
    """
    if matrix.quantised:
        gemv_quantised(matrix, weights, activations, out, first_group, last_group)
    else:
        gemv_float(matrix, weights, reinterpret(f32, activations), out, first_group, last_group)


@fn
def gemv_quantised(
    matrix: Matrix,
    weights: Slice[u8],
    activations: Slice[u8],
    out: Slice[f32],
    first_group: u64,
    last_group: u64,
) -> None:
    """Multiply by quantised weights, two row groups at a time."""
    half = (last_group - first_group) // 2
    x_bytes = matrix.unit_columns // BLOCK_COLUMNS * BLOCK_BYTES
    row = activations.part(0, matrix.n_units * x_bytes)
    for g in urange(first_group, first_group + half):
        group0 = weights.part(g * matrix.group_bytes, matrix.group_bytes)
        group1 = weights.part((g + half) * matrix.group_bytes, matrix.group_bytes)
        acc0 = splat(f32, 16, 0.0)
        acc1 = splat(f32, 16, 0.0)
        for b in urange(matrix.n_units):
            x = row.part(b * x_bytes, x_bytes)
            acc0 = unit(matrix, group0.part(b * matrix.unit_bytes, matrix.unit_bytes), x, acc0)
            acc1 = unit(matrix, group1.part(b * matrix.unit_bytes, matrix.unit_bytes), x, acc1)
        vstore(out, g * 16, acc0)
        vstore(out, (g + half) * 16, acc1)
    for g in urange(first_group + half * 2, last_group):
        group = weights.part(g * matrix.group_bytes, matrix.group_bytes)
        acc = splat(f32, 16, 0.0)
        for b in urange(matrix.n_units):
            x = row.part(b * x_bytes, x_bytes)
            acc = unit(matrix, group.part(b * matrix.unit_bytes, matrix.unit_bytes), x, acc)
        vstore(out, g * 16, acc)


@fn(inline="always")
def unit(matrix: Matrix, w: Slice[u8], x: Slice[u8], acc: Vec[f32]) -> Vec[f32]:
    """Add a block's, or super-block's, part to the sums of 16 rows."""
    if matrix.layout == "q8_0x16":
        return unit_q8_0(matrix, w, x, acc)
    elif matrix.layout in NIBBLE_BLOCKS:
        return unit_nibbles(matrix, w, x, acc)
    elif matrix.layout == "q6_kx16":
        return unit_q6_k(matrix, w, x, acc)
    else:
        return unit_with_minimums(matrix, w, x, acc)


@fn(inline="always")
def unit_q8_0(matrix: Matrix, w: Slice[u8], x: Slice[u8], acc: Vec[f32]) -> Vec[f32]:
    """Add a block of 8-bit weights."""
    prefetch_part(w, BLOCK_AHEAD_BYTES, Q8_BLOCK_BYTES, 0, 1)
    if sums_in_words(current_target()):
        start = splat(i32, 16, FLOAT_START_BITS)
    else:
        start = splat(i32, 16, load_bytes(i32, x, START_128_AT))
    dots = unit_dots(matrix, w, x, u64(0), 0, (0, 1), start)
    scale = convert(f32, vload_bytes(f16, 16, w, 0))
    return fma(scaled_sum(dots, scale), splat(f32, 16, load_bytes(f32, x, SCALE_AT)), acc)


@fn
def gemv_float(
    matrix: Matrix,
    weights: Slice[u8],
    activations: Slice[f32],
    out: Slice[f32],
    first_group: u64,
    last_group: u64,
) -> None:
    """Multiply by weights in f16, bf16 or f32."""
    row = activations.part(0, matrix.padded_columns)
    for g in urange(first_group, last_group):
        group = weights.part(g * matrix.group_bytes, matrix.group_bytes)
        a0 = splat(f32, 16, 0.0)
        a1 = splat(f32, 16, 0.0)
        a2 = splat(f32, 16, 0.0)
        a3 = splat(f32, 16, 0.0)
        for k in urange(matrix.padded_columns // 4):
            w = group.part(k * (64 * matrix.float_bytes), 64 * matrix.float_bytes)
            prefetch_part(w, BLOCK_AHEAD_BYTES, 64 * matrix.float_bytes, 0, 1)
            x = row.part(k * 4, 4)
            a0 = fma(floats_of(matrix, w, 0), splat(f32, 16, x[0]), a0)
            a1 = fma(floats_of(matrix, w, 1), splat(f32, 16, x[1]), a1)
            a2 = fma(floats_of(matrix, w, 2), splat(f32, 16, x[2]), a2)
            a3 = fma(floats_of(matrix, w, 3), splat(f32, 16, x[3]), a3)
        vstore(out, g * 16, (a0 + a1) + (a2 + a3))
