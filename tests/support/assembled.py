"""Images of a few instructions of 32-bit assembly behind a PVH note."""

import shutil
import subprocess
from pathlib import Path

import pytest

_SOURCE = """
.section .note.pvh, "a", @note
.long 4, 4, 18
.asciz "Xen"
.long start
.section .text
.code32
.globl start
start:
{body}
"""
_LEAVE = "  movb ${code}, %al\n  outb %al, $0xf4\n1: jmp 1b\n"


def make_image(folder: Path, body: str, address: int = 0x20_0000) -> Path:
    """Assemble and link an image that is loaded at an address and begins there."""
    for program in ("as", "ld"):
        if shutil.which(program) is None:
            pytest.skip(f"binutils (`{program}`) are not installed")
    image = folder / "image.elf"
    source = _SOURCE.format(body=body)
    subprocess.run(["as", "--64", "-o", folder / "image.o"], input=source.encode(), check=True)
    command = ["ld", "-m", "elf_x86_64", "-N", f"-Ttext={address:#x}", "-e", "start", "-o", image]
    subprocess.run([*command, folder / "image.o"], check=True)
    return image


def leave(code: int) -> str:
    """Assembly that leaves with a code."""
    return _LEAVE.format(code=code)
