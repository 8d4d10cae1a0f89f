"""Quantised weights as bytes, for as many columns as stay in the first-level cache.

A batch of tokens multiplies the same weights again and again. Unpacked once, they cost each tile of tokens
one load instead of up to five operations. Of each row group: for every 4 columns 64 bytes, byte 4*r + e the
quant of row r, column 4*v + e, with what the layout has added to it, or as a signed byte.
"""

from axiom.lang import Slice, Vec, fn, splat, static, u8, u64, urange, vload_bytes, vstore_bytes
from axiom.metal.ops.gemv_k import k_quants, q6_k_quants
from axiom.metal.ops.matrix import BLOCK_COLUMNS, NIBBLE_BLOCKS, ROWS, Matrix
from axiom.metal.ops.nibbles import nibble_quants

STRETCH_COLUMNS = 512
BLOCK_UNPACKED_BYTES = ROWS * BLOCK_COLUMNS
GROUP_UNPACKED_BYTES = ROWS * STRETCH_COLUMNS


def added(matrix: Matrix) -> int:
    """Return what the layout has added to its quants."""
    if matrix.layout == "q8_0x16":
        return 128
    if matrix.layout == "q6_kx16":
        return 32
    form = NIBBLE_BLOCKS.get(matrix.layout)
    if form is None or form.minimum:
        return 0
    return 16 if form.fifth_bit else 8


def stretch_units(matrix: Matrix) -> int:
    """Return how many units of a layout are unpacked at a time."""
    return STRETCH_COLUMNS // matrix.unit_columns


@fn(inline="always")
def unpack_stretch(
    at_once: int, matrix: Matrix, groups: Slice[u8], first: u64, n: u64, out: Slice[u8]
) -> None:
    """Unpack n units from `first` on of each row group."""
    unit_unpacked = ROWS * matrix.unit_columns
    for i in static(range(at_once)):
        for u in urange(n):
            w = groups.part((first + u) * matrix.unit_bytes + i * matrix.group_bytes, matrix.unit_bytes)
            unpack_unit(matrix, w, out.part(u * unit_unpacked + i * GROUP_UNPACKED_BYTES, unit_unpacked))


@fn(inline="always")
def unpack_unit(matrix: Matrix, w: Slice[u8], out: Slice[u8]) -> None:
    """Unpack a block, or a super-block, with what the layout has added."""
    for b in static(range(matrix.unit_columns // BLOCK_COLUMNS)):
        for v in static(range(8)):
            vstore_bytes(out, b * BLOCK_UNPACKED_BYTES + 64 * v, quants_at(matrix, w, b, v))


@fn(inline="always")
def unpack_signed(matrix: Matrix, w: Slice[u8], out: Slice[u8]) -> None:
    """Unpack a block, or a super-block, as signed bytes."""
    offset = splat(u8, 64, added(matrix))
    for b in static(range(matrix.unit_columns // BLOCK_COLUMNS)):
        for v in static(range(8)):
            quants = quants_at(matrix, w, b, v) - offset
            vstore_bytes(out, b * BLOCK_UNPACKED_BYTES + 64 * v, quants)


@fn(inline="always")
def quants_at(matrix: Matrix, w: Slice[u8], b: int, v: int) -> Vec[u8]:
    """Return columns 4v to 4v+3 of block b."""
    if matrix.layout == "q8_0x16":
        return vload_bytes(u8, 64, w, 2 * ROWS + 64 * v)
    elif matrix.layout in NIBBLE_BLOCKS:
        return nibble_quants(NIBBLE_BLOCKS[matrix.layout], w, v)
    elif matrix.layout == "q6_kx16":
        return q6_k_quants(w, b, v)
    else:
        return k_quants(matrix, w, b, v)
