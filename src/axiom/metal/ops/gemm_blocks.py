"""Row groups of 32-column blocks times a tile of tokens: Q8_0, Q4_0, Q4_1, Q5_0 and Q5_1.

The sums over the row stay in registers, and so do a block's integer sums.
"""

from axiom.lang import (
    Slice,
    Vec,
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
    vload,
    vload_bytes,
    vstore,
)
from axiom.metal.ops.dots import block_dots
from axiom.metal.ops.float_sums import scaled_sum
from axiom.metal.ops.matrix import NIBBLE_BLOCKS, Matrix
from axiom.metal.ops.nibbles import nibble_start, nibble_sum
from axiom.metal.ops.quantise import BLOCK_BYTES, SCALE_AT, START_128_AT
from axiom.metal.ops.quants import largest_quant


@fn(inline="always")
def tile_blocks(
    at_once: int,
    matrix: Matrix,
    groups: Slice[u8],
    quants: Slice[u8],
    rows: Slice[u8],
    sums: Slice[f32],
    row_bytes: int,
    tile: int,
) -> None:
    """Add one block of each token and row."""
    dots = array(i32, 16 * tile * at_once)
    nibbles = matrix.layout in NIBBLE_BLOCKS
    for t in static(range(tile)):
        x = rows.part(t * row_bytes, BLOCK_BYTES)
        if nibbles:
            start = splat(i32, 16, nibble_start(NIBBLE_BLOCKS[matrix.layout], x))
        else:
            start = splat(i32, 16, load_bytes(i32, x, START_128_AT))
        for i in static(range(at_once)):
            vstore(dots.all, 16 * (i * tile + t), start)
    block_dots(largest_quant(matrix), at_once, quants, rows, dots.all, row_bytes, tile, 0, 8)
    for i in static(range(at_once)):
        w = groups.part(i * matrix.group_bytes, matrix.unit_bytes)
        for t in static(range(tile)):
            x = rows.part(t * row_bytes, BLOCK_BYTES)
            at = 16 * (i * tile + t)
            dot = vload(dots.all, at, 16)
            acc = vload(sums, at, 16)
            vstore(sums, at, block_sum(matrix, w, x, dot, acc))


@fn(inline="always")
def block_sum(matrix: Matrix, w: Slice[u8], x: Slice[u8], dots: Vec[i32], acc: Vec[f32]) -> Vec[f32]:
    """Add what a block of any of these layouts came to; dots: the exact float sums."""
    if matrix.layout in NIBBLE_BLOCKS:
        return nibble_sum(NIBBLE_BLOCKS[matrix.layout], w, x, dots, acc)
    scale = convert(f32, vload_bytes(f16, 16, w, 0))
    return fma(scaled_sum(dots, scale), splat(f32, 16, load_bytes(f32, x, SCALE_AT)), acc)
