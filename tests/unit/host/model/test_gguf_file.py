"""Honest GGUF files are read; each kind of damage has its sentence."""

import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from gguf.constants import GGMLQuantizationType

from axiom.host.errors import UserError
from axiom.host.model.gguf_file import open_gguf
from tests.unit.host.model.gguf_builder import Entry, gguf_bytes, pair, text, write

F32 = int(GGMLQuantizationType.F32)
ROWS = np.arange(12, dtype="<f4").reshape(3, 4)
MATRIX = Entry("m", (3, 4), F32, ROWS.tobytes())
OTHER = Entry("n", (8,), F32, bytes(32))
VALUES = {"a.text": "häh", "a.number": -3, "a.flag": True, "a.words": ["x", ""], "a.real": 0.5}


def test_metadata_and_tensors_are_as_written(tmp_path: Path) -> None:
    file = open_gguf(write(tmp_path, gguf_bytes(VALUES, [MATRIX, OTHER])))
    assert file.metadata.text("a.text") == "häh"
    assert file.metadata.integer("a.number") == -3
    assert file.metadata.flag("a.flag") is True
    assert file.metadata.texts("a.words") == ["x", ""]
    assert file.metadata.number("a.real") == 0.5
    assert list(file.metadata.keys()) == list(VALUES)
    matrix = file.tensors["m"]
    assert (matrix.shape, matrix.type, matrix.bytes) == ((3, 4), GGMLQuantizationType.F32, 48)
    assert np.array_equal(file.raw(matrix).view("<f4").reshape(3, 4), ROWS)


def test_version_2_is_read(tmp_path: Path) -> None:
    assert open_gguf(write(tmp_path, gguf_bytes(VALUES, version=2))).metadata.integer("a.number") == -3


def test_another_alignment_is_honoured(tmp_path: Path) -> None:
    data = gguf_bytes({"general.alignment": 256}, [MATRIX, OTHER], alignment=256)
    file = open_gguf(write(tmp_path, data))
    assert all(tensor.offset % 256 == 0 for tensor in file.tensors.values())
    assert np.array_equal(file.raw(file.tensors["m"]).view("<f4"), ROWS.reshape(-1))


def test_a_large_vocabulary_is_read_in_well_under_a_second(tmp_path: Path) -> None:
    words = [f"token {i}" for i in range(128_000)]
    path = write(tmp_path, gguf_bytes({"words": words, "more": words, "numbers": list(range(128_000))}))
    start = time.process_time()
    file = open_gguf(path)
    assert time.process_time() - start < 0.8
    assert file.metadata.texts("words") == words


LIES: dict[str, tuple[bytes, str]] = {
    "another format": (b"PK\x03\x04" + bytes(60), "starts with b'PK"),
    "version 1": (gguf_bytes(VALUES, version=1), "its version is 1"),
    "big-endian": (gguf_bytes(VALUES, version=3 << 24), "it is big-endian"),
    "too many tensors": (gguf_bytes(VALUES, n_tensors=1 << 60), "1152921504606846976 tensors"),
    "too many values": (gguf_bytes(VALUES, n_values=1 << 60), "1152921504606846976 values"),
    "one value too many": (gguf_bytes(VALUES, n_values=6), "a metadata key is ''"),
    "a long string": (gguf_bytes([struct.pack("<Q", 1 << 63) + b"abc"]), "it ends within a metadata key"),
    "an endless array": (
        gguf_bytes([text("k") + struct.pack("<IIQ", 9, 0, 1 << 62)]),
        "the value of k claims 4611686018427387904 elements",
    ),
    "endless strings": (
        gguf_bytes([text("k") + struct.pack("<IIQ", 9, 8, 1 << 40)]),
        "the value of k claims 1099511627776 elements",
    ),
    "a cut string array": (
        gguf_bytes([text("k") + struct.pack("<IIQQ", 9, 8, 2, 500) + bytes(16)]),
        "it ends within the value of k",
    ),
    "an array too deep": (
        gguf_bytes([text("k") + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 6 + bytes(64)]),
        "the value of k has the unknown value type 9",
    ),
    "an unknown kind": (gguf_bytes([text("k") + struct.pack("<IQ", 77, 0)]), "unknown value type 77"),
    "not UTF-8": (gguf_bytes([text("k") + struct.pack("<I", 8) + text(b"\xff")]), "k is not UTF-8"),
    "not UTF-8 in an array": (
        gguf_bytes([text("k") + struct.pack("<IIQ", 9, 8, 1) + text(b"\xff")]),
        "the value of k holds a string that is not UTF-8",
    ),
    "a key twice": (gguf_bytes([pair("k", 1), pair("k", 2)]), "the key k stands there twice"),
    "an unprintable key": (gguf_bytes([pair("k\x1b[2J", 1)]), r"a metadata key is 'k\x1b[2J'"),
    "an odd alignment": (gguf_bytes({"general.alignment": 24}, [MATRIX]), "general.alignment is 24"),
    "a tensor twice": (gguf_bytes({}, [MATRIX, MATRIX]), "the tensor m stands there twice"),
    "no name": (gguf_bytes({}, [Entry("", (4,), F32, bytes(16))]), "a tensor's name is ''"),
    "five dimensions": (gguf_bytes({}, [Entry("t", (1,) * 5, F32, bytes(4))]), "t has 5 dimensions"),
    "no dimension": (gguf_bytes({}, [Entry("t", (), F32, b"")]), "t has 0 dimensions"),
    "an empty shape": (gguf_bytes({}, [Entry("t", (4, 0), F32, b"")]), "empty shape (4, 0)"),
    "an unknown type": (gguf_bytes({}, [Entry("t", (4,), 999, bytes(16))]), "t has the unknown type 999"),
    "a broken row": (gguf_bytes({}, [Entry("t", (2, 33), 8, bytes(99))]), "rows of t are 33 long"),
    "unaligned": (gguf_bytes({}, [Entry("t", (4,), F32, bytes(99), offset=8)]), "t lies at 8"),
    "too large": (gguf_bytes({}, [Entry("t", (1 << 40, 1 << 40), F32, b"")]), "the tensor t needs"),
    "outside": (gguf_bytes({}, [Entry("t", (4,), F32, bytes(16), offset=1 << 63)]), "the tensor t needs"),
    "overlapping": (
        gguf_bytes({}, [MATRIX, Entry("t", (4,), F32, bytes(16), offset=32)]),
        "m and t overlap",
    ),
}


@pytest.mark.parametrize("what", LIES)
def test_a_lie_is_named(what: str, tmp_path: Path) -> None:
    data, sentence = LIES[what]
    with pytest.raises(UserError) as caught:
        open_gguf(write(tmp_path, data))
    assert sentence in caught.value.message
    assert caught.value.message.isprintable()


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    whole = gguf_bytes(VALUES, [OTHER, MATRIX])
    for size in range(1, len(whole) - 16):  # the last tensor is followed by 16 bytes of padding
        with pytest.raises(UserError):
            open_gguf(write(tmp_path, whole[:size]))


def _folder(path: Path) -> None:
    path.mkdir()


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _nothing(path: Path) -> None:
    assert not path.exists()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (_folder, "not a regular file"),
        (_pipe, "not a regular file"),
        (Path.touch, "is empty"),
        (_nothing, "no file"),
    ],
)
def test_what_is_no_file_is_refused(make: Callable[[Path], None], sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    make(path)
    with pytest.raises(UserError, match=sentence):
        open_gguf(path)
