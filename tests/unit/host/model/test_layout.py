"""Packing loses nothing: unpacking gives what `gguf` says the file means, and bytes lie as specified."""

import numpy as np
import pytest
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from axiom.host.model.layout import LAYOUTS, pack_matrix, packed_bytes, row_bytes, unpack_matrix

KINDS = sorted(LAYOUTS, key=int)
QUANTISED = [GGMLQuantizationType.Q8_0, GGMLQuantizationType.Q4_0]


def raw_matrix(kind: GGMLQuantizationType, rows: int, columns: int, seed: int) -> NDArray[np.uint8]:
    """Return random rows as a GGUF file holds them, every number finite."""
    random = np.random.default_rng(seed)
    if kind in QUANTISED:
        _, block_bytes = GGML_QUANT_SIZES[kind]
        blocks = random.integers(0, 256, (rows, columns // 32, block_bytes), np.uint8)
        scales = random.standard_normal((rows, columns // 32, 1)).astype("<f2")
        blocks[:, :, :2] = scales.view(np.uint8)
        return blocks.reshape(-1)
    values = random.standard_normal((rows, columns)).astype("<f2" if kind.name == "F16" else "<f4")
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
    columns = 32 * blocks - (0 if kind in QUANTISED else odd)
    raw = raw_matrix(kind, rows, columns, seed)
    packed = pack_matrix(LAYOUTS[kind], raw, rows, columns)
    assert packed.size == packed_bytes(LAYOUTS[kind], rows, columns)
    assert np.array_equal(unpack_matrix(LAYOUTS[kind], packed, rows, columns), meaning(kind, raw, rows))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_pieces_of_whole_groups_join_into_the_matrix(kind: GGMLQuantizationType) -> None:
    rows, columns, layout = 53, 96, LAYOUTS[kind]
    raw = raw_matrix(kind, rows, columns, 3)
    cut = 32 * row_bytes(layout, columns)
    parts = [pack_matrix(layout, raw[:cut], 32, columns), pack_matrix(layout, raw[cut:], 21, columns)]
    assert np.array_equal(np.concatenate(parts), pack_matrix(layout, raw, rows, columns))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_used_buffer_leaves_no_trace(kind: GGMLQuantizationType) -> None:
    rows, columns, layout = 19, 64, LAYOUTS[kind]
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
