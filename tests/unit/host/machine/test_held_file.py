"""A held file is in the page cache, in huge pages where there are such, and is let go of again."""

import os
from pathlib import Path

import pytest

from axiom.host.machine.held_file import HUGE_PAGE_BYTES, HeldFile, small_pages

N_PAGES = 6


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a file of some huge pages that is on the disk."""
    made = tmp_path / "model"
    with made.open("wb") as file:
        for number in range(N_PAGES):
            file.write(bytes([number + 1]) * HUGE_PAGE_BYTES)
        os.fsync(file.fileno())
    return made


def open_files() -> list[str]:
    return sorted(os.listdir("/proc/self/fd"))


def mappings_of(path: Path) -> int:
    return Path("/proc/self/maps").read_text().count(str(path))


def read_in_small_pages(path: Path) -> None:
    """Have the cache hold every other small page of the file and nothing else of it."""
    with path.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        for offset in range(0, N_PAGES * HUGE_PAGE_BYTES, 8192):
            os.pread(file.fileno(), 4096, offset)


def test_it_is_mapped_while_held_and_nothing_is_left(path: Path) -> None:
    before = open_files()
    held = HeldFile(path)
    held.wait()
    assert mappings_of(path) == 1
    held.close()
    held.close()
    assert mappings_of(path) == 0
    assert open_files() == before


def test_small_pages_become_huge_ones(path: Path) -> None:
    first = HeldFile(path)
    first.wait()
    assert first.place is not None
    if small_pages(*first.place):
        pytest.skip("this file system or this version of Linux has no huge pages in its cache")
    first.close()
    read_in_small_pages(path)
    held = HeldFile(path)
    held.wait()
    assert held.place is not None
    assert small_pages(*held.place) == []
    held.close()
    assert path.read_bytes()[:: HUGE_PAGE_BYTES // 2] == bytes(
        number // 2 + 1 for number in range(2 * N_PAGES)
    )


@pytest.mark.parametrize("size", [0, 100, HUGE_PAGE_BYTES + 1])
def test_odd_sizes_do_no_harm(tmp_path: Path, size: int) -> None:
    path = tmp_path / "odd"
    path.write_bytes(b"x" * size)
    held = HeldFile(path)
    held.wait()
    held.close()


def test_a_file_that_is_not_there_does_no_harm(tmp_path: Path) -> None:
    held = HeldFile(tmp_path / "missing")
    held.wait()
    assert held.place is None
    held.close()
