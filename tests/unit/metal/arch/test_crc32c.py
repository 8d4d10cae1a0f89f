"""CRC-32C agrees with an independent implementation, whole and in pieces."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from axiom.metal.arch.crc32c import N_STREAMS, STREAM_BYTES, crc32c_update
from tests.support.checksums import crc32c
from tests.support.targets import HOSTED_TARGETS, TARGETS, run


def _bytes(data: bytes) -> "np.ndarray[tuple[int], np.dtype[np.uint8]]":
    return np.frombuffer(data, np.uint8).copy()


# RFC 3720, B.4.
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
        (b"", 0),
    ],
)
def test_it_gives_the_published_values(target: str, data: bytes, expected: int) -> None:
    assert int(run(target, crc32c_update, 0, _bytes(data))) == expected


BLOCK = N_STREAMS * STREAM_BYTES


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "length", [BLOCK - 1, BLOCK, BLOCK + 1, BLOCK + 8, 2 * BLOCK - 7, 2 * BLOCK + 4099]
)
def test_long_data_are_taken_in_streams_and_short_rests(target: str, length: int) -> None:
    rng = np.random.default_rng()
    for data in (bytes(length), b"\xff" * length, rng.bytes(length)):
        start = int(rng.integers(0, 64))
        middle = int(run(target, crc32c_update, 0, _bytes(data[:start])))
        assert int(run(target, crc32c_update, middle, _bytes(data[start:]))) == crc32c(data)


@pytest.mark.parametrize("target", HOSTED_TARGETS)
def test_every_bit_of_a_block_counts(target: str) -> None:
    good = np.random.default_rng(1).integers(0, 256, BLOCK + 5, np.uint8)
    expected = int(run(target, crc32c_update, 0, good))
    for bit in range(0, 8 * len(good), 61):
        bad = good.copy()
        bad[bit // 8] ^= 1 << bit % 8
        assert int(run(target, crc32c_update, 0, bad)) != expected


@pytest.mark.parametrize("target", TARGETS)
@given(data=st.binary(max_size=300), cut=st.integers(0, 300))
def test_pieces_give_what_the_whole_gives(target: str, data: bytes, cut: int) -> None:
    first, second = data[:cut], data[cut:]
    middle = int(run(target, crc32c_update, 0, _bytes(first)))
    assert middle == crc32c(first)
    assert int(run(target, crc32c_update, middle, _bytes(second))) == crc32c(data)
