"""Row groups of super-blocks times a tile of tokens, in the order of `gemv_k`. Read that first.

A block's integer sums of all tokens stay in registers; the sums over a super-block and over the row wait in
the stack, which is in the first-level cache.
"""

from axiom.lang import (
    Slice,
    array,
    f32,
    fma,
    fn,
    i32,
    load_bytes,
    splat,
    static,
    u8,
    u64,
    vload,
    vload_bytes,
    vstore,
)
from axiom.metal.ops.dots import block_dots
from axiom.metal.ops.float_sums import FLOAT_START_BITS, float_sum, scaled_sum
from axiom.metal.ops.gemv_k import (
    k_sum,
    number_of,
    part_blocks,
    q6_k_sum,
)
from axiom.metal.ops.k_scales import q6_k_scale
from axiom.metal.ops.matrix import Matrix
from axiom.metal.ops.quantise import BLOCK_BYTES, SCALE_AT, START_32_AT, TOTAL_AT
from axiom.metal.ops.quants import largest_quant
from axiom.metal.ops.unpack import (
    BLOCK_SCALES_BYTES,
    BLOCK_UNPACKED_BYTES,
    GROUP_UNPACKED_BYTES,
)

SUPER_X_BYTES = 8 * BLOCK_BYTES


@fn(inline="always")
def tile_with_minimums(
    at_once: int,
    matrix: Matrix,
    groups: Slice[u8],
    quants: Slice[u8],
    scales: Slice[u8],
    rows: Slice[u8],
    sums: Slice[f32],
    row_bytes: int,
    tile: int,
) -> None:
    """Add one 4-bit or 5-bit super-block of each token and row."""
    leasts = array(f32, 16 * tile * at_once)
    totals = array(f32, 16 * tile * at_once)
    n_blocks = part_blocks(matrix)
    for b in static(range(8)):
        add_minimums(at_once, scales, rows, leasts.all, row_bytes, tile, u64(b))
    for first in static(range(0, 8, n_blocks)):
        parts = array(f32, 16 * tile * at_once)
        for start in static((first, first + n_blocks // 2)):
            halves = array(f32, 16 * tile * at_once)
            for b in static(range(start, start + n_blocks // 2)):
                add_products(at_once, matrix, quants, scales, rows, halves.all, row_bytes, tile, u64(b))
            add_all(tile * at_once, parts.all, halves.all)
        add_all(tile * at_once, totals.all, parts.all)
    for t in static(range(tile)):
        scale = number_of(rows.part(t * row_bytes, SUPER_X_BYTES), u64(0), SCALE_AT)
        for i in static(range(at_once)):
            w = groups.part(i * matrix.group_bytes, matrix.unit_bytes)
            at = 16 * (i * tile + t)
            total = vload(totals.all, at, 16)
            vstore(sums, at, k_sum(w, scale, total, vload(leasts.all, at, 16), vload(sums, at, 16)))


@fn(inline="always")
def add_all(count: int, sums: Slice[f32], more: Slice[f32]) -> None:
    """Add `count` times sixteen numbers."""
    for at in static(range(0, 16 * count, 16)):
        vstore(sums, at, vload(sums, at, 16) + vload(more, at, 16))


@fn(inline="always")
def add_minimums(
    at_once: int,
    scales: Slice[u8],
    rows: Slice[u8],
    leasts: Slice[f32],
    row_bytes: int,
    tile: int,
    b: u64,
) -> None:
    """Add the minimums of block b to the sums of minimums."""
    for t in static(range(tile)):
        number = number_of(rows.part(t * row_bytes, SUPER_X_BYTES), b, TOTAL_AT)
        for i in static(range(at_once)):
            at = 16 * (i * tile + t)
            least = vload_bytes(f32, 16, scales, b * BLOCK_SCALES_BYTES + (i * GROUP_UNPACKED_BYTES + 64))
            vstore(leasts, at, fma(least, number, vload(leasts, at, 16)))


@fn(inline="always")
def add_products(
    at_once: int,
    matrix: Matrix,
    quants: Slice[u8],
    scales: Slice[u8],
    rows: Slice[u8],
    halves: Slice[f32],
    row_bytes: int,
    tile: int,
    b: u64,
) -> None:
    """Add the products of block b to half a part."""
    dots = array(i32, 16 * tile * at_once)
    block = quants.part(
        b * BLOCK_UNPACKED_BYTES, (at_once - 1) * GROUP_UNPACKED_BYTES + BLOCK_UNPACKED_BYTES
    )
    x = rows.part(b * BLOCK_BYTES, (tile - 1) * row_bytes + BLOCK_BYTES)
    for at in static(range(0, 16 * tile * at_once, 16)):
        vstore(dots.all, at, splat(i32, 16, FLOAT_START_BITS))
    block_dots(largest_quant(matrix), at_once, block, x, dots.all, row_bytes, tile, 0, 8)
    for i in static(range(at_once)):
        scale = vload_bytes(f32, 16, scales, b * BLOCK_SCALES_BYTES + i * GROUP_UNPACKED_BYTES)
        for t in static(range(tile)):
            at = 16 * (i * tile + t)
            vstore(halves, at, fma(float_sum(vload(dots.all, at, 16)), scale, vload(halves, at, 16)))


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
    totals = array(f32, 16 * tile * at_once)
    for first in static(range(0, 8, 2)):
        parts = array(f32, 16 * tile * at_once)
        for b in static((first, first + 1)):
            add_q6_k(at_once, matrix, groups, quants, rows, parts.all, row_bytes, tile, u64(b))
        add_all(tile * at_once, totals.all, parts.all)
    for t in static(range(tile)):
        scale = number_of(rows.part(t * row_bytes, SUPER_X_BYTES), u64(0), SCALE_AT)
        for i in static(range(at_once)):
            w = groups.part(i * matrix.group_bytes, matrix.unit_bytes)
            at = 16 * (i * tile + t)
            vstore(sums, at, q6_k_sum(w, scale, vload(totals.all, at, 16), vload(sums, at, 16)))


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
    """Add half a part, block b's."""
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
    add_all(tile * at_once, parts, both.all)
