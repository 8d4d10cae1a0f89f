"""Row-interleaved layouts: sixteen rows side by side, so that a row is a vector lane.

Quantised layouts hold, per group of 16 rows and block of 32 columns, 16 f16 scales, then vectors of 64
bytes whose bytes 4r..4r+3 belong to row r. Q8_0: vector v holds columns 4v..4v+3, each XOR 0x80. Q4_0:
vector v holds columns 4v+e in the low nibbles and 16+4v+e in the high ones. F16 and F32 hold, per group
and column, 16 values. Rows are padded with zeros to a multiple of 16, columns of F16 and F32 to one of 4.
The other types: see `layout_nibbles` and `layout_k`.
"""

import numpy as np
from gguf.constants import GGMLQuantizationType
from numpy.typing import NDArray

from axiom.host.model import layout_k, layout_nibbles
from axiom.host.model.layout_k import (
    SUPER_COLUMNS,
    pack_super_blocks,
    unpack_super_blocks,
)
from axiom.host.model.layout_nibbles import pack_nibbles, unpack_nibbles

GROUP_ROWS = 16
BLOCK_COLUMNS = 32
SCALES_BYTES = 2 * GROUP_ROWS
VECTOR_BYTES = 4 * GROUP_ROWS
LAYOUTS: dict[GGMLQuantizationType, str] = {
    GGMLQuantizationType.F32: "f32x16",
    GGMLQuantizationType.F16: "f16x16",
    GGMLQuantizationType.Q8_0: "q8_0x16",
    GGMLQuantizationType.Q4_0: "q4_0x16",
    GGMLQuantizationType.BF16: "bf16x16",
    GGMLQuantizationType.Q4_1: "q4_1x16",
    GGMLQuantizationType.Q5_0: "q5_0x16",
    GGMLQuantizationType.Q5_1: "q5_1x16",
    GGMLQuantizationType.Q5_K: "q5_kx16",
    GGMLQuantizationType.Q4_K: "q4_kx16",
    GGMLQuantizationType.Q6_K: "q6_kx16",
}
FILE_FORMS = layout_k.FILE_FORMS | layout_nibbles.FILE_FORMS
PACKED_FORMS = layout_k.PACKED_FORMS | layout_nibbles.PACKED_FORMS
_VECTORS = {"q8_0x16": 8, "q4_0x16": 4}  # per block
_PADDING_QUANTS = {"q8_0x16": 0x00, "q4_0x16": 0x88}  # zero, as GGUF writes it
_FLIP_SIGNS = np.uint32(0x80808080)

Bytes = NDArray[np.uint8]


def padded_rows(rows: int) -> int:
    """Round up to whole groups."""
    return -(-rows // GROUP_ROWS) * GROUP_ROWS


def unit_columns(layout: str) -> int:
    """Return what the columns of a quantised matrix are a multiple of."""
    return SUPER_COLUMNS if layout in layout_k.FILE_FORMS else BLOCK_COLUMNS


def row_bytes(layout: str, columns: int) -> int:
    """Return the size of one row in the GGUF file."""
    if layout in FILE_FORMS:
        return columns // unit_columns(layout) * FILE_FORMS[layout].itemsize
    if layout in _VECTORS:
        return columns // BLOCK_COLUMNS * (2 + 4 * _VECTORS[layout])
    return columns * (4 if layout == "f32x16" else 2)


def packed_bytes(layout: str, rows: int, columns: int) -> int:
    """Return the size of a packed matrix."""
    if layout in PACKED_FORMS:
        return (
            padded_rows(rows)
            // GROUP_ROWS
            * (columns // unit_columns(layout))
            * PACKED_FORMS[layout].itemsize
        )
    if layout not in _VECTORS:
        columns += -columns % 4
    return padded_rows(rows) * row_bytes(layout, columns)


def pack_matrix(layout: str, raw: Bytes, rows: int, columns: int, out: Bytes | None = None) -> Bytes:
    """Repack whole rows of a GGUF matrix; return `packed_bytes` bytes, in `out` when that is given.

    raw: exactly `rows` rows as they lie in the file. rows: any number; a piece of a larger matrix must
    be a multiple of 16 unless it is the last.
    """
    size = packed_bytes(layout, rows, columns)
    if raw.size != rows * row_bytes(layout, columns):
        raise ValueError(f"{rows} rows of {columns} columns are not {raw.size} bytes")
    packed = np.empty(size, np.uint8) if out is None else out[:size]
    if layout in PACKED_FORMS:
        missing = (padded_rows(rows) - rows) * row_bytes(layout, columns)
        whole = np.concatenate([raw, np.zeros(missing, np.uint8)]) if missing else np.ascontiguousarray(raw)
        pack = pack_super_blocks if layout in layout_k.FILE_FORMS else pack_nibbles
        pack(layout, whole, columns, packed)
    elif layout in _VECTORS:
        _pack_blocks(layout, _with_padding_rows(layout, raw, rows, columns), rows, columns, packed)
    else:
        _pack_plain(np.dtype("<u4" if layout == "f32x16" else "<u2"), raw, rows, columns, packed)
    return packed


def _with_padding_rows(layout: str, raw: Bytes, rows: int, columns: int) -> Bytes:
    missing = padded_rows(rows) - rows
    if not missing:
        return np.ascontiguousarray(raw)
    blocks = missing * columns // BLOCK_COLUMNS
    block = np.full(2 + 4 * _VECTORS[layout], _PADDING_QUANTS[layout], np.uint8)
    block[:2] = 0
    return np.concatenate([raw, np.tile(block, blocks)])


def _pack_blocks(layout: str, raw: Bytes, rows: int, columns: int, packed: Bytes) -> None:
    groups, blocks, vectors = padded_rows(rows) // GROUP_ROWS, columns // BLOCK_COLUMNS, _VECTORS[layout]
    source, target = 2 + 4 * vectors, SCALES_BYTES + VECTOR_BYTES * vectors
    # Strided views of two-byte scales and four-byte quants, so that NumPy moves words and not bytes.
    by_row = (GROUP_ROWS * blocks * source, blocks * source, source)
    scales_in = np.ndarray((groups, GROUP_ROWS, blocks), "<u2", raw, 0, by_row)
    quants_in = np.ndarray((groups, GROUP_ROWS, blocks, vectors), "<u4", raw, 2, (*by_row, 4))
    by_block = (blocks * target, target)
    scales_out = np.ndarray((groups, blocks, GROUP_ROWS), "<u2", packed, 0, (*by_block, 2))
    quants_out = np.ndarray(
        (groups, blocks, vectors, GROUP_ROWS), "<u4", packed, SCALES_BYTES, (*by_block, VECTOR_BYTES, 4)
    )
    scales_out[...] = scales_in.transpose(0, 2, 1)
    quants_out[...] = quants_in.transpose(0, 2, 3, 1)
    if layout == "q8_0x16":
        np.bitwise_xor(quants_out, _FLIP_SIGNS, out=quants_out)


def _pack_plain(
    kind: np.dtype[np.uint16] | np.dtype[np.uint32], raw: Bytes, rows: int, columns: int, packed: Bytes
) -> None:
    wide = columns + -columns % 4
    source = raw.view(kind).reshape(rows, columns)
    target = packed.view(kind).reshape(padded_rows(rows) // GROUP_ROWS, wide, GROUP_ROWS)
    whole = rows // GROUP_ROWS
    full = source[: whole * GROUP_ROWS].reshape(whole, GROUP_ROWS, columns)
    target[:whole, :columns] = full.transpose(0, 2, 1)
    target[:, columns:] = 0
    if rows % GROUP_ROWS:
        target[whole, :columns, : rows % GROUP_ROWS] = source[whole * GROUP_ROWS :].T
        target[whole, :, rows % GROUP_ROWS :] = 0


def unpack_matrix(layout: str, packed: Bytes, rows: int, columns: int) -> NDArray[np.float32]:
    """Return the float32 values of a packed matrix: the inverse of packing, then dequantised."""
    if layout in PACKED_FORMS:
        unpack = unpack_super_blocks if layout in layout_k.FILE_FORMS else unpack_nibbles
        return unpack(layout, packed, columns)[:rows]
    groups = padded_rows(rows) // GROUP_ROWS
    if layout not in _VECTORS:
        if layout == "bf16x16":
            # The upper halves of f32.
            packed = (packed.view("<u2").astype(np.uint32) << np.uint32(16)).view(np.uint8)
        kind = np.dtype("<f2" if layout == "f16x16" else "<f4")
        by_column = packed.view(kind).reshape(groups, -1, GROUP_ROWS)
        values = by_column.transpose(0, 2, 1).reshape(groups * GROUP_ROWS, -1)
        return values[:rows, :columns].astype(np.float32)
    blocks, vectors = columns // BLOCK_COLUMNS, _VECTORS[layout]
    units = packed.reshape(groups, blocks, SCALES_BYTES + VECTOR_BYTES * vectors)
    scales = np.ascontiguousarray(units[..., :SCALES_BYTES]).view("<f2").astype(np.float32)
    body = units[..., SCALES_BYTES:].reshape(groups, blocks, vectors, GROUP_ROWS, 4)
    if layout == "q8_0x16":
        quants = np.bitwise_xor(body, 0x80, dtype=np.uint8).view(np.int8).astype(np.float32)
    else:
        nibbles = np.concatenate([np.bitwise_and(body, 15), np.right_shift(body, 4)], axis=2)
        quants = nibbles.astype(np.float32) - 8
    by_row = quants.transpose(0, 3, 1, 2, 4).reshape(groups, GROUP_ROWS, blocks, BLOCK_COLUMNS)
    scaled = by_row * scales.transpose(0, 2, 1)[..., np.newaxis]
    return scaled.reshape(groups * GROUP_ROWS, columns)[:rows]
