"""A large file appears whole or not at all, and what a killed process left behind goes away."""

import fcntl
from pathlib import Path
from typing import BinaryIO

import pytest

from axiom.host.errors import UserError
from axiom.host.model.whole_file import write_whole


def fill(file: BinaryIO) -> None:
    """Write a little."""
    file.write(b"whole")


def test_the_file_has_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "folder" / "file"

    def look(file: BinaryIO) -> None:
        fill(file)
        assert not target.exists()

    write_whole(target, 5, look)
    assert target.read_bytes() == b"whole"
    assert list(target.parent.iterdir()) == [target]


def test_an_older_file_is_replaced_or_kept(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"old")

    def fail(file: BinaryIO) -> None:
        fill(file)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_whole(target, 5, fail)
    assert target.read_bytes() == b"old"
    write_whole(target, 5, fill)
    assert target.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [target]


def test_more_than_the_disk_holds_is_refused_before_writing(tmp_path: Path) -> None:
    def never(_: BinaryIO) -> None:
        raise AssertionError

    with pytest.raises(UserError, match="too little room") as caught:
        write_whole(tmp_path / "file", 1 << 60, never)
    assert "free some space" in caught.value.hint
    assert not list(tmp_path.iterdir())


def test_what_nobody_writes_any_more_is_removed(tmp_path: Path) -> None:
    abandoned, written = tmp_path / "one.axm.x.part", tmp_path / "two.axm.y.part"
    abandoned.write_bytes(b"left behind")
    with written.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        write_whole(tmp_path / "file", 5, fill)
        assert written.exists()
    assert not abandoned.exists()
