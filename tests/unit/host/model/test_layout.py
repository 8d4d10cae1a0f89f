"""Packing loses nothing: unpacking gives what `gguf` says the file means, and bytes lie as specified."""

import numpy as np
import pytest
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from axiom.host.model.layout import FILE_FORMS, LAYOUTS, pack_matrix, packed_bytes, row_bytes, unpack_matrix

KINDS = sorted(LAYOUTS, key=int)
QUANTISED = [GGMLQuantizationType.Q8_0, GGMLQuantizationType.Q4_0]
SUPER = {GGMLQuantizationType[name] for name in ("Q4_K", "Q5_K", "Q6_K")}
NIBBLES = {GGMLQuantizationType[name] for name in ("Q4_1", "Q5_0", "Q5_1")}


def columns_of(kind: GGMLQuantizationType, columns: int) -> int:
    """Return a number of columns that rows of this kind can have."""
    return columns * 8 if kind in SUPER else columns


def raw_matrix(kind: GGMLQuantizationType, rows: int, columns: int, seed: int) -> NDArray[np.uint8]:
    """Return random rows as a GGUF file holds them, every number finite."""
    random = np.random.default_rng(seed)
    if kind in SUPER | NIBBLES:
        block_columns, block_bytes = GGML_QUANT_SIZES[kind]
        raw = random.integers(0, 256, rows * columns // block_columns * block_bytes, np.uint8)
        form = FILE_FORMS[LAYOUTS[kind]]
        blocks = raw.view(form)
        for field in {"d", "dmin", "m"} & set(form.fields or ()):
            blocks[field] = random.standard_normal(blocks.size).astype("<f2").view("<u2")
        return raw
    if kind in QUANTISED:
        _, block_bytes = GGML_QUANT_SIZES[kind]
        blocks = random.integers(0, 256, (rows, columns // 32, block_bytes), np.uint8)
        scales = random.standard_normal((rows, columns // 32, 1)).astype("<f2")
        blocks[:, :, :2] = scales.view(np.uint8)
        return blocks.reshape(-1)
    values = random.standard_normal((rows, columns)).astype("<f2" if kind.name == "F16" else "<f4")
    if kind.name == "BF16":
        values = (values.view("<u4") >> 16).astype("<u2")
    return values.view(np.uint8).reshape(-1)


def meaning(kind: GGMLQuantizationType, raw: NDArray[np.uint8], rows: int) -> NDArray[np.float32]:
    """Return what the `gguf` package says these rows mean."""
    return dequantize(raw.reshape(rows, -1), kind)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@settings(deadline=None, max_examples=40)
@given(rows=st.integers(1, 70), blocks=st.integers(1, 5), odd=st.integers(0, 31), seed=st.integers(0, 99))
def test_unpacking_gives_what_the_file_means(
    kind: GGMLQuantizationType, rows: int, blocks: int, odd: int, seed: int
) -> None:
    columns = columns_of(kind, 32 * blocks) - (odd if kind.name in ("F32", "F16", "BF16") else 0)
    raw = raw_matrix(kind, rows, columns, seed)
    packed = pack_matrix(LAYOUTS[kind], raw, rows, columns)
    assert packed.size == packed_bytes(LAYOUTS[kind], rows, columns)
    assert np.array_equal(unpack_matrix(LAYOUTS[kind], packed, rows, columns), meaning(kind, raw, rows))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_pieces_of_whole_groups_join_into_the_matrix(kind: GGMLQuantizationType) -> None:
    rows, columns, layout = 53, columns_of(kind, 96), LAYOUTS[kind]
    raw = raw_matrix(kind, rows, columns, 3)
    cut = 32 * row_bytes(layout, columns)
    parts = [pack_matrix(layout, raw[:cut], 32, columns), pack_matrix(layout, raw[cut:], 21, columns)]
    assert np.array_equal(np.concatenate(parts), pack_matrix(layout, raw, rows, columns))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_used_buffer_leaves_no_trace(kind: GGMLQuantizationType) -> None:
    rows, columns, layout = 19, columns_of(kind, 64), LAYOUTS[kind]
    raw = raw_matrix(kind, rows, columns, 4)
    buffer = np.full(packed_bytes(layout, rows, columns) + 100, 0xA5, np.uint8)
    packed = pack_matrix(layout, raw, rows, columns, buffer)
    assert packed.base is buffer
    assert np.array_equal(packed, pack_matrix(layout, raw, rows, columns))
    assert np.all(buffer[packed.size :] == 0xA5)


def test_a_q8_0_block_lies_as_specified() -> None:
    raw = raw_matrix(GGMLQuantizationType.Q8_0, 32, 64, 5)
    rows = raw.reshape(32, 2, 34)
    packed = pack_matrix("q8_0x16", raw, 32, 64).reshape(2, 2, 544)
    for g, b, r, column in [(0, 0, 0, 0), (0, 1, 15, 31), (1, 0, 7, 18), (1, 1, 3, 5)]:
        row, block = rows[16 * g + r, b], packed[g, b]
        v, e = divmod(column, 4)
        assert bytes(block[2 * r : 2 * r + 2]) == bytes(row[:2])
        assert int(block[32 + 64 * v + 4 * r + e]) == int(row[2 + column]) ^ 0x80


def test_a_q4_0_block_lies_as_specified() -> None:
    raw = raw_matrix(GGMLQuantizationType.Q4_0, 32, 64, 6)
    rows = raw.reshape(32, 2, 18)
    packed = pack_matrix("q4_0x16", raw, 32, 64).reshape(2, 2, 288)
    for g, b, r, column in [(0, 0, 0, 0), (0, 1, 15, 15), (1, 0, 7, 9), (1, 1, 3, 5)]:
        row, block = rows[16 * g + r, b], packed[g, b]
        v, e = divmod(column, 4)
        assert bytes(block[2 * r : 2 * r + 2]) == bytes(row[:2])
        assert block[32 + 64 * v + 4 * r + e] == row[2 + column]  # low nibble: column, high: column + 16


def test_a_q4_k_super_block_lies_as_specified() -> None:
    raw = raw_matrix(GGMLQuantizationType.Q4_K, 32, 512, 7)
    rows = raw.reshape(32, 2, 144)
    packed = pack_matrix("q4_kx16", raw, 32, 512).reshape(2, 2, 2368)
    for g, b, r, column in [(0, 0, 0, 0), (0, 1, 15, 31), (1, 0, 7, 82), (1, 1, 3, 197)]:
        row, block = rows[16 * g + r, b], packed[g, b]
        pair, v, e = column // 64, column % 32 // 4, column % 4
        assert bytes(block[2 * r : 2 * r + 2]) == bytes(row[:2])
        assert bytes(block[32 + 2 * r : 34 + 2 * r]) == bytes(row[2:4])
        assert block[64 + 16 * 2 + r] == row[6] & 63  # the scale of block 2
        assert block[192 + 16 * 5 + r] == row[13] >> 4 | row[9] >> 6 << 4  # the minimum of block 5
        assert block[320 + 512 * pair + 64 * v + 4 * r + e] == row[16 + 32 * pair + column % 32]


def test_a_q6_k_super_block_lies_as_specified() -> None:
    raw = raw_matrix(GGMLQuantizationType.Q6_K, 32, 512, 8)
    rows = raw.reshape(32, 2, 210)
    packed = pack_matrix("q6_kx16", raw, 32, 512).reshape(2, 2, 3360)
    for g, b, r, column in [(0, 0, 0, 0), (0, 1, 15, 31), (1, 0, 7, 18), (1, 1, 3, 5)]:
        row, block = rows[16 * g + r, b], packed[g, b]
        v, e = divmod(column, 4)
        assert bytes(block[2 * r : 2 * r + 2]) == bytes(row[208:])
        assert block[32 + 16 * 11 + r] == row[192 + 11]
        for half in range(2):
            at = 288 + 1536 * half + 192 * v + 4 * r + e
            assert block[at] == row[64 * half + column]
            assert block[at + 64] == row[64 * half + 32 + column]
            assert block[at + 128] == row[128 + 32 * half + column]


@pytest.mark.parametrize("layout", ["f16x16", "f32x16"])
def test_plain_columns_lie_as_specified(layout: str) -> None:
    dtype = np.dtype("<u2" if layout == "f16x16" else "<u4")
    values = np.arange(1, 20 * 6 + 1, dtype=dtype).reshape(20, 6)
    packed = pack_matrix(layout, values.view(np.uint8).reshape(-1), 20, 6).view(dtype).reshape(2, 8, 16)
    assert packed[0, 5, 15] == values[15, 5]
    assert packed[1, 2, 3] == values[19, 2]
    assert not packed[1, :, 4:].any()
    assert not packed[:, 6:].any()


@pytest.mark.parametrize(("kind", "padding"), [("q8_0x16", 0x80), ("q4_0x16", 0x88)])
def test_padding_rows_are_zero(kind: str, padding: int) -> None:
    quants = 32 if kind == "q8_0x16" else 16
    raw = np.full(2 + quants, 0x11, np.uint8)
    packed = pack_matrix(kind, raw, 1, 32)
    assert not packed[2:32].any()
    assert np.all(packed[32:].reshape(-1, 16, 4)[:, 1:] == padding)


def test_a_wrong_count_of_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="2 rows of 32 columns are not 67 bytes"):
        pack_matrix("q8_0x16", np.zeros(67, np.uint8), 2, 32)
