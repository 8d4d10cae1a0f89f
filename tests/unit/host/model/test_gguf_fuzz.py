"""Whatever a file holds, reading it ends in a model or in one printable sentence, never otherwise."""

import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from axiom.host.errors import UserError
from axiom.host.model.gguf_file import open_gguf
from axiom.host.model.llama import read_llama
from axiom.host.model.pack import packed_model
from axiom.host.model.vocabulary import read_vocabulary
from axiom.host.serve.tokenizer import Tokenizer
from tests.unit.host.model.gguf_builder import gguf_bytes, llama_entries, llama_values, write

WHOLE = gguf_bytes(llama_values(), llama_entries())
HEAD_BYTES = WHOLE.index(b"blk.1.ffn_down.weight") + 64  # everything but weights
EXTREMES = (0, 1, 31, 32, 33, 1 << 31, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, len(WHOLE))
anywhere = st.integers(0, HEAD_BYTES - 9)
flips = st.lists(st.tuples(anywhere, st.integers(0, 7)), min_size=1, max_size=6)
settings.register_profile(
    "files", deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150
)
files = settings.get_profile("files")


def refusal(path: Path) -> str:
    """Read a file as packing does; return the sentence that refuses it, or nothing."""
    try:
        file = open_gguf(path)
        read_llama(file)
        Tokenizer(read_vocabulary(file.metadata)).decode([0, 1, 2])
    except UserError as error:
        return error.message
    return ""


def read_everything(path: Path) -> None:
    """Read a file; let nothing out but a UserError of one printable line."""
    sentence = refusal(path)
    assert not sentence or sentence.isprintable()
    assert len(sentence) < 600


def test_the_whole_file_is_read(tmp_path: Path) -> None:
    assert not refusal(write(tmp_path, WHOLE))


@settings(files)
@given(size=st.integers(1, len(WHOLE) - 1))
def test_a_truncated_file_is_refused(size: int, tmp_path: Path) -> None:
    path = write(tmp_path, WHOLE[:size])
    with pytest.raises(UserError):
        read_llama(open_gguf(path))


@settings(files)
@given(flips=flips)
def test_flipped_bits_do_no_harm(flips: list[tuple[int, int]], tmp_path: Path) -> None:
    data = bytearray(WHOLE)
    for at, bit in flips:
        data[at] ^= 1 << bit
    read_everything(write(tmp_path, bytes(data)))


@settings(files)
@given(at=anywhere, value=st.sampled_from(EXTREMES))
def test_lying_sizes_do_no_harm(at: int, value: int, tmp_path: Path) -> None:
    data = WHOLE[:at] + struct.pack("<Q", value) + WHOLE[at + 8 :]
    read_everything(write(tmp_path, data))


@settings(files)
@given(at=anywhere, junk=st.binary(min_size=1, max_size=40))
def test_overwritten_bytes_do_no_harm(at: int, junk: bytes, tmp_path: Path) -> None:
    read_everything(write(tmp_path, WHOLE[:at] + junk + WHOLE[at + len(junk) :]))


@settings(files)
@given(junk=st.binary(max_size=400))
def test_junk_after_the_magic_number_is_refused(junk: bytes, tmp_path: Path) -> None:
    path = write(tmp_path, b"GGUF" + junk)
    with pytest.raises(UserError):
        read_llama(open_gguf(path))


@settings(files, max_examples=40)
@given(flips=flips)
def test_a_refused_file_leaves_no_packed_model(flips: list[tuple[int, int]], tmp_path: Path) -> None:
    data = bytearray(WHOLE)
    for at, bit in flips:
        data[at] ^= 1 << bit
    path, cache = write(tmp_path, bytes(data)), tmp_path / "cache"
    before = sorted(cache.glob("*.axm"))
    if refusal(path):
        with pytest.raises(UserError):
            packed_model(path, cache)
        assert sorted(cache.glob("*.axm")) == before
    else:
        packed_model(path, cache)
    assert not list(cache.glob("*.part"))
