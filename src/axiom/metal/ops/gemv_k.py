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
from axiom.metal.ops.ahead import SUPER_AHEAD_BYTES, prefetch_part
from axiom.metal.ops.float_sums import FLOAT_START_BITS, float_sum, scaled_sum
from axiom.metal.ops.matrix import (
    Q4_K_BYTES,
    Q4_K_QUANTS_AT,
    Q5_K_BITS_AT,
    Q5_K_BYTES,
    Q5_K_QUANTS_AT,
    Q6_K_BYTES,
    Q6_K_QUANTS_AT,
    Matrix,
)
from axiom.metal.ops.quantise import BLOCK_BYTES, SCALE_AT, START_32_AT, SUM_AT


@fn(inline="always")
def quants_of(x: Slice[u8], b: int, v: int) -> Vec[i8]:
    """Return quants 4v to 4v+3 of block b of the activations, for every row."""
    return bitcast(i8, splat(i32, 16, load_bytes(i32, x, b * BLOCK_BYTES + 4 * v)))


@fn(inline="always")
def number_of(x: Slice[u8], b: int, at: int) -> Vec[f32]:
    """Return an f32 of block b of the activations, for every row."""
    return splat(f32, 16, load_bytes(f32, x, b * BLOCK_BYTES + at))


@fn(inline="always")
def k_scale(w: Slice[u8], b: int) -> Vec[f32]:
    """Return the scale of block b in each row."""
    return convert(f32, convert(i32, vload_bytes(u8, 16, w, 64 + 16 * b)))


@fn(inline="always")
def k_minimum(w: Slice[u8], b: int) -> Vec[f32]:
    """Return the minimum of block b in each row."""
    return convert(f32, convert(i32, vload_bytes(u8, 16, w, 192 + 16 * b)))


@fn(inline="always")
def k_quants(matrix: Matrix, w: Slice[u8], b: int, v: int) -> Vec[u8]:
    """Return columns 4v to 4v+3 of block b of Q4_K or Q5_K."""
    quants_at = Q4_K_QUANTS_AT if matrix.layout == "q4_kx16" else Q5_K_QUANTS_AT
    nibbles = vload_bytes(u8, 64, w, quants_at + b // 2 * 512 + 64 * v)
    quants = nibbles & 15 if b % 2 == 0 else nibbles >> 4
    if matrix.layout == "q4_kx16":
        return quants
    bits = vload_bytes(u8, 64, w, Q5_K_BITS_AT + 64 * v)
    if b <= 4:
        return quants | ((bits << (4 - b)) & 16)
    return quants | ((bits >> (b - 4)) & 16)


@fn(inline="always")
def q6_k_scale(w: Slice[u8], half: int) -> Vec[f32]:
    """Return the scale of half a block in each row."""
    return convert(f32, convert(i32, vload_bytes(i8, 16, w, 32 + 16 * half)))


@fn(inline="always")
def q6_k_quants(w: Slice[u8], b: int, v: int) -> Vec[u8]:
    """Return columns 4v to 4v+3 of block b, plus 32."""
    at = Q6_K_QUANTS_AT + b // 4 * 1536 + 192 * v
    nibbles = vload_bytes(u8, 64, w, at + b % 2 * 64)
    bits = vload_bytes(u8, 64, w, at + 128)
    if b % 4 == 0:
        return (nibbles & 15) | ((bits << 4) & 0x30)
    elif b % 4 == 1:
        return (nibbles & 15) | ((bits << 2) & 0x30)
    elif b % 4 == 2:
        return (nibbles >> 4) | (bits & 0x30)
    else:
        return (nibbles >> 4) | ((bits >> 2) & 0x30)


@fn(inline="always")
def unit_with_minimums(matrix: Matrix, w: Slice[u8], x: Slice[u8], acc: Vec[f32]) -> Vec[f32]:
    """Add a super-block of 4-bit or 5-bit weights."""
    n_bytes = Q4_K_BYTES if matrix.layout == "q4_kx16" else Q5_K_BYTES
    part = splat(f32, 16, 0.0)
    least = splat(f32, 16, 0.0)
    for b in static(range(8)):
        prefetch_part(w, SUPER_AHEAD_BYTES, n_bytes, b, 8)
        even = splat(i32, 16, FLOAT_START_BITS)
        odd = splat(i32, 16, 0)
        for v in static(range(0, 8, 2)):
            even = dot4_small(even, k_quants(matrix, w, b, v), quants_of(x, b, v))
            odd = dot4_small(odd, k_quants(matrix, w, b, v + 1), quants_of(x, b, v + 1))
        part = fma(scaled_sum(even + odd, k_scale(w, b)), number_of(x, b, SCALE_AT), part)
        least = fma(k_minimum(w, b), number_of(x, b, SUM_AT), least)
    return k_sum(w, part, least, acc)


@fn(inline="always")
def k_sum(w: Slice[u8], part: Vec[f32], least: Vec[f32], acc: Vec[f32]) -> Vec[f32]:
    """Add what a super-block's blocks came to."""
    scaled = fma(convert(f32, vload_bytes(f16, 16, w, 0)), part, acc)
    return fma(-convert(f32, vload_bytes(f16, 16, w, 32)), least, scaled)


@fn(inline="always")
def unit_q6_k(w: Slice[u8], x: Slice[u8], acc: Vec[f32]) -> Vec[f32]:
    """Add a super-block of 6-bit weights."""
    part = splat(f32, 16, 0.0)
    for b in static(range(8)):
        prefetch_part(w, SUPER_AHEAD_BYTES, Q6_K_BYTES, b, 8)
        first = splat(i32, 16, load_bytes(i32, x, b * BLOCK_BYTES + START_32_AT))
        second = splat(i32, 16, load_bytes(i32, x, b * BLOCK_BYTES + START_32_AT + 4))
        for v in static(range(4)):
            first = dot4_small(first, q6_k_quants(w, b, v), quants_of(x, b, v))
            second = dot4_small(second, q6_k_quants(w, b, v + 4), quants_of(x, b, v + 4))
        scaled = scaled_sum(second, q6_k_scale(w, 2 * b + 1))
        both = fma(float_sum(first), q6_k_scale(w, 2 * b), scaled)
        part = fma(both, number_of(x, b, SCALE_AT), part)
    return fma(convert(f32, vload_bytes(f16, 16, w, 0)), part, acc)
