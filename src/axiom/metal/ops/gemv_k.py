"""Super-blocks of 256 columns times quantised activations: the parts that `gemv` and `gemm` have in common.

Order of summation of a row (S: the exact integer sum of a block's w*x, or of half a block's; sc, m: the
small integer scales and minimums; d_x: a block's scale of activations, s_x: that times the sum of quants):
- Q4_K, Q5_K: over the 8 blocks part = fma(S * sc, d_x, part) and least = fma(m, s_x, least), from zero;
  then acc = fma(d, part, acc) and acc = fma(-d_min, least, acc);
- Q6_K: over the 8 blocks part = fma(S_first * sc_first + S_second * sc_second, d_x, part); then
  acc = fma(d, part, acc).
What is made of S and sc are integers below 2**24, hence exact in f32, whatever the order.

Read `matrix` first, for the layouts.
"""

from axiom.lang import (
    Slice,
    Vec,
    array,
    convert,
    current_target,
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
    u64,
    urange,
    vload,
    vload_bytes,
    vstore,
)
from axiom.metal.arch.simd import sums_in_words
from axiom.metal.ops.ahead import SUPER_AHEAD_BYTES, prefetch_lines, prefetch_part
from axiom.metal.ops.dots import unit_dots
from axiom.metal.ops.float_sums import FLOAT_START_BITS, float_sum, scaled_sum
from axiom.metal.ops.matrix import Matrix
from axiom.metal.ops.quantise import BLOCK_BYTES, SCALE_AT, START_32_AT, SUM_AT


@fn(inline="always")
def number_of(x: Slice[u8], b: u64, at: int) -> Vec[f32]:
    """Return an f32 of block b of the activations, for every row."""
    return splat(f32, 16, load_bytes(f32, x, b * BLOCK_BYTES + at))


@fn(inline="always")
def k_scale(w: Slice[u8], b: u64) -> Vec[f32]:
    """Return the scale of block b in each row."""
    return convert(f32, convert(i32, vload_bytes(u8, 16, w, b * 16 + 64)))


@fn(inline="always")
def k_minimum(w: Slice[u8], b: u64) -> Vec[f32]:
    """Return the minimum of block b in each row."""
    return convert(f32, convert(i32, vload_bytes(u8, 16, w, b * 16 + 192)))


@fn(inline="always")
def q6_k_scale(w: Slice[u8], half: u64) -> Vec[f32]:
    """Return the scale of half a block in each row."""
    return convert(f32, convert(i32, vload_bytes(i8, 16, w, half * 16 + 32)))


@fn(inline="always")
def unit_with_minimums(matrix: Matrix, w: Slice[u8], x: Slice[u8], acc: Vec[f32]) -> Vec[f32]:
    """Add a super-block of 4-bit or 5-bit weights."""
    sums = array(f32, 32)
    if sums_in_words(current_target()):
        for pair in urange(0, 8, 2, rolled=True):
            prefetch_lines(w, SUPER_AHEAD_BYTES, matrix.unit_bytes, pair // 2, 4)
            for s in static(range(2)):
                block_with_minimums(matrix, w, x, sums.all, pair + s, s)
    else:
        for b in static(range(8)):
            prefetch_part(w, SUPER_AHEAD_BYTES, matrix.unit_bytes, b, 8)
            block_with_minimums(matrix, w, x, sums.all, u64(b), b % 2)
    return k_sum(w, vload(sums.all, 0, 16), vload(sums.all, 16, 16), acc)


@fn(inline="always")
def block_with_minimums(
    matrix: Matrix, w: Slice[u8], x: Slice[u8], sums: Slice[f32], b: u64, s: int
) -> None:
    """Add a block to the sixteen sums of products and the sixteen sums of minimums."""
    dots = unit_dots(matrix, w, x, b, s, (0, 1), splat(i32, 16, FLOAT_START_BITS))
    scaled = scaled_sum(dots, k_scale(w, b))
    vstore(sums, 0, fma(scaled, number_of(x, b, SCALE_AT), vload(sums, 0, 16)))
    vstore(sums, 16, fma(k_minimum(w, b), number_of(x, b, SUM_AT), vload(sums, 16, 16)))


@fn(inline="always")
def k_sum(w: Slice[u8], part: Vec[f32], least: Vec[f32], acc: Vec[f32]) -> Vec[f32]:
    """Add what a super-block's blocks came to."""
    scaled = fma(convert(f32, vload_bytes(f16, 16, w, 0)), part, acc)
    return fma(-convert(f32, vload_bytes(f16, 16, w, 32)), least, scaled)


@fn(inline="always")
def unit_q6_k(matrix: Matrix, w: Slice[u8], x: Slice[u8], acc: Vec[f32]) -> Vec[f32]:
    """Add a super-block of 6-bit weights."""
    part = splat(f32, 16, 0.0)
    if sums_in_words(current_target()):
        for four in urange(0, 8, 4, rolled=True):
            for s in static(range(4)):
                prefetch_lines(w, SUPER_AHEAD_BYTES, matrix.unit_bytes, four + s, 8)
                part = block_q6_k(matrix, w, x, part, four + s, s)
    else:
        for b in static(range(8)):
            prefetch_part(w, SUPER_AHEAD_BYTES, matrix.unit_bytes, b, 8)
            part = block_q6_k(matrix, w, x, part, u64(b), b % 4)
    return fma(convert(f32, vload_bytes(f16, 16, w, 0)), part, acc)


@fn(inline="always")
def block_q6_k(matrix: Matrix, w: Slice[u8], x: Slice[u8], part: Vec[f32], b: u64, s: int) -> Vec[f32]:
    """Add a block to the sixteen sums of products."""
    first = splat(i32, 16, load_bytes(i32, x, b * BLOCK_BYTES + START_32_AT))
    second = splat(i32, 16, load_bytes(i32, x, b * BLOCK_BYTES + (START_32_AT + 4)))
    first = unit_dots(matrix, w, x, b, s, (0,), first)
    second = unit_dots(matrix, w, x, b, s, (1,), second)
    scaled = scaled_sum(second, q6_k_scale(w, b * 2 + 1))
    both = fma(float_sum(first), q6_k_scale(w, b * 2), scaled)
    return fma(both, number_of(x, b, SCALE_AT), part)
