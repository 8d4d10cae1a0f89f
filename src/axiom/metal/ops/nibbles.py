"""Blocks of 32 columns in nibbles, with a fifth bit or without, with a minimum or without.

What `gemv` and `gemm` have in common for Q4_0, Q4_1, Q5_0 and Q5_1. Order of summation of a row, block by
block (S: the exact sum of w*x as integers; s_x: the activations' scale times the sum of their quants):
acc = fma(S * d, d_x, acc), then acc = fma(m, s_x, acc) where there is a minimum m.

Read `matrix` first, for the layouts.
"""

from axiom.lang import (
    Slice,
    Vec,
    bitcast,
    convert,
    f16,
    f32,
    fma,
    fn,
    i8,
    i32,
    load_bytes,
    splat,
    static,
    u8,
    vload_bytes,
)
from axiom.metal.arch.simd import dot4_small
from axiom.metal.ops.ahead import BLOCK_AHEAD_BYTES, prefetch_part
from axiom.metal.ops.float_sums import FLOAT_START_BITS, scaled_sum
from axiom.metal.ops.matrix import NibbleBlock
from axiom.metal.ops.quantise import SCALE_AT, START_8_AT, START_16_AT, SUM_AT


@fn(inline="always")
def nibble_quants(form: NibbleBlock, w: Slice[u8], v: int) -> Vec[u8]:
    """Return columns 4v to 4v+3, the offset not yet subtracted."""
    nibbles = vload_bytes(u8, 64, w, form.quants_at + 64 * (v % 4))
    quants = nibbles & 15 if v < 4 else nibbles >> 4
    if not form.fifth_bit:
        return quants
    bits = vload_bytes(u8, 64, w, form.bits_at)
    if v <= 4:
        return quants | ((bits << (4 - v)) & 16)
    return quants | ((bits >> (v - 4)) & 16)


@fn(inline="always")
def nibble_start(form: NibbleBlock, x: Slice[u8]) -> Vec[i32]:
    """Return the start of a block's float sum, less what the weights' offset comes to."""
    if form.minimum:
        return splat(i32, 16, FLOAT_START_BITS)
    if form.fifth_bit:
        return splat(i32, 16, load_bytes(i32, x, START_16_AT))
    return splat(i32, 16, load_bytes(i32, x, START_8_AT))


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
def unit_nibbles(form: NibbleBlock, w: Slice[u8], x: Slice[u8], acc: Vec[f32]) -> Vec[f32]:
    """Add a block of one token."""
    prefetch_part(w, BLOCK_AHEAD_BYTES, form.bytes, 0, 1)
    low = nibble_start(form, x)
    high = splat(i32, 16, 0)
    for v in static(range(4)):
        x_low = bitcast(i8, splat(i32, 16, load_bytes(i32, x, 4 * v)))
        x_high = bitcast(i8, splat(i32, 16, load_bytes(i32, x, 16 + 4 * v)))
        low = dot4_small(low, nibble_quants(form, w, v), x_low)
        high = dot4_small(high, nibble_quants(form, w, v + 4), x_high)
    return nibble_sum(form, w, x, low + high, acc)
