"""A packed model is believed only when it is whole."""

import struct
from pathlib import Path

import google_crc32c
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from axiom.host.model.pack import packed_model
from axiom.host.model.packed_file import DIGEST_CHUNK_BYTES, read_packed
from tests.unit.host.model.gguf_builder import gguf_bytes, llama_entries, llama_values, write


@pytest.fixture(scope="module")
def packed_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a packed model of the very small Llama."""
    folder = tmp_path_factory.mktemp("packed")
    return packed_model(write(folder, gguf_bytes(llama_values(), llama_entries())), folder).path


def test_the_digests_are_those_of_the_weights(packed_path: Path) -> None:
    packed = read_packed(packed_path)
    assert packed is not None
    data = packed_path.read_bytes()
    weights = data[packed.weights_offset : packed.weights_offset + packed.weights_bytes]
    assert len(weights) == packed.weights_bytes
    starts = range(0, len(weights), DIGEST_CHUNK_BYTES)
    digests = [google_crc32c.value(weights[at : at + DIGEST_CHUNK_BYTES]) for at in starts]
    header = packed.header
    table = data[header.digest_offset :][: 4 * header.n_digests]
    assert list(struct.unpack(f"<{header.n_digests}I", table)) == digests
    assert google_crc32c.value(table) == header.digest_table_crc32c


def test_places_are_aligned_and_the_metadata_come_last(packed_path: Path) -> None:
    packed = read_packed(packed_path)
    assert packed is not None
    assert packed.weights_offset % (2 << 20) == 0
    assert packed.weights_bytes % 4096 == 0
    assert packed.header.metadata_offset == packed.weights_offset + packed.weights_bytes
    assert packed_path.stat().st_size % 4096 == 0
    assert packed.tensors[-1].offset + packed.tensors[-1].bytes <= packed.weights_bytes


def test_a_missing_file_is_none(tmp_path: Path) -> None:
    assert read_packed(tmp_path / "absent.axm") is None


@settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_damage_outside_of_the_weights_is_seen(
    packed_path: Path, tmp_path: Path, data: st.DataObject
) -> None:
    packed = read_packed(packed_path)
    assert packed is not None
    whole = bytearray(packed_path.read_bytes())
    header = packed.header
    end = header.metadata_offset + header.metadata_bytes
    in_header = st.integers(0, header.digest_offset + 4 * header.n_digests - 1)
    in_metadata = st.integers(header.metadata_offset, end - 1)
    at = data.draw(st.one_of(in_header, in_metadata))
    whole[at] ^= 1 << data.draw(st.integers(0, 7))
    assert read_packed(write(tmp_path, bytes(whole), "damaged.axm")) is None


@pytest.mark.parametrize("kept", [0, 100, 4096, 1 << 20, 2 << 20, -4096])
def test_a_truncated_file_is_refused(kept: int, packed_path: Path, tmp_path: Path) -> None:
    path = write(tmp_path, packed_path.read_bytes()[:kept], "cut.axm")
    assert read_packed(path) is None
