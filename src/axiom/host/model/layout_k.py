"""Super-blocks of 256 columns, sixteen rows side by side. Read `layout` first.

The quants of a file's super-block move as words of four bytes; the 6-bit scales of Q4_K become bytes, which
costs 2.8 % of its size. What a word's nibbles and bits stand for stays as GGUF has it.

- Q4_K: 16 f16 scales, 16 f16 scales of the minimums, 8 x 16 byte scales, 8 x 16 byte minimums, then for p
  in 0..3 (64 columns each) and v in 0..7: 16 words.
- Q5_K: as Q4_K, with 8 x 16 words of fifth bits in front of the nibbles' words.
- Q6_K: 16 f16 scales, 16 x 16 signed byte scales, then for h in 0..1 (128 columns each) and v in 0..7: 16
  words of low nibbles, 16 more of those 32 columns further on, 16 words of high bits.
"""

import numpy as np
from numpy.typing import NDArray

GROUP_ROWS = 16
SUPER_COLUMNS = 256
Q4_K_FILE = np.dtype([("d", "<u2"), ("dmin", "<u2"), ("scales", "u1", 12), ("quants", "<u4", (4, 8))])
Q5_K_FILE = np.dtype(
    [("d", "<u2"), ("dmin", "<u2"), ("scales", "u1", 12), ("bits", "<u4", 8), ("quants", "<u4", (4, 8))]
)
Q6_K_FILE = np.dtype(
    [("low", "<u4", (2, 2, 8)), ("high", "<u4", (2, 8)), ("scales", "u1", 16), ("d", "<u2")]
)
Q4_K_PACKED = np.dtype(
    [
        ("d", "<u2", 16),
        ("dmin", "<u2", 16),
        ("scales", "u1", (8, 16)),
        ("minimums", "u1", (8, 16)),
        ("quants", "<u4", (4, 8, 16)),
    ]
)
Q5_K_PACKED = np.dtype(
    [
        ("d", "<u2", 16),
        ("dmin", "<u2", 16),
        ("scales", "u1", (8, 16)),
        ("minimums", "u1", (8, 16)),
        ("bits", "<u4", (8, 16)),
        ("quants", "<u4", (4, 8, 16)),
    ]
)
Q6_K_PACKED = np.dtype([("d", "<u2", 16), ("scales", "u1", (16, 16)), ("words", "<u4", (2, 8, 3, 16))])
FILE_FORMS = {"q4_kx16": Q4_K_FILE, "q5_kx16": Q5_K_FILE, "q6_kx16": Q6_K_FILE}
PACKED_FORMS = {"q4_kx16": Q4_K_PACKED, "q5_kx16": Q5_K_PACKED, "q6_kx16": Q6_K_PACKED}

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]


def pack_super_blocks(layout: str, raw: Bytes, columns: int, packed: Bytes) -> None:
    """Repack whole groups of rows. A row of zero bytes stays a row of zeros."""
    blocks = columns // SUPER_COLUMNS
    source = raw.view(FILE_FORMS[layout]).reshape(-1, GROUP_ROWS, blocks)
    target = packed.view(PACKED_FORMS[layout]).reshape(-1, blocks)
    target["d"] = source["d"].transpose(0, 2, 1)
    if layout == "q5_kx16":
        target["bits"] = source["bits"].transpose(0, 2, 3, 1)
    if layout != "q6_kx16":
        target["dmin"] = source["dmin"].transpose(0, 2, 1)
        scales, minimums = split_scales(source["scales"])
        target["scales"] = scales.transpose(0, 2, 3, 1)
        target["minimums"] = minimums.transpose(0, 2, 3, 1)
        target["quants"] = source["quants"].transpose(0, 2, 3, 4, 1)
    else:
        target["scales"] = source["scales"].transpose(0, 2, 3, 1)
        words = target["words"]
        words[:, :, :, :, :2] = source["low"].transpose(0, 2, 3, 5, 4, 1)
        words[:, :, :, :, 2] = source["high"].transpose(0, 2, 3, 4, 1)


def split_scales(packed: Bytes) -> tuple[Bytes, Bytes]:
    """Return the 8 scales and the 8 minimums that 12 bytes hold, along the last axis.

    Bytes 0 to 3 and 4 to 7 hold the first four of each in their low six bits; the others have their low
    four bits in bytes 8 to 11 and their high two in the top bits of bytes 0 to 7.
    """
    first, second, third = packed[..., :4], packed[..., 4:8], packed[..., 8:]
    high_scales = (third & np.uint8(0x0F)) | ((first >> np.uint8(2)) & np.uint8(0x30))
    high_minimums = (third >> np.uint8(4)) | ((second >> np.uint8(2)) & np.uint8(0x30))
    scales = np.concatenate([first & np.uint8(0x3F), high_scales], axis=-1)
    return scales, np.concatenate([second & np.uint8(0x3F), high_minimums], axis=-1)


def unpack_super_blocks(layout: str, packed: Bytes, columns: int) -> Floats:
    """Return the float32 values of whole groups of rows, rounded as the `gguf` package rounds them."""
    blocks = columns // SUPER_COLUMNS
    source = packed.view(PACKED_FORMS[layout]).reshape(-1, blocks)
    d = source["d"].view("<f2").astype(np.float32)[:, :, np.newaxis]
    if layout != "q6_kx16":
        dmin = source["dmin"].view("<f2").astype(np.float32)[:, :, np.newaxis]
        scale = d * source["scales"].astype(np.float32)
        least = dmin * source["minimums"].astype(np.float32)
        words = _bytes_of(source["quants"])  # groups, blocks, pairs, v, rows, 4
        nibbles = np.stack([words & 15, words >> 4], axis=3)
        if layout == "q5_kx16":
            # groups, blocks, pairs, two blocks, v, rows, 4: the bit's number counts the blocks.
            places = np.arange(8, dtype=np.uint8).reshape(4, 2, 1, 1, 1)
            bits = _bytes_of(source["bits"])[:, :, np.newaxis, np.newaxis] >> places & np.uint8(1)
            nibbles = nibbles | bits << np.uint8(4)
        quants = nibbles.transpose(0, 1, 2, 3, 4, 6, 5).reshape(-1, blocks, 8, 32, GROUP_ROWS)
        values = scale[:, :, :, np.newaxis] * quants.astype(np.float32) - least[:, :, :, np.newaxis]
    else:
        scale = d * source["scales"].view(np.int8).astype(np.float32)
        words = _bytes_of(source["words"])  # groups, blocks, halves, v, parts, rows, 4
        first, second, bits = words[:, :, :, :, 0], words[:, :, :, :, 1], words[:, :, :, :, 2]
        parts = [
            (first & 15) | ((bits & 3) << 4),
            (second & 15) | ((bits >> 2 & 3) << 4),
            (first >> 4) | ((bits >> 4 & 3) << 4),
            (second >> 4) | (bits >> 6 << 4),
        ]
        quants = np.stack(parts, axis=3).transpose(0, 1, 2, 3, 4, 6, 5)
        centred = quants.reshape(-1, blocks, 16, 16, GROUP_ROWS).astype(np.float32) - 32
        values = scale[:, :, :, np.newaxis] * centred
    return values.reshape(-1, columns, GROUP_ROWS).transpose(0, 2, 1).reshape(-1, columns)


def _bytes_of(words: NDArray[np.uint32]) -> Bytes:
    return np.ascontiguousarray(words).view(np.uint8).reshape(*words.shape, 4)
