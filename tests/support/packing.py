"""Pack matrices for tests: a second, plain writing of the packed layouts, and what they stand for."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Floats = NDArray[Any]


def padded_rows(matrix: Floats) -> Floats:
    """Pad the rows with zeros to a multiple of 16."""
    return np.pad(matrix, ((0, -len(matrix) % 16), (0, 0)))


def pack_float(matrix: Floats, dtype: str) -> Bytes:
    """Pack as f16x16 ("<f2") or f32x16 ("<f4")."""
    full = np.pad(padded_rows(matrix), ((0, 0), (0, -matrix.shape[1] % 4)))
    groups = full.astype(dtype).reshape(-1, 16, full.shape[1]).transpose(0, 2, 1)
    return np.frombuffer(np.ascontiguousarray(groups).tobytes(), np.uint8).copy()


def pack_q8(scales: Floats, quants: NDArray[np.int8]) -> Bytes:
    """Pack scales [rows, blocks] (f16) and quants [rows, blocks, 32] as q8_0x16."""
    n_blocks = quants.shape[1]
    parts: list[bytes] = []
    for first in range(0, len(quants), 16):
        for b in range(n_blocks):
            d, q = np.zeros(16, "<f2"), np.zeros((16, 32), np.int8)
            rows = quants[first : first + 16, b]
            d[: len(rows)], q[: len(rows)] = scales[first : first + 16, b], rows
            offset = (q.view(np.uint8) ^ 0x80).reshape(16, 8, 4).transpose(1, 0, 2)
            parts += [d.tobytes(), offset.tobytes()]
    return np.frombuffer(b"".join(parts), np.uint8).copy()


def pack_q4(scales: Floats, quants: NDArray[np.uint8]) -> Bytes:
    """Pack scales [rows, blocks] (f16) and quants 0..15 [rows, blocks, 32] as q4_0x16."""
    n_blocks = quants.shape[1]
    parts: list[bytes] = []
    for first in range(0, len(quants), 16):
        for b in range(n_blocks):
            d, q = np.zeros(16, "<f2"), np.full((16, 32), 8, np.uint8)
            rows = quants[first : first + 16, b]
            d[: len(rows)], q[: len(rows)] = scales[first : first + 16, b], rows
            nibbles = (q[:, :16] | q[:, 16:] << 4).reshape(16, 4, 4).transpose(1, 0, 2)
            parts += [d.tobytes(), nibbles.tobytes()]
    return np.frombuffer(b"".join(parts), np.uint8).copy()


def dequantise(scales: Floats, quants: NDArray[Any]) -> Floats:
    """Return float64 rows of centred quants [rows, blocks, 32] times their scales."""
    rows = scales.astype(np.float16).astype(np.float64)[:, :, None] * quants.astype(np.float64)
    return rows.reshape(len(quants), -1)


def pack(layout: str, matrix: Floats) -> tuple[Bytes, Floats]:
    """Pack any float matrix; return the bytes and, in float64, the matrix that they stand for."""
    if layout == "f32x16":
        return pack_float(matrix, "<f4"), matrix.astype(np.float32).astype(np.float64)
    if layout == "f16x16":
        return pack_float(matrix, "<f2"), matrix.astype(np.float16).astype(np.float64)
    blocks = matrix.astype(np.float64).reshape(len(matrix), -1, 32)
    limit = 127 if layout == "q8_0x16" else 7
    scales = (np.abs(blocks).max(axis=2) / limit).astype(np.float16)
    safe = np.where(scales == 0, 1, scales).astype(np.float64)[:, :, None]
    quants = np.clip(np.rint(blocks / safe), -limit, limit)
    if layout == "q8_0x16":
        return pack_q8(scales, quants.astype(np.int8)), dequantise(scales, quants)
    return pack_q4(scales, (quants + 8).astype(np.uint8)), dequantise(scales, quants)
