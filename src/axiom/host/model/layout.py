"""Row-interleaved layouts: sixteen rows side by side, so that a row is a vector lane.

For quantised layouts, per group of 16 rows and block of 32 columns: 16 f16 scales, then vectors of 64
bytes whose byte 4*r+e belongs to row r. Q8_0: vector v holds columns 4v..4v+3, each XOR 0x80. Q4_0:
vector v holds columns 4v+e in the low nibbles and 16+4v+e in the high ones. For F16 and F32, per group and column:
16 values. Rows are padded to 16 with zeros; columns of F16 and F32 to 4.
"""

from typing import Any

import numpy as np
from gguf.constants import GGMLQuantizationType

GROUP_ROWS = 16
LAYOUTS: dict[GGMLQuantizationType, str] = {
    GGMLQuantizationType.F32: "f32x16",
    GGMLQuantizationType.F16: "f16x16",
    GGMLQuantizationType.Q8_0: "q8_0x16",
    GGMLQuantizationType.Q4_0: "q4_0x16",
}
Bytes = np.ndarray[Any, np.dtype[np.uint8]]


def padded_rows(rows: int) -> int:
    """Round up to whole groups."""
    return -(-rows // GROUP_ROWS) * GROUP_ROWS


def packed_bytes(layout: str, rows: int, columns: int) -> int:
    """Return the size of a packed matrix."""
    groups = padded_rows(rows) // GROUP_ROWS
    if layout == "q8_0x16":
        return groups * (columns // 32) * 544
    if layout == "q4_0x16":
        return groups * (columns // 32) * 288
    wide = -(-columns // 4) * 4
    return groups * wide * GROUP_ROWS * (2 if layout == "f16x16" else 4)


def pack_matrix(layout: str, raw: Bytes, rows: int, columns: int) -> Bytes:
    """Repack whole row groups of a GGUF matrix; `raw` holds `rows` rows."""
    if layout in ("f16x16", "f32x16"):
        return _pack_plain(raw, rows, columns, np.dtype(np.uint16 if layout == "f16x16" else np.uint32))
    blocks = columns // 32
    block_bytes = 34 if layout == "q8_0x16" else 18
    source = raw.reshape(rows, blocks, block_bytes)
    total = padded_rows(rows)
    if total != rows:
        padding = np.zeros((total - rows, blocks, block_bytes), np.uint8)
        padding[:, :, 2:] = 0 if layout == "q8_0x16" else 0x88
        source = np.concatenate([source, padding])
    groups = source.reshape(total // GROUP_ROWS, GROUP_ROWS, blocks, block_bytes)
    scales = groups[..., :2].transpose(0, 2, 1, 3).reshape(-1, blocks, 32)
    quants = groups[..., 2:]
    vectors = 8 if layout == "q8_0x16" else 4
    if layout == "q8_0x16":
        quants = quants ^ 0x80
    interleaved = quants.reshape(-1, GROUP_ROWS, blocks, vectors, 4).transpose(0, 2, 3, 1, 4)
    body = interleaved.reshape(-1, blocks, vectors * 64)
    return np.concatenate([scales, body], axis=2).reshape(-1)


def _pack_plain(raw: Bytes, rows: int, columns: int, kind: np.dtype[Any]) -> Bytes:
    source = raw.view(kind).reshape(rows, columns)
    padding = ((0, padded_rows(rows) - rows), (0, -columns % 4))
    wide = np.pad(source, padding).reshape(-1, GROUP_ROWS, columns + -columns % 4)
    return np.ascontiguousarray(wide.transpose(0, 2, 1)).view(np.uint8).reshape(-1)


def unpack_matrix(
    layout: str, packed: Bytes, rows: int, columns: int
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the float32 values of a packed matrix: the inverse of packing, then dequantised."""
    total = padded_rows(rows)
    if layout in ("f16x16", "f32x16"):
        kind = np.float16 if layout == "f16x16" else np.float32
        wide = packed.view(kind).reshape(total // GROUP_ROWS, -1, GROUP_ROWS).transpose(0, 2, 1)
        return wide.reshape(total, -1)[:rows, :columns].astype(np.float32)
    blocks = columns // 32
    vectors = 8 if layout == "q8_0x16" else 4
    units = packed.reshape(total // GROUP_ROWS, blocks, 32 + 64 * vectors)
    scales = units[..., :32].copy().view(np.float16).astype(np.float32)
    body = units[..., 32:].reshape(-1, blocks, vectors, GROUP_ROWS, 4)
    if layout == "q8_0x16":
        quants = (body ^ 0x80).view(np.int8).astype(np.float32)
    else:
        both = np.concatenate([body & 15, body >> 4], axis=2)
        quants = both.astype(np.float32) - 8
    values = quants.transpose(0, 3, 1, 2, 4).reshape(-1, GROUP_ROWS, blocks, 32)
    scaled = values * scales.transpose(0, 2, 1)[..., None]
    return scaled.reshape(total, columns)[:rows]
