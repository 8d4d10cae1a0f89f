"""The cache of hosted objects: found again, refused when damaged, bounded, done without when unwritable."""

from pathlib import Path

import pytest

from axiom.compiler import object_cache
from axiom.compiler.hosted import load_hosted
from axiom.compiler.object_cache import StoredObject, cache_folder, read_object, write_object
from axiom.lang import fn, u32

STORED = StoredObject(b"\x7fELF object", [{"symbol": "f", "count": 4}])


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the cache of each test apart."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@fn
def twice(n: u32) -> u32:
    """Return n doubled."""
    return n * 2


def test_an_object_is_found_again() -> None:
    assert read_object("k") is None
    write_object("k", STORED)
    found = read_object("k")
    assert found is not None
    assert (found.data, found.roots) == (STORED.data, STORED.roots)
    assert [file.name for file in cache_folder().iterdir()] == ["k.o"]


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_file_that_is_cut_off_is_not_used(cut: int) -> None:
    write_object("k", STORED)
    file = cache_folder() / "k.o"
    file.write_bytes(file.read_bytes()[:-cut])
    assert read_object("k") is None


def test_a_flipped_bit_is_noticed() -> None:
    write_object("k", STORED)
    file = cache_folder() / "k.o"
    content = bytearray(file.read_bytes())
    content[3] ^= 1
    file.write_bytes(content)
    assert read_object("k") is None


def test_the_oldest_files_go_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_cache, "MAX_FILES", 8)
    for number in range(30):
        write_object(f"{number:02}", STORED)
        assert len(list(cache_folder().iterdir())) <= 8
    assert read_object("29") is not None
    assert read_object("00") is None


def test_a_program_is_compiled_once_and_runs_from_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_hosted([twice])(twice, 4) == 8
    assert len(list(cache_folder().iterdir())) == 1

    def refuse(*_: object) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr("axiom.compiler.hosted.build_program", refuse)
    assert load_hosted([twice])(twice, 5) == 10


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "axiom").write_text("a file where the folder would be")
    assert load_hosted([twice])(twice, 4) == 8
