"""Quantised weights as bytes, for as many columns as stay in the first-level cache.

A batch of tokens multiplies the same weights again and again. Unpacked once, they cost each tile of tokens
one load instead of up to five operations. Of each row group: for every 4 columns 64 bytes, byte 4*r + e the
quant of row r, column 4*v + e, with what the layout has added to it, or as a signed byte.

Then, of super-blocks, for every block 128 bytes: of Q4_K and Q5_K its scales (f32, or twice i16 where
`sums_in_words`) and its f32 minimums; of Q6_K, where `sums_in_words`, the scales of either half, twice i16,
and behind those of all blocks for every block its `q6_k_offsets`. Of blocks that are units, where
`sums_in_words`, 192 bytes: f32 scales, what they make of the start of float sums, f32 minimums.
"""

from axiom.lang import (
    Slice,
    Target,
    convert,
    current_target,
    f16,
    f32,
    fn,
    splat,
    static,
    u8,
    u64,
    urange,
    vload_bytes,
    vstore_bytes,
)
from axiom.metal.arch.simd import sums_in_words
from axiom.metal.ops.float_sums import start_of
from axiom.metal.ops.k_scales import k_factors, k_minimum, k_scale, q6_k_factors, q6_k_offsets
from axiom.metal.ops.matrix import BLOCK_COLUMNS, ROWS, SUPER_COLUMNS, Matrix
from axiom.metal.ops.quants import (
    added,
    blocks_together,
    has_minimum,
    largest_quant,
    quants_at,
    steps_in_words,
)

STRETCH_COLUMNS = 512
BLOCK_UNPACKED_BYTES = ROWS * BLOCK_COLUMNS
SCALES_AT = ROWS * STRETCH_COLUMNS
BLOCK_SCALES_BYTES = 8 * ROWS
OFFSETS_AT = SUPER_COLUMNS // BLOCK_COLUMNS * BLOCK_SCALES_BYTES
SUPER_SCALES_BYTES = OFFSETS_AT + SUPER_COLUMNS // BLOCK_COLUMNS * (4 * ROWS)
# Of a block that is a unit: f32 scales, what the start of its float sums comes to, f32 minimums.
STARTS_AT = 4 * ROWS
MINIMUMS_AT = 8 * ROWS
UNIT_SCALES_BYTES = 12 * ROWS
GROUP_UNPACKED_BYTES = SCALES_AT + STRETCH_COLUMNS // SUPER_COLUMNS * SUPER_SCALES_BYTES


def stretch_units(matrix: Matrix) -> int:
    """Return how many units of a layout are unpacked at a time."""
    return STRETCH_COLUMNS // matrix.unit_columns


def unpacks_signed(matrix: Matrix, target: Target) -> bool:
    """Tell whether quants lose what the layout has added: where a word cannot take two products of them."""
    return sums_in_words(target) and steps_in_words(largest_quant(matrix)) == 0


def scales_bytes(matrix: Matrix, target: Target) -> int:
    """Return the bytes of a unit's unpacked scales; 0 where they are taken from the unit itself."""
    if matrix.unit_columns == SUPER_COLUMNS:
        return SUPER_SCALES_BYTES
    return UNIT_SCALES_BYTES if sums_in_words(target) else 0


@fn(inline="always")
def unpack_stretch(
    at_once: int, matrix: Matrix, groups: Slice[u8], first: u64, n: u64, out: Slice[u8]
) -> None:
    """Unpack n units from `first` on of each row group."""
    unit_unpacked = ROWS * matrix.unit_columns
    for i in static(range(at_once)):
        for u in urange(n):
            w = groups.part((first + u) * matrix.unit_bytes + i * matrix.group_bytes, matrix.unit_bytes)
            part = out.part(u * unit_unpacked + i * GROUP_UNPACKED_BYTES, unit_unpacked)
            if unpacks_signed(matrix, current_target()):
                unpack_signed(matrix, w, part)
            else:
                unpack_unit(matrix, w, part)
            n_bytes = scales_bytes(matrix, current_target())
            if n_bytes > 0:
                at = u * n_bytes + (SCALES_AT + i * GROUP_UNPACKED_BYTES)
                scales = out.part(at, n_bytes)
                if matrix.unit_columns == SUPER_COLUMNS:
                    unpack_scales(matrix, w, scales)
                else:
                    unpack_block_scales(matrix, w, scales)


@fn(inline="always")
def unpack_unit(matrix: Matrix, w: Slice[u8], out: Slice[u8]) -> None:
    """Unpack a block, or a super-block, with what the layout has added."""
    for b in static(range(matrix.unit_columns // BLOCK_COLUMNS)):
        for v in static(range(8)):
            quants = quants_at(matrix, w, u64(b), b % blocks_together(matrix), v // 4, u64(v % 4))
            vstore_bytes(out, b * BLOCK_UNPACKED_BYTES + 64 * v, quants)


@fn(inline="always")
def unpack_signed(matrix: Matrix, w: Slice[u8], out: Slice[u8]) -> None:
    """Unpack a block, or a super-block, as signed bytes."""
    offset = splat(u8, 64, added(matrix))
    for b in static(range(matrix.unit_columns // BLOCK_COLUMNS)):
        for v in static(range(8)):
            quants = quants_at(matrix, w, u64(b), b % blocks_together(matrix), v // 4, u64(v % 4)) - offset
            vstore_bytes(out, b * BLOCK_UNPACKED_BYTES + 64 * v, quants)


@fn(inline="always")
def unpack_scales(matrix: Matrix, w: Slice[u8], out: Slice[u8]) -> None:
    """Unpack the scales of a super-block's blocks, and what goes with them."""
    for b in static(range(SUPER_COLUMNS // BLOCK_COLUMNS)):
        at = BLOCK_SCALES_BYTES * b
        if matrix.layout == "q6_kx16":
            if sums_in_words(current_target()):
                vstore_bytes(out, at, q6_k_factors(w, u64(2 * b)))
                vstore_bytes(out, at + 4 * ROWS, q6_k_factors(w, u64(2 * b + 1)))
                vstore_bytes(out, OFFSETS_AT + 4 * ROWS * b, q6_k_offsets(w, u64(b)))
        else:
            if sums_in_words(current_target()):
                vstore_bytes(out, at, k_factors(w, u64(b)))
            else:
                vstore_bytes(out, at, k_scale(w, u64(b)))
            vstore_bytes(out, at + 4 * ROWS, k_minimum(w, u64(b)))


@fn(inline="always")
def unpack_block_scales(matrix: Matrix, w: Slice[u8], out: Slice[u8]) -> None:
    """Unpack the scales of a block that is a unit, and what goes with them."""
    scale = convert(f32, vload_bytes(f16, 16, w, 0))
    vstore_bytes(out, 0, scale)
    vstore_bytes(out, STARTS_AT, start_of(scale))
    if has_minimum(matrix):
        vstore_bytes(out, MINIMUMS_AT, convert(f32, vload_bytes(f16, 16, w, 32)))
