"""Quantisation of activations into blocks of 32 signed bytes, each with a scale or eight with one.

A block is 64 bytes, s being the start of float sums (see `float_sums`): 32 x i8 q | i32 s - 128 * sum(q) |
i32 s - 8 * sum(q) | f32 scale d | f32 d * sum(q) | i32 s - 32 * the sum of the first 16 q |
i32 s - 32 * the sum of the others | i32 s - 16 * sum(q) | f32 sum(q). Sums of products start from one of
those with an s, whose multiple of a sum cancels what the packed weights are offset by (128 for q8_0x16, 8
for q4_0x16, 16 for q5_0x16, 32 for q6_kx16). Minimums are multiplied by d * sum(q), or by sum(q) where
blocks share a scale; there, two i16 with the sums of the first 16 q and of the others are in place of
s - 8 * sum(q).

Numbers that share a scale, the 32 of a block or the 256 of a super-block, have
q = round_to_even(x * (127 / amax)), so |q| <= 127. The scale of a block is d = amax / 127 with eleven bits
(see `eleven_bits`), that of a super-block d = 1 / (127 / amax). Where their largest magnitude is below
1e-30 they become zeros with d = 0. Integers are summed exactly; nothing depends on an order.

Matrices of 32-column blocks take a scale per block, those of super-blocks one per super-block, with which a
sum over all its blocks stays an integer; see `gemv_k`.
"""

from axiom.lang import (
    Slice,
    absolute,
    convert,
    f32,
    fn,
    i8,
    i32,
    maximum,
    reduce_add,
    reduce_max,
    round_even,
    splat,
    store_bytes,
    u8,
    u64,
    urange,
    vload,
    vstore_bytes,
)
from axiom.metal.ops.eleven_bits import eleven_bits
from axiom.metal.ops.float_sums import FLOAT_START_BITS
from axiom.metal.ops.matrix import BLOCK_COLUMNS, SUPER_COLUMNS

BLOCK_BYTES = 64
SUPER_BLOCK_BYTES = SUPER_COLUMNS // BLOCK_COLUMNS * BLOCK_BYTES
START_128_AT = 32
START_8_AT = 36
HALVES_AT = 36
SCALE_AT = 40
SUM_AT = 44
START_32_AT = 48
START_16_AT = 56
TOTAL_AT = 60
NEGLIGIBLE = 1e-30


def quantised_bytes(count: int) -> int:
    """Return the bytes of `count` activations, a multiple of 32."""
    return count // 32 * BLOCK_BYTES


@fn(inline="always")
def quantised_stride(count: u64) -> u64:
    """Return the bytes from one row of `count` activations to the next.

    One block more than a row has: rows a multiple of 4 KiB apart would compete for the same lines of the
    first-level cache.
    """
    return (count // 32 + 1) * BLOCK_BYTES


@fn
def quantise(x: Slice[f32], out: Slice[u8]) -> None:
    """Quantise x (a multiple of 32 numbers) into out (64 bytes per 32 numbers), a scale for each 32."""
    for b in urange(x.length // BLOCK_COLUMNS):
        numbers = x.part(b * BLOCK_COLUMNS, BLOCK_COLUMNS)
        quantise_together(BLOCK_COLUMNS, numbers, out.part(b * BLOCK_BYTES, BLOCK_BYTES))


@fn
def quantise_super(x: Slice[f32], out: Slice[u8]) -> None:
    """Quantise x (a multiple of 256 numbers) into out (64 bytes per 32 numbers), a scale for each 256."""
    for b in urange(x.length // SUPER_COLUMNS):
        numbers = x.part(b * SUPER_COLUMNS, SUPER_COLUMNS)
        quantise_together(SUPER_COLUMNS, numbers, out.part(b * SUPER_BLOCK_BYTES, SUPER_BLOCK_BYTES))


@fn(inline="always")
def quantise_together(count: int, numbers: Slice[f32], out: Slice[u8]) -> None:
    """Quantise `count` numbers with one scale."""
    largest = splat(f32, 16, 0.0)
    for i in urange(0, count, 16):
        largest = maximum(absolute(vload(numbers, i, 16)), largest)
    amax = reduce_max(largest)
    scale = f32(0.0)
    inverse = f32(0.0)
    if amax >= NEGLIGIBLE:
        inverse = f32(127.0) / amax
        scale = eleven_bits(amax / 127.0) if count == BLOCK_COLUMNS else f32(1.0) / inverse
    for b in urange(count // BLOCK_COLUMNS):
        part = numbers.part(b * BLOCK_COLUMNS, BLOCK_COLUMNS)
        quantise_block(count, part, scale, inverse, out.part(b * BLOCK_BYTES, BLOCK_BYTES))


@fn(inline="always")
def quantise_block(count: int, numbers: Slice[f32], scale: f32, inverse: f32, block: Slice[u8]) -> None:
    """Set a block from 32 numbers, of `count` that share a scale; inverse: what they are multiplied by."""
    factor = splat(f32, 16, inverse)
    q0 = convert(i32, round_even(vload(numbers, 0, 16) * factor))
    q1 = convert(i32, round_even(vload(numbers, 16, 16) * factor))
    sum0 = reduce_add(q0)
    sum1 = reduce_add(q1)
    total = sum0 + sum1
    vstore_bytes(block, 0, convert(i8, q0))
    vstore_bytes(block, 16, convert(i8, q1))
    store_bytes(block, START_128_AT, FLOAT_START_BITS + total * -128)
    if count == BLOCK_COLUMNS:
        store_bytes(block, START_8_AT, FLOAT_START_BITS + total * -8)
    else:
        store_bytes(block, HALVES_AT, (sum0 & 0xFFFF) | (sum1 << 16))
    store_bytes(block, SCALE_AT, scale)
    store_bytes(block, SUM_AT, f32(total) * scale)
    store_bytes(block, START_32_AT, FLOAT_START_BITS + sum0 * -32)
    store_bytes(block, START_32_AT + 4, FLOAT_START_BITS + sum1 * -32)
    store_bytes(block, START_16_AT, FLOAT_START_BITS + total * -16)
    store_bytes(block, TOTAL_AT, f32(total))
