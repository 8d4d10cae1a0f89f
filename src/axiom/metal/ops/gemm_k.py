"""A row group of super-blocks times a tile of tokens, in the order of `gemv_k`. Read that first.

Weights are unpacked once per tile. A block's integer sums of all tokens stay in registers, and so do the
sums over a super-block; those over the row wait in the stack, which is in the first-level cache.
"""

from axiom.lang import (
    Slice,
    array,
    convert,
    f16,
    f32,
    fma,
    fn,
    i32,
    load_bytes,
    splat,
    static,
    u8,
    urange,
    vload,
    vload_bytes,
    vstore,
)
from axiom.metal.arch.simd import dot4_small
from axiom.metal.ops.gemv_k import (
    k_minimum,
    k_quants,
    k_scale,
    k_sum,
    number_of,
    q6_k_quants,
    q6_k_scale,
    quants_of,
)
from axiom.metal.ops.matrix import Matrix
from axiom.metal.ops.quantise import BLOCK_BYTES, OFFSET_32_AT, SCALE_AT, SUM_AT

SUPER_X_BYTES = 8 * BLOCK_BYTES


@fn(inline="always")
def tile_with_minimums(
    matrix: Matrix, group: Slice[u8], rows: Slice[u8], sums: Slice[f32], row_bytes: int, tile: int
) -> None:
    """Multiply by 4-bit or 5-bit super-blocks."""
    for s in urange(matrix.n_units):
        w = group.part(s * matrix.unit_bytes, matrix.unit_bytes)
        parts = array(f32, 16 * tile)
        leasts = array(f32, 16 * tile)
        for b in static(range(8)):
            dots = array(i32, 16 * tile)
            for v in static(range(8)):
                weights = k_quants(matrix, w, b, v)
                for t in static(range(tile)):
                    x = rows.part(s * SUPER_X_BYTES + t * row_bytes, SUPER_X_BYTES)
                    dot = dot4_small(vload(dots.all, 16 * t, 16), weights, quants_of(x, b, v))
                    vstore(dots.all, 16 * t, dot)
            scale = k_scale(w, b)
            minimum = k_minimum(w, b)
            for t in static(range(tile)):
                x = rows.part(s * SUPER_X_BYTES + t * row_bytes, SUPER_X_BYTES)
                scaled = convert(f32, vload(dots.all, 16 * t, 16)) * scale
                part = fma(scaled, number_of(x, b, SCALE_AT), vload(parts.all, 16 * t, 16))
                vstore(parts.all, 16 * t, part)
                least = fma(minimum, number_of(x, b, SUM_AT), vload(leasts.all, 16 * t, 16))
                vstore(leasts.all, 16 * t, least)
        for t in static(range(tile)):
            acc = vload(sums, 16 * t, 16)
            least = vload(leasts.all, 16 * t, 16)
            vstore(sums, 16 * t, k_sum(w, vload(parts.all, 16 * t, 16), least, acc))


@fn(inline="always")
def tile_q6_k(
    matrix: Matrix, group: Slice[u8], rows: Slice[u8], sums: Slice[f32], row_bytes: int, tile: int
) -> None:
    """Multiply by 6-bit super-blocks."""
    for s in urange(matrix.n_units):
        w = group.part(s * matrix.unit_bytes, matrix.unit_bytes)
        parts = array(f32, 16 * tile)
        for b in static(range(8)):
            # The second half of the block first: its scaled sum is what the first one's is fused to.
            both = array(f32, 16 * tile)
            for half in static((1, 0)):
                dots = array(i32, 16 * tile)
                for t in static(range(tile)):
                    x = rows.part(s * SUPER_X_BYTES + t * row_bytes, SUPER_X_BYTES)
                    offset = load_bytes(i32, x, b * BLOCK_BYTES + OFFSET_32_AT + 4 * half)
                    vstore(dots.all, 16 * t, splat(i32, 16, offset))
                for v in static(range(4 * half, 4 * half + 4)):
                    weights = q6_k_quants(w, b, v)
                    for t in static(range(tile)):
                        x = rows.part(s * SUPER_X_BYTES + t * row_bytes, SUPER_X_BYTES)
                        dot = dot4_small(vload(dots.all, 16 * t, 16), weights, quants_of(x, b, v))
                        vstore(dots.all, 16 * t, dot)
                scale = q6_k_scale(w, 2 * b + half)
                for t in static(range(tile)):
                    number = convert(f32, vload(dots.all, 16 * t, 16))
                    if half == 1:
                        vstore(both.all, 16 * t, number * scale)
                    else:
                        vstore(both.all, 16 * t, fma(number, scale, vload(both.all, 16 * t, 16)))
            for t in static(range(tile)):
                x = rows.part(s * SUPER_X_BYTES + t * row_bytes, SUPER_X_BYTES)
                factor = number_of(x, b, SCALE_AT)
                part = fma(vload(both.all, 16 * t, 16), factor, vload(parts.all, 16 * t, 16))
                vstore(parts.all, 16 * t, part)
        d = convert(f32, vload_bytes(f16, 16, w, 0))
        for t in static(range(tile)):
            acc = vload(sums, 16 * t, 16)
            vstore(sums, 16 * t, fma(d, vload(parts.all, 16 * t, 16), acc))
