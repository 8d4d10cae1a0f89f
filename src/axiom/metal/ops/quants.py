"""The quants of a block as vectors: four columns of sixteen rows, in bytes, with what the layout has added.

Byte 4*r + e is that of row r, column 4*v + e, of half h of the block. Read `matrix` first, for the layouts.
"""

from axiom.lang import Slice, Vec, equal, fn, select, splat, truncate, u8, u64, vload_bytes
from axiom.metal.ops.matrix import (
    BLOCK_COLUMNS,
    NIBBLE_BLOCKS,
    Q4_K_QUANTS_AT,
    Q5_K_BITS_AT,
    Q5_K_QUANTS_AT,
    Q6_K_QUANTS_AT,
    ROWS,
    Matrix,
    NibbleBlock,
)


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


def has_minimum(matrix: Matrix) -> bool:
    """Tell whether a layout of 32-column blocks has minimums."""
    return matrix.layout in NIBBLE_BLOCKS and NIBBLE_BLOCKS[matrix.layout].minimum


def largest_quant(matrix: Matrix) -> int:
    """Return what none of the quants is above, with what the layout has added."""
    if matrix.layout == "q8_0x16":
        return 255
    if matrix.layout == "q6_kx16":
        return 63
    form = NIBBLE_BLOCKS.get(matrix.layout)
    fifth_bit = form.fifth_bit if form is not None else matrix.layout == "q5_kx16"
    return 31 if fifth_bit else 15


def steps_in_words(largest: int) -> int:
    """Return how many times a word can take two products of quants up to `largest` with signed bytes."""
    return 32767 // (2 * 128 * largest)


def blocks_together(matrix: Matrix) -> int:
    """Return how many blocks of a unit share the bytes that hold their quants."""
    if matrix.layout == "q6_kx16":
        return 4
    return 2 if matrix.unit_columns > BLOCK_COLUMNS else 1


@fn(inline="always")
def quants_at(matrix: Matrix, w: Slice[u8], b: u64, s: int, h: int, v: u64) -> Vec[u8]:
    """Return columns 16h + 4v to 16h + 4v + 3 of block b of a unit; v is below 4.

    s: b modulo `blocks_together`, known while compiling.
    """
    if matrix.layout == "q8_0x16":
        return vload_bytes(u8, 64, w, v * 64 + (2 * ROWS + 256 * h))
    elif matrix.layout in NIBBLE_BLOCKS:
        return nibble_quants(NIBBLE_BLOCKS[matrix.layout], w, h, v)
    elif matrix.layout == "q6_kx16":
        return q6_k_quants(w, b, s, h, v)
    else:
        return k_quants(matrix, w, b, s, h, v)


@fn(inline="always")
def nibble_quants(form: NibbleBlock, w: Slice[u8], h: int, v: u64) -> Vec[u8]:
    """Return those of a block of nibbles."""
    nibbles = vload_bytes(u8, 64, w, v * 64 + form.quants_at)
    quants = nibbles & 15 if h == 0 else nibbles >> 4
    if not form.fifth_bit:
        return quants
    return quants | sixteen_where(vload_bytes(u8, 64, w, form.bits_at), v + 4 * h)


@fn(inline="always")
def k_quants(matrix: Matrix, w: Slice[u8], b: u64, s: int, h: int, v: u64) -> Vec[u8]:
    """Return those of a block of Q4_K or Q5_K."""
    quants_at = Q4_K_QUANTS_AT if matrix.layout == "q4_kx16" else Q5_K_QUANTS_AT
    nibbles = vload_bytes(u8, 64, w, b // 2 * 512 + v * 64 + (quants_at + 256 * h))
    quants = nibbles & 15 if s == 0 else nibbles >> 4
    if matrix.layout == "q4_kx16":
        return quants
    return quants | sixteen_where(vload_bytes(u8, 64, w, v * 64 + (Q5_K_BITS_AT + 256 * h)), b)


@fn(inline="always")
def sixteen_where(bits: Vec[u8], number: u64) -> Vec[u8]:
    """Return 16 where the bit with this number is set, else 0."""
    bit = splat(u8, 64, truncate(u8, u64(1) << number))
    return select(equal(bits & bit, bit), splat(u8, 64, 16), splat(u8, 64, 0))


@fn(inline="always")
def q6_k_quants(w: Slice[u8], b: u64, s: int, h: int, v: u64) -> Vec[u8]:
    """Return those of a block of Q6_K."""
    at = b // 4 * 1536 + v * 192 + (Q6_K_QUANTS_AT + 768 * h)
    nibbles = vload_bytes(u8, 64, w, at + s % 2 * 64)
    bits = vload_bytes(u8, 64, w, at + 128)
    if s == 0:
        return (nibbles & 15) | ((bits << 4) & 0x30)
    elif s == 1:
        return (nibbles & 15) | ((bits << 2) & 0x30)
    elif s == 2:
        return (nibbles >> 4) | (bits & 0x30)
    else:
        return (nibbles >> 4) | ((bits >> 2) & 0x30)
