"""Blocks of 32 columns in nibbles, with a fifth bit or without, with a minimum or without.

What `gemv` and `gemm` have in common for Q4_0, Q4_1, Q5_0 and Q5_1. Order of summation of a row, block by
block (S: the exact sum of w*x as integers; s_x: the activations' scale times the sum of their quants):
acc = fma(S * d, d_x, acc), then acc = fma(m, s_x, acc) where there is a minimum m.

Read `matrix` first, for the layouts.
"""

from axiom.lang import (
    Slice,
    Vec,
    convert,
    f16,
    f32,
    fma,
    fn,
    i32,
    load_bytes,
    splat,
    u8,
    u64,
    vload_bytes,
)
from axiom.metal.ops.ahead import BLOCK_AHEAD_BYTES, prefetch_part
from axiom.metal.ops.dots import unit_dots
from axiom.metal.ops.float_sums import FLOAT_START_BITS, scaled_sum
from axiom.metal.ops.matrix import NIBBLE_BLOCKS, Matrix, NibbleBlock
from axiom.metal.ops.quantise import SCALE_AT, START_8_AT, START_16_AT, SUM_AT


@fn(inline="always")
def nibble_start(form: NibbleBlock, x: Slice[u8]) -> i32:
    """Return the start of a block's float sum, less what the weights' offset comes to."""
    if form.minimum:
        return i32(FLOAT_START_BITS)
    if form.fifth_bit:
        return load_bytes(i32, x, START_16_AT)
    return load_bytes(i32, x, START_8_AT)


@fn(inline="always")
def nibble_sum(form: NibbleBlock, w: Slice[u8], x: Slice[u8], dots: Vec[i32], acc: Vec[f32]) -> Vec[f32]:
    """Add what a block came to."""
    scale = convert(f32, vload_bytes(f16, 16, w, 0))
    scaled = fma(scaled_sum(dots, scale), splat(f32, 16, load_bytes(f32, x, SCALE_AT)), acc)
    if not form.minimum:
        return scaled
    minimum = convert(f32, vload_bytes(f16, 16, w, 32))
    return fma(minimum, splat(f32, 16, load_bytes(f32, x, SUM_AT)), scaled)


@fn(inline="always")
def unit_nibbles(matrix: Matrix, w: Slice[u8], x: Slice[u8], acc: Vec[f32]) -> Vec[f32]:
    """Add a block of one token."""
    form = NIBBLE_BLOCKS[matrix.layout]
    prefetch_part(w, BLOCK_AHEAD_BYTES, form.bytes, 0, 1)
    start = splat(i32, 16, nibble_start(form, x))
    dots = unit_dots(matrix, w, x, u64(0), 0, (0, 1), start)
    return nibble_sum(form, w, x, dots, acc)
