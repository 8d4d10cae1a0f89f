"""Super-blocks of 256 columns times quantised activations: the parts that `gemv` and `gemm` have in common.

Order of summation of a row (S: the exact integer sum of a block's w*x, or of half a block's; sc, m: the
small integer scales and minimums; d_x: the super-block's scale of activations, s_x: the sum of a block's
quants):
- a part is an integer, rounded once: of Q4_K the sum of S * sc over all 8 blocks, of Q5_K over 4 of them,
  of Q6_K it is S_first * sc_first + S_second * sc_second over 2 of them;
- the parts are added in order: total; least, exact in f32, is the sum of m * s_x over all blocks;
- acc = fma(d, total * d_x, acc) and, of Q4_K and Q5_K, acc = fma(-d_min, least * d_x, acc).
Half a part is below 2**24, hence exact in f32: two halves in floats, added, are rounded as the integer is,
so that either may be used.

Read `matrix` first, for the layouts.
"""

from axiom.lang import (
    Slice,
    Vec,
    array,
    bitcast,
    convert,
    current_target,
    f16,
    f32,
    fma,
    fn,
    i16,
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
from axiom.metal.arch.simd import add_words, sums_in_words
from axiom.metal.ops.ahead import SUPER_AHEAD_BYTES, prefetch_lines, prefetch_part
from axiom.metal.ops.dots import unit_dots, unit_word_dots
from axiom.metal.ops.float_sums import FLOAT_START_BITS, float_sum, scaled_sum
from axiom.metal.ops.k_scales import (
    k_factors,
    k_minimum,
    k_scale,
    q6_k_factors,
    q6_k_offsets,
    q6_k_scale,
)
from axiom.metal.ops.matrix import Matrix
from axiom.metal.ops.quantise import BLOCK_BYTES, HALVES_AT, SCALE_AT, START_32_AT, TOTAL_AT


@fn(inline="always")
def number_of(x: Slice[u8], b: u64, at: int) -> Vec[f32]:
    """Return an f32 of block b of the activations, for every row."""
    return splat(f32, 16, load_bytes(f32, x, b * BLOCK_BYTES + at))


def part_blocks(matrix: Matrix) -> int:
    """Return how many blocks a part is made of."""
    return {"q4_kx16": 8, "q5_kx16": 4, "q6_kx16": 2}[matrix.layout]


@fn(inline="always")
def unit_with_minimums(matrix: Matrix, w: Slice[u8], x: Slice[u8], acc: Vec[f32]) -> Vec[f32]:
    """Add a super-block of 4-bit or 5-bit weights."""
    total = array(f32, 16)
    least = array(f32, 16)
    if sums_in_words(current_target()):
        for first in urange(0, 8, part_blocks(matrix), rolled=True):
            sums = array(i32, 16)
            for pair in urange(first, first + part_blocks(matrix), 2, rolled=True):
                prefetch_lines(w, SUPER_AHEAD_BYTES, matrix.unit_bytes, pair // 2, 4)
                for s in static(range(2)):
                    b = pair + s
                    known = vload(sums.all, 0, 16)
                    known = unit_word_dots(matrix, w, x, b, s, (0, 1), known, k_factors(w, b))
                    vstore(sums.all, 0, known)
                    add_minimum(w, x, b, least.all)
            vstore(total.all, 0, vload(total.all, 0, 16) + convert(f32, vload(sums.all, 0, 16)))
    else:
        half = part_blocks(matrix) // 2
        for first in static(range(0, 8, 2 * half)):
            low = half_part(matrix, w, x, first, first + half, least.all)
            high = half_part(matrix, w, x, first + half, first + 2 * half, least.all)
            vstore(total.all, 0, vload(total.all, 0, 16) + (low + high))
    return k_sum(w, number_of(x, u64(0), SCALE_AT), vload(total.all, 0, 16), vload(least.all, 0, 16), acc)


@fn(inline="always")
def half_part(
    matrix: Matrix, w: Slice[u8], x: Slice[u8], first: int, last: int, least: Slice[f32]
) -> Vec[f32]:
    """Return half a part, of blocks [first, last), and add the blocks to the sums of minimums."""
    made = splat(f32, 16, 0.0)
    for b in static(range(first, last)):
        prefetch_part(w, SUPER_AHEAD_BYTES, matrix.unit_bytes, b, 8)
        dots = unit_dots(matrix, w, x, u64(b), b % 2, (0, 1), splat(i32, 16, FLOAT_START_BITS))
        made = fma(float_sum(dots), k_scale(w, u64(b)), made)
        add_minimum(w, x, u64(b), least)
    return made


@fn(inline="always")
def add_minimum(w: Slice[u8], x: Slice[u8], b: u64, least: Slice[f32]) -> None:
    """Add a block to the sixteen sums of minimums."""
    vstore(least, 0, fma(k_minimum(w, b), number_of(x, b, TOTAL_AT), vload(least, 0, 16)))


@fn(inline="always")
def k_sum(w: Slice[u8], scale: Vec[f32], total: Vec[f32], least: Vec[f32], acc: Vec[f32]) -> Vec[f32]:
    """Add what a super-block came to; scale: of the activations."""
    scaled = fma(convert(f32, vload_bytes(f16, 16, w, 0)), total * scale, acc)
    return fma(-convert(f32, vload_bytes(f16, 16, w, 32)), least * scale, scaled)


@fn(inline="always")
def unit_q6_k(matrix: Matrix, w: Slice[u8], x: Slice[u8], acc: Vec[f32]) -> Vec[f32]:
    """Add a super-block of 6-bit weights."""
    total = splat(f32, 16, 0.0)
    if sums_in_words(current_target()):
        for four in urange(0, 8, 4, rolled=True):
            for s in static(range(0, 4, 2)):
                part = q6_k_offset(q6_k_offsets(w, four + s), x, four + s, splat(i32, 16, 0))
                part = q6_k_offset(q6_k_offsets(w, four + (s + 1)), x, four + (s + 1), part) << 5
                for n in static((s, s + 1)):
                    b = four + n
                    prefetch_lines(w, SUPER_AHEAD_BYTES, matrix.unit_bytes, b, 8)
                    for half in static(range(2)):
                        factors = q6_k_factors(w, b * 2 + half)
                        part = unit_word_dots(matrix, w, x, b, n, (half,), part, factors)
                total = total + convert(f32, part)
    else:
        for b in static(range(0, 8, 2)):
            prefetch_part(w, SUPER_AHEAD_BYTES, matrix.unit_bytes, b // 2, 4)
            first = block_q6_k(matrix, w, x, u64(b), b % 4)
            total = total + (first + block_q6_k(matrix, w, x, u64(b + 1), (b + 1) % 4))
    return q6_k_sum(w, number_of(x, u64(0), SCALE_AT), total, acc)


@fn(inline="always")
def q6_k_offset(offsets: Vec[i16], x: Slice[u8], b: u64, sums: Vec[i32]) -> Vec[i32]:
    """Add a 32nd of what the weights' offset takes from block b's part, of `q6_k_offsets`."""
    halves = bitcast(i16, splat(i32, 16, load_bytes(i32, x, b * BLOCK_BYTES + HALVES_AT)))
    return add_words(sums, halves, offsets)


@fn(inline="always")
def q6_k_sum(w: Slice[u8], scale: Vec[f32], total: Vec[f32], acc: Vec[f32]) -> Vec[f32]:
    """Add what a super-block of 6-bit weights came to; scale: of the activations."""
    return fma(convert(f32, vload_bytes(f16, 16, w, 0)), total * scale, acc)


@fn(inline="always")
def block_q6_k(matrix: Matrix, w: Slice[u8], x: Slice[u8], b: u64, s: int) -> Vec[f32]:
    """Return half a part: block b's."""
    first = splat(i32, 16, load_bytes(i32, x, b * BLOCK_BYTES + START_32_AT))
    second = splat(i32, 16, load_bytes(i32, x, b * BLOCK_BYTES + (START_32_AT + 4)))
    first = unit_dots(matrix, w, x, b, s, (0,), first)
    second = unit_dots(matrix, w, x, b, s, (1,), second)
    return fma(float_sum(first), q6_k_scale(w, b * 2), scaled_sum(second, q6_k_scale(w, b * 2 + 1)))
