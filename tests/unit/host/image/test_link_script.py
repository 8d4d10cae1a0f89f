"""Linking an image, and reading it back."""

import subprocess
from pathlib import Path

import pytest

from axiom.abi.boot import IMAGE_ADDRESS, PAGE_BYTES
from axiom.compiler.objects import compile_object
from axiom.host.errors import MachineError, UserError
from axiom.host.image.elf import read_elf
from axiom.host.image.link_script import link
from axiom.lang import array, asm, fn, static_var, table, u8, u64, unsafe
from axiom.metal.arch.assembly import ASSEMBLY
from axiom.metal.kernel.image_regions import IMAGE_PARTS
from axiom.metal.kernel.panic import exception_handler, panic_handler

PRIMES = table(u8, [2, 3, 5, 7])
counts = static_var(array(u64, 600))


@fn(export="axiom_main")
def main(start_info: u64) -> None:
    counts[start_info] = u64(PRIMES[start_info])


@fn(export="axiom_main")
def call_nothing(start_info: u64) -> None:
    # SAFETY: never executed.
    with unsafe:
        asm("call a_function_that_is_nowhere", "~{memory}")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("link") / "image.elf"
    link([compile_object([main, panic_handler, exception_handler], list(ASSEMBLY))], path)
    return path


def test_the_parts_lie_in_order_on_pages_of_their_own(image: Path) -> None:
    elf = read_elf(image)
    at = IMAGE_ADDRESS
    for _, first, last in IMAGE_PARTS:
        assert elf.symbol(first) == at
        assert elf.symbol(last) > at
        at = elf.symbol(last)
        assert at % PAGE_BYTES == 0


def test_every_segment_lies_in_its_part_and_none_is_writable_and_executable(image: Path) -> None:
    elf = read_elf(image)
    parts = [(elf.symbol(first), elf.symbol(last)) for _, first, last in IMAGE_PARTS]
    assert len(elf.segments) == len(parts)
    for segment, (start, end) in zip(elf.segments, parts, strict=True):
        assert start <= segment.address
        assert segment.address + segment.memory_bytes <= end
        assert segment.flags & 3 != 3


def test_entry_is_the_pvh_stub_and_the_note_points_to_it(image: Path) -> None:
    elf = read_elf(image)
    assert elf.entry == elf.symbol("axiom_start32") == IMAGE_ADDRESS
    notes = subprocess.run(["readelf", "-n", image], capture_output=True, text=True, check=True).stdout
    assert "Xen" in notes


def test_an_undefined_symbol_is_refused_by_name_and_leaves_nothing(tmp_path: Path) -> None:
    made = compile_object([call_nothing, panic_handler, exception_handler], list(ASSEMBLY))
    with pytest.raises(MachineError, match="a_function_that_is_nowhere"):
        link([made], tmp_path / "image.elf")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_linker_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineError, match="`ld` is not installed"):
        link([], tmp_path / "image.elf")


def test_a_file_that_is_no_image_is_refused(tmp_path: Path, image: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"hello")
    with pytest.raises(UserError, match="not an x86-64 ELF image"):
        read_elf(path)
    path.write_bytes(image.read_bytes()[:5000])
    with pytest.raises(UserError, match="not an x86-64 ELF image"):
        read_elf(path)
    with pytest.raises(UserError, match="cannot read"):
        read_elf(tmp_path / "absent")


def test_an_absent_symbol_is_refused_by_name(image: Path) -> None:
    with pytest.raises(UserError, match="`no_such_symbol`"):
        read_elf(image).symbol("no_such_symbol")


def test_the_same_source_gives_the_same_bytes(image: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.elf"
    link([compile_object([main, panic_handler, exception_handler], list(ASSEMBLY))], again)
    assert again.read_bytes() == image.read_bytes()
