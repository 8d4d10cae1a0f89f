"""Row groups of super-blocks times a tile of tokens, in the order of `gemv_k`. Read that first.

A block's integer sums of all tokens stay in registers; the sums over a super-block and over the row wait in
the stack, which is in the first-level cache.
"""

from axiom.lang import (
    Slice,
    array,
    convert,
    current_target,
    f16,
    f32,
    fma,
    fn,
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
from axiom.metal.ops.dots import block_dots
from axiom.metal.ops.float_sums import FLOAT_START_BITS, float_sum, scaled_sum
from axiom.metal.ops.gemv_k import k_minimum, k_scale, k_sum, number_of, q6_k_scale
from axiom.metal.ops.matrix import Matrix
from axiom.metal.ops.quantise import BLOCK_BYTES, SCALE_AT, START_32_AT, SUM_AT
from axiom.metal.ops.quants import largest_quant
from axiom.metal.ops.unpack import BLOCK_UNPACKED_BYTES, GROUP_UNPACKED_BYTES

SUPER_X_BYTES = 8 * BLOCK_BYTES


@fn(inline="always")
def tile_with_minimums(
    at_once: int,
    matrix: Matrix,
    groups: Slice[u8],
    quants: Slice[u8],
    rows: Slice[u8],
    sums: Slice[f32],
    row_bytes: int,
    tile: int,
) -> None:
    """Add one 4-bit or 5-bit super-block of each token and row."""
    leasts = array(f32, 16 * tile * at_once)
    parts = array(f32, 16 * tile * at_once)
    if sums_in_words(current_target()):
        for b in urange(0, 8, rolled=True):
            add_minimums(at_once, matrix, groups, rows, leasts.all, row_bytes, tile, b)
        for b in urange(0, 8, rolled=True):
            add_products(at_once, matrix, groups, quants, rows, parts.all, row_bytes, tile, b)
    else:
        for n in static(range(8)):
            add_minimums(at_once, matrix, groups, rows, leasts.all, row_bytes, tile, u64(n))
        for n in static(range(8)):
            add_products(at_once, matrix, groups, quants, rows, parts.all, row_bytes, tile, u64(n))
    for i in static(range(at_once)):
        w = groups.part(i * matrix.group_bytes, matrix.unit_bytes)
        for t in static(range(tile)):
            at = 16 * (i * tile + t)
            acc = vload(sums, at, 16)
            vstore(sums, at, k_sum(w, vload(parts.all, at, 16), vload(leasts.all, at, 16), acc))


@fn(inline="always")
def add_minimums(
    at_once: int,
    matrix: Matrix,
    groups: Slice[u8],
    rows: Slice[u8],
    leasts: Slice[f32],
    row_bytes: int,
    tile: int,
    b: u64,
) -> None:
    """Add the minimums of block b to the sums of minimums."""
    for t in static(range(tile)):
        number = number_of(rows.part(t * row_bytes, SUPER_X_BYTES), b, SUM_AT)
        for i in static(range(at_once)):
            at = 16 * (i * tile + t)
            least = k_minimum(groups.part(i * matrix.group_bytes, matrix.unit_bytes), b)
            vstore(leasts, at, fma(least, number, vload(leasts, at, 16)))


@fn(inline="always")
def add_products(
    at_once: int,
    matrix: Matrix,
    groups: Slice[u8],
    quants: Slice[u8],
    rows: Slice[u8],
    parts: Slice[f32],
    row_bytes: int,
    tile: int,
    b: u64,
) -> None:
    """Add the products of block b to the sums of the super-block."""
    dots = array(i32, 16 * tile * at_once)
    block = quants.part(
        b * BLOCK_UNPACKED_BYTES, (at_once - 1) * GROUP_UNPACKED_BYTES + BLOCK_UNPACKED_BYTES
    )
    x = rows.part(b * BLOCK_BYTES, (tile - 1) * row_bytes + BLOCK_BYTES)
    for at in static(range(0, 16 * tile * at_once, 16)):
        vstore(dots.all, at, splat(i32, 16, FLOAT_START_BITS))
    block_dots(largest_quant(matrix), at_once, block, x, dots.all, row_bytes, tile, 0, 8)
    for i in static(range(at_once)):
        scale = k_scale(groups.part(i * matrix.group_bytes, matrix.unit_bytes), b)
        for t in static(range(tile)):
            at = 16 * (i * tile + t)
            factor = number_of(rows.part(t * row_bytes, SUPER_X_BYTES), b, SCALE_AT)
            scaled = scaled_sum(vload(dots.all, at, 16), scale)
            vstore(parts, at, fma(scaled, factor, vload(parts, at, 16)))


@fn(inline="always")
def tile_q6_k(
    at_once: int,
    matrix: Matrix,
    groups: Slice[u8],
    quants: Slice[u8],
    rows: Slice[u8],
    sums: Slice[f32],
    row_bytes: int,
    tile: int,
) -> None:
    """Add one 6-bit super-block of each token and row."""
    parts = array(f32, 16 * tile * at_once)
    if sums_in_words(current_target()):
        for b in urange(0, 8, rolled=True):
            add_q6_k(at_once, matrix, groups, quants, rows, parts.all, row_bytes, tile, b)
    else:
        for n in static(range(8)):
            add_q6_k(at_once, matrix, groups, quants, rows, parts.all, row_bytes, tile, u64(n))
    for i in static(range(at_once)):
        d = convert(f32, vload_bytes(f16, 16, groups, i * matrix.group_bytes))
        for t in static(range(tile)):
            at = 16 * (i * tile + t)
            vstore(sums, at, fma(d, vload(parts.all, at, 16), vload(sums, at, 16)))


@fn(inline="always")
def add_q6_k(
    at_once: int,
    matrix: Matrix,
    groups: Slice[u8],
    quants: Slice[u8],
    rows: Slice[u8],
    parts: Slice[f32],
    row_bytes: int,
    tile: int,
    b: u64,
) -> None:
    """Add the products of block b to the sums of the super-block."""
    # The second half of the block first: its scaled sum is what the first one's is fused to.
    both = array(f32, 16 * tile * at_once)
    block = quants.part(
        b * BLOCK_UNPACKED_BYTES, (at_once - 1) * GROUP_UNPACKED_BYTES + BLOCK_UNPACKED_BYTES
    )
    x = rows.part(b * BLOCK_BYTES, (tile - 1) * row_bytes + BLOCK_BYTES)
    for half in static((1, 0)):
        dots = array(i32, 16 * tile * at_once)
        for t in static(range(tile)):
            offset = splat(i32, 16, load_bytes(i32, x, t * row_bytes + START_32_AT + 4 * half))
            for i in static(range(at_once)):
                vstore(dots.all, 16 * (i * tile + t), offset)
        block_dots(
            largest_quant(matrix),
            at_once,
            block,
            x,
            dots.all,
            row_bytes,
            tile,
            4 * half,
            4 * half + 4,
        )
        for i in static(range(at_once)):
            scale = q6_k_scale(groups.part(i * matrix.group_bytes, matrix.unit_bytes), b * 2 + half)
            for t in static(range(tile)):
                at = 16 * (i * tile + t)
                dot = vload(dots.all, at, 16)
                if half == 1:
                    vstore(both.all, at, scaled_sum(dot, scale))
                else:
                    vstore(both.all, at, fma(float_sum(dot), scale, vload(both.all, at, 16)))
    for i in static(range(at_once)):
        for t in static(range(tile)):
            at = 16 * (i * tile + t)
            factor = number_of(rows.part(t * row_bytes, SUPER_X_BYTES), b, SCALE_AT)
            vstore(parts, at, fma(vload(both.all, at, 16), factor, vload(parts, at, 16)))
