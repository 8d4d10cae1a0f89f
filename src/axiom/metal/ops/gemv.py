"""Matrix times vector: out[r] = sum over k of w[r, k] * x[k], for a range of row groups.

Order of summation (per row, independent of vector width and of how groups are shared out):
- quantised: block by block, acc = fma(f32(sum of w*x as integers, exact), f32(d_w) * d_x, acc);
- floats: four accumulators by k mod 4, each fused in order of k, combined as (a0 + a1) + (a2 + a3).

The weights are asked for `PREFETCH_BYTES` ahead: a processor's own prefetcher stops at every 4 KiB.

Row groups [first_group, last_group) are computed, so that several cores can share a matrix. Rows of
padding come out as zero, since their weights are. See `matrix` for the layouts.
"""

from axiom.lang import (
    Slice,
    bitcast,
    convert,
    f16,
    f32,
    fma,
    fn,
    i8,
    i32,
    load_bytes,
    prefetch,
    reinterpret,
    size_of,
    splat,
    static,
    u8,
    u64,
    urange,
    vload_bytes,
    vstore,
)
from axiom.metal.arch.simd import dot4, dot4_small
from axiom.metal.ops.matrix import Q4_BLOCK_BYTES, Q8_BLOCK_BYTES, Matrix
from axiom.metal.ops.quantise import BLOCK_BYTES, OFFSET_8_AT, OFFSET_128_AT, SCALE_AT

# Far enough to hide memory, near enough to stay in the first-level cache; measured from 1 to 8 KiB.
PREFETCH_BYTES = 2048


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
    if matrix.layout == "q8_0x16":
        gemv_q8_0x16(matrix, weights, activations, out, first_group, last_group)
    elif matrix.layout == "q4_0x16":
        gemv_q4_0x16(matrix, weights, activations, out, first_group, last_group)
    elif matrix.layout == "f16x16":
        gemv_float(f16, matrix, weights, reinterpret(f32, activations), out, first_group, last_group)
    else:
        gemv_float(f32, matrix, weights, reinterpret(f32, activations), out, first_group, last_group)


@fn(inline="always")
def prefetch_block(weights: Slice[u8], block_bytes: int) -> None:
    """Ask for as many bytes as a block has, `PREFETCH_BYTES` ahead of it."""
    for line in static(range(PREFETCH_BYTES, PREFETCH_BYTES + block_bytes, 64)):
        prefetch(weights, line)


@fn
def gemv_q8_0x16(
    matrix: Matrix,
    weights: Slice[u8],
    activations: Slice[u8],
    out: Slice[f32],
    first_group: u64,
    last_group: u64,
) -> None:
    """Multiply by 8-bit weights."""
    for g in urange(first_group, last_group):
        group = weights.part(g * matrix.group_bytes, matrix.group_bytes)
        acc = splat(f32, 16, 0.0)
        for b in urange(matrix.n_blocks):
            w = group.part(b * Q8_BLOCK_BYTES, Q8_BLOCK_BYTES)
            prefetch_block(w, Q8_BLOCK_BYTES)
            x = activations.part(b * BLOCK_BYTES, BLOCK_BYTES)
            even = splat(i32, 16, load_bytes(i32, x, OFFSET_128_AT))
            odd = splat(i32, 16, 0)
            for v in static(range(0, 8, 2)):
                x_even = bitcast(i8, splat(i32, 16, load_bytes(i32, x, 4 * v)))
                x_odd = bitcast(i8, splat(i32, 16, load_bytes(i32, x, 4 * v + 4)))
                even = dot4(even, vload_bytes(u8, 64, w, 32 + 64 * v), x_even)
                odd = dot4(odd, vload_bytes(u8, 64, w, 96 + 64 * v), x_odd)
            scale = convert(f32, vload_bytes(f16, 16, w, 0)) * splat(f32, 16, load_bytes(f32, x, SCALE_AT))
            acc = fma(convert(f32, even + odd), scale, acc)
        vstore(out, g * 16, acc)


@fn
def gemv_q4_0x16(
    matrix: Matrix,
    weights: Slice[u8],
    activations: Slice[u8],
    out: Slice[f32],
    first_group: u64,
    last_group: u64,
) -> None:
    """Multiply by 4-bit weights."""
    for g in urange(first_group, last_group):
        group = weights.part(g * matrix.group_bytes, matrix.group_bytes)
        acc = splat(f32, 16, 0.0)
        for b in urange(matrix.n_blocks):
            w = group.part(b * Q4_BLOCK_BYTES, Q4_BLOCK_BYTES)
            prefetch_block(w, Q4_BLOCK_BYTES)
            x = activations.part(b * BLOCK_BYTES, BLOCK_BYTES)
            low = splat(i32, 16, load_bytes(i32, x, OFFSET_8_AT))
            high = splat(i32, 16, 0)
            for v in static(range(4)):
                nibbles = vload_bytes(u8, 64, w, 32 + 64 * v)
                x_low = bitcast(i8, splat(i32, 16, load_bytes(i32, x, 4 * v)))
                x_high = bitcast(i8, splat(i32, 16, load_bytes(i32, x, 16 + 4 * v)))
                low = dot4_small(low, nibbles & 15, x_low)
                high = dot4_small(high, nibbles >> 4, x_high)
            scale = convert(f32, vload_bytes(f16, 16, w, 0)) * splat(f32, 16, load_bytes(f32, x, SCALE_AT))
            acc = fma(convert(f32, low + high), scale, acc)
        vstore(out, g * 16, acc)


@fn
def gemv_float(
    element: type[f16] | type[f32],
    matrix: Matrix,
    weights: Slice[u8],
    activations: Slice[f32],
    out: Slice[f32],
    first_group: u64,
    last_group: u64,
) -> None:
    """Multiply by weights in f16 or f32."""
    for g in urange(first_group, last_group):
        group = weights.part(g * matrix.group_bytes, matrix.group_bytes)
        a0 = splat(f32, 16, 0.0)
        a1 = splat(f32, 16, 0.0)
        a2 = splat(f32, 16, 0.0)
        a3 = splat(f32, 16, 0.0)
        for k in urange(matrix.padded_columns // 4):
            w = group.part(k * (64 * size_of(element)), 64 * size_of(element))
            prefetch_block(w, 64 * size_of(element))
            x = activations.part(k * 4, 4)
            w0 = convert(f32, vload_bytes(element, 16, w, 0))
            w1 = convert(f32, vload_bytes(element, 16, w, 16 * size_of(element)))
            w2 = convert(f32, vload_bytes(element, 16, w, 32 * size_of(element)))
            w3 = convert(f32, vload_bytes(element, 16, w, 48 * size_of(element)))
            a0 = fma(w0, splat(f32, 16, x[0]), a0)
            a1 = fma(w1, splat(f32, 16, x[1]), a1)
            a2 = fma(w2, splat(f32, 16, x[2]), a2)
            a3 = fma(w3, splat(f32, 16, x[3]), a3)
        vstore(out, g * 16, (a0 + a1) + (a2 + a3))
