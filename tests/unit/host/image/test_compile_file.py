"""`axiom compile`: the forms that it gives, and what it says of files that will not do."""

from pathlib import Path

import pytest

from axiom.host.errors import ProgramError, UserError
from axiom.host.image.compile_file import compile_file

PROGRAM = """\
from axiom.lang import Slice, fn, u32, urange


@fn
def total(numbers: Slice[u32]) -> u32:
    result = u32(0)
    for i in urange(numbers.length):
        result += numbers[i]
    return result
"""


def compiled(folder: Path, form: str, source: str = PROGRAM, processor: str = "v3") -> bytes:
    """Compile a program from a file."""
    path = folder / "sums.py"
    path.write_text(source)
    return compile_file(path, form, processor, 3)


def test_every_form_is_given(tmp_path: Path) -> None:
    assert b'define fastcc i32 @"sums.total.' in compiled(tmp_path, "ir")
    assert b"\tretq" in compiled(tmp_path, "asm")
    assert compiled(tmp_path, "obj")[:4] == b"\x7fELF"


def test_a_listing_shows_each_line_above_its_instructions(tmp_path: Path) -> None:
    lines = compiled(tmp_path, "listing").decode().splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("# sums.py:8:"))
    assert lines[at].endswith("result += numbers[i]")
    assert lines[at + 1].startswith("\tadd")


def test_the_processor_decides_the_instructions(tmp_path: Path) -> None:
    source = (
        "from axiom.lang import Slice, f32, fn, fma, vload, vstore\n"
        "@fn\ndef work(x: Slice[f32]) -> None:\n"
        "    a = vload(x, 0, 16)\n    vstore(x, 0, fma(a, a, a))\n"
    )
    assert b"%zmm" in compiled(tmp_path, "asm", source, "v4vnni")
    wide = compiled(tmp_path, "asm", source, "v3")
    assert b"%ymm" in wide
    assert b"%zmm" not in wide


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (PROGRAM.replace("numbers[i]", "i"), "sums.py:8:9: error: u32 meets u64"),
        ("def f(:\n", "sums.py:1: error: invalid syntax"),
        ("from axiom.lang import fn\n\nbroken = 1 // 0\n", "sums.py:3: error: ZeroDivisionError"),
    ],
)
def test_a_program_that_is_wrong_is_shown_where(source: str, text: str, tmp_path: Path) -> None:
    with pytest.raises(ProgramError) as caught:
        compiled(tmp_path, "obj", source)
    assert text in caught.value.message


def test_bad_requests_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no form 'elf'"):
        compiled(tmp_path, "elf")
    with pytest.raises(UserError, match="no processor '386'"):
        compiled(tmp_path, "obj", processor="386")
    with pytest.raises(UserError, match="no function that can be compiled by itself"):
        compiled(tmp_path, "obj", "x = 1\n")
    with pytest.raises(UserError, match="there is no file"):
        compile_file(tmp_path / "nothing.py", "obj", "v3", 3)
