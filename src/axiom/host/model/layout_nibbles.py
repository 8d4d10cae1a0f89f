"""Blocks of 32 columns in nibbles with a minimum, a fifth bit, or both, sixteen rows side by side.

Read `layout` first. Per group of 16 rows and block: 16 f16 scales, 16 f16 minimums if there are any, 16
words of fifth bits if there are any, then for v in 0..3 16 words of nibbles. The file has the fifth bits of
columns 0, 1, 2, ... from bit 0 on; here bit v of byte e is that of column 4v + e, as the vectors need it.
"""

import numpy as np
from numpy.typing import NDArray

GROUP_ROWS = 16
BLOCK_COLUMNS = 32
_QUANTS = ("quants", "<u4", 4)
Q4_1_FILE = np.dtype([("d", "<u2"), ("m", "<u2"), _QUANTS])
Q5_0_FILE = np.dtype([("d", "<u2"), ("bits", "V4"), _QUANTS])
Q5_1_FILE = np.dtype([("d", "<u2"), ("m", "<u2"), ("bits", "V4"), _QUANTS])
FILE_FORMS = {"q4_1x16": Q4_1_FILE, "q5_0x16": Q5_0_FILE, "q5_1x16": Q5_1_FILE}
_PACKED_QUANTS = ("quants", "<u4", (4, 16))
PACKED_FORMS = {
    "q4_1x16": np.dtype([("d", "<u2", 16), ("m", "<u2", 16), _PACKED_QUANTS]),
    "q5_0x16": np.dtype([("d", "<u2", 16), ("bits", "u1", (16, 4)), _PACKED_QUANTS]),
    "q5_1x16": np.dtype([("d", "<u2", 16), ("m", "<u2", 16), ("bits", "u1", (16, 4)), _PACKED_QUANTS]),
}

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]


def pack_nibbles(layout: str, raw: Bytes, columns: int, packed: Bytes) -> None:
    """Repack whole groups of rows. A row of zero bytes stays a row of zeros."""
    blocks = columns // BLOCK_COLUMNS
    source = raw.view(FILE_FORMS[layout]).reshape(-1, GROUP_ROWS, blocks)
    target = packed.view(PACKED_FORMS[layout]).reshape(-1, blocks)
    target["d"] = source["d"].transpose(0, 2, 1)
    if layout != "q5_0x16":
        target["m"] = source["m"].transpose(0, 2, 1)
    if layout != "q4_1x16":
        bits = np.ascontiguousarray(source["bits"].transpose(0, 2, 1)).view("<u4")
        for e in range(4):
            target["bits"][..., e] = _every_fourth_bit(bits >> np.uint32(e))
    target["quants"] = source["quants"].transpose(0, 2, 3, 1)


def _every_fourth_bit(words: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return bits 0, 4, 8, ... of each word as bits 0 to 7."""
    some = words & np.uint32(0x11111111)
    some = (some | some >> np.uint32(3)) & np.uint32(0x03030303)
    some = (some | some >> np.uint32(6)) & np.uint32(0x000F000F)
    return (some | some >> np.uint32(12)) & np.uint32(0xFF)


def unpack_nibbles(layout: str, packed: Bytes, columns: int) -> Floats:
    """Return the float32 values of whole groups of rows, rounded as the `gguf` package rounds them."""
    blocks = columns // BLOCK_COLUMNS
    source = packed.view(PACKED_FORMS[layout]).reshape(-1, blocks)
    d = source["d"].view("<f2").astype(np.float32)[:, :, np.newaxis]
    words = np.ascontiguousarray(source["quants"]).view(np.uint8).reshape(-1, blocks, 4, GROUP_ROWS, 4)
    quants = np.concatenate([words & np.uint8(15), words >> np.uint8(4)], axis=2)
    if layout != "q4_1x16":
        places = np.arange(8, dtype=np.uint8)[:, np.newaxis, np.newaxis]
        bits = source["bits"][:, :, np.newaxis] >> places & np.uint8(1)
        quants = quants | bits << np.uint8(4)
    by_column = quants.transpose(0, 1, 2, 4, 3).reshape(-1, blocks, BLOCK_COLUMNS, GROUP_ROWS)
    if layout == "q5_0x16":
        values = d * (by_column.astype(np.float32) - 16)
    else:
        values = (
            d * by_column.astype(np.float32) + source["m"].view("<f2").astype(np.float32)[:, :, np.newaxis]
        )
    return values.reshape(-1, columns, GROUP_ROWS).transpose(0, 2, 1).reshape(-1, columns)
