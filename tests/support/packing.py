"""Pack matrices for tests: a second, plain writing of the packed layouts, and what they stand for."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

NIBBLES = ("q4_0x16", "q4_1x16", "q5_0x16", "q5_1x16")
SUPER = ("q4_kx16", "q5_kx16", "q6_kx16")
LAYOUTS = ("q8_0x16", *NIBBLES, *SUPER, "f16x16", "bf16x16", "f32x16")

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


def pack_bf16(matrix: Floats) -> tuple[Bytes, Floats]:
    """Pack as bf16x16, cut off; return the bytes and the numbers that they stand for."""
    kept = matrix.astype(np.float32).view(np.uint32) & np.uint32(0xFFFF0000)
    full = np.pad(padded_rows(kept), ((0, 0), (0, -matrix.shape[1] % 4)))
    groups = (full >> 16).astype("<u2").reshape(-1, 16, full.shape[1]).transpose(0, 2, 1)
    exact = kept.view(np.float32).astype(np.float64)
    return np.frombuffer(np.ascontiguousarray(groups).tobytes(), np.uint8).copy(), exact


def pack_nibbles(layout: str, matrix: Floats) -> tuple[Bytes, Floats]:
    """Pack as one of NIBBLES; return the bytes and, in float64, the matrix that they stand for."""
    full = padded_rows(matrix.astype(np.float64))
    levels = 31 if "q5" in layout else 15
    parts: list[bytes] = []
    exact = np.zeros_like(full)
    for first in range(0, len(full), 16):
        for start in range(0, full.shape[1], 32):
            block = full[first : first + 16, start : start + 32]
            if layout.endswith("_1x16"):
                m = block.min(axis=1).astype(np.float16)
                d = ((block.max(axis=1) - m) / levels).astype(np.float16)
                zero = 0
            else:
                m = np.zeros(16, np.float16)
                d = (np.abs(block).max(axis=1) / (levels // 2)).astype(np.float16)
                zero = (levels + 1) // 2
            step, least = (a.astype(np.float64)[:, None] for a in (d, m))
            q = np.clip(np.rint((block - least) / np.where(step == 0, 1, step)) + zero, 0, levels)
            exact[first : first + 16, start : start + 32] = (q - zero) * step + least
            codes = q.astype(np.uint8)
            parts.append(d.tobytes())
            if layout.endswith("_1x16"):
                parts.append(m.tobytes())
            if levels == 31:
                bits = sum((codes[:, 4 * v : 4 * v + 4] >> 4) << v for v in range(8))
                parts.append(np.asarray(bits, np.uint8).tobytes())
            low = codes & 15
            nibbles = (low[:, :16] | low[:, 16:] << 4).reshape(16, 4, 4).transpose(1, 0, 2)
            parts.append(nibbles.tobytes())
    return np.frombuffer(b"".join(parts), np.uint8).copy(), exact[: len(matrix)]


def pack_super(layout: str, matrix: Floats) -> tuple[Bytes, Floats]:
    """Pack as one of SUPER; return the bytes and, in float64, the matrix that they stand for."""
    full = padded_rows(matrix.astype(np.float64))
    rows, columns = full.shape
    exact = np.zeros_like(full)
    parts: list[bytes] = []
    for first in range(0, rows, 16):
        for start in range(0, columns, 256):
            block = full[first : first + 16, start : start + 256]
            raw, values = _q6_k(block) if layout == "q6_kx16" else _q45_k(block, layout == "q5_kx16")
            parts.append(raw)
            exact[first : first + 16, start : start + 256] = values
    return np.frombuffer(b"".join(parts), np.uint8).copy(), exact[: len(matrix)]


def _scales(wanted: Floats, limit: int) -> tuple[Floats, Floats]:
    """Return an f16 scale for each row and integers up to `limit` that together come near `wanted`."""
    d = (wanted.max(axis=1) / limit).astype(np.float16)
    safe = np.where(d == 0, 1, d).astype(np.float64)[:, None]
    return d, np.clip(np.rint(wanted / safe), 0, limit)


def _q45_k(block: Floats, fifth_bit: bool) -> tuple[bytes, Floats]:
    levels = 31 if fifth_bit else 15
    blocks = block.reshape(16, 8, 32)
    least = np.maximum(0, -blocks.min(axis=2))
    dmin, m = _scales(least, 63)
    d, sc = _scales((blocks.max(axis=2) + least) / levels, 63)
    floor = (dmin.astype(np.float64)[:, None] * m)[:, :, None]
    step = (d.astype(np.float64)[:, None] * sc)[:, :, None]
    q = np.clip(np.rint((blocks + floor) / np.where(step == 0, 1, step)), 0, levels)
    raw = [d.tobytes(), dmin.tobytes(), sc.T.astype(np.uint8).tobytes(), m.T.astype(np.uint8).tobytes()]
    codes = q.astype(np.uint8)
    if fifth_bit:
        bits = sum((codes[:, b] >> 4) << b for b in range(8))
        raw.append(np.asarray(bits, np.uint8).reshape(16, 8, 4).transpose(1, 0, 2).tobytes())
    codes = codes & 15
    for pair in range(4):
        nibbles = codes[:, 2 * pair] | codes[:, 2 * pair + 1] << 4
        raw.append(nibbles.reshape(16, 8, 4).transpose(1, 0, 2).tobytes())
    return b"".join(raw), (step * q - floor).reshape(16, 256)


def _q6_k(block: Floats) -> tuple[bytes, Floats]:
    halves = block.reshape(16, 16, 16)
    d, sc = _scales(np.abs(halves).max(axis=2) / 31, 127)
    # Every other scale is negative, as files may have it.
    sc[:, 1::2] *= -1
    step = (d.astype(np.float64)[:, None] * sc)[:, :, None]
    q = np.clip(np.rint(halves / np.where(step == 0, 1, step)), -32, 31)
    raw = [d.tobytes(), sc.T.astype(np.int8).tobytes()]
    codes = (q + 32).astype(np.uint8).reshape(16, 2, 4, 8, 4)  # rows, halves, quarters, v, e
    for half in range(2):
        for v in range(8):
            c0, c1, c2, c3 = (codes[:, half, quarter, v] for quarter in range(4))
            raw += [((c0 & 15) | (c2 & 15) << 4).tobytes(), ((c1 & 15) | (c3 & 15) << 4).tobytes()]
            raw.append((c0 >> 4 | (c1 >> 4) << 2 | (c2 >> 4) << 4 | (c3 >> 4) << 6).tobytes())
    return b"".join(raw), (step * q).reshape(16, 256)


def dequantise(scales: Floats, quants: NDArray[Any]) -> Floats:
    """Return float64 rows of centred quants [rows, blocks, 32] times their scales."""
    rows = scales.astype(np.float16).astype(np.float64)[:, :, None] * quants.astype(np.float64)
    return rows.reshape(len(quants), -1)


def columns_for(layout: str, columns: int) -> int:
    """Return how many columns to test instead: whole super-blocks, where a layout has them."""
    return -(-columns // 256) * 256 if layout in SUPER else columns


def pack(layout: str, matrix: Floats) -> tuple[Bytes, Floats]:
    """Pack any float matrix; return the bytes and, in float64, the matrix that they stand for."""
    if layout == "f32x16":
        return pack_float(matrix, "<f4"), matrix.astype(np.float32).astype(np.float64)
    if layout == "f16x16":
        return pack_float(matrix, "<f2"), matrix.astype(np.float16).astype(np.float64)
    if layout in SUPER:
        return pack_super(layout, matrix)
    if layout == "bf16x16":
        return pack_bf16(matrix)
    if layout != "q8_0x16":
        return pack_nibbles(layout, matrix)
    blocks = matrix.astype(np.float64).reshape(len(matrix), -1, 32)
    scales = (np.abs(blocks).max(axis=2) / 127).astype(np.float16)
    safe = np.where(scales == 0, 1, scales).astype(np.float64)[:, :, None]
    quants = np.clip(np.rint(blocks / safe), -127, 127)
    return pack_q8(scales, quants.astype(np.int8)), dequantise(scales, quants)
