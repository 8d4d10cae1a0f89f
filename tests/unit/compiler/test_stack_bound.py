"""Stack bounds read from machine code: deepest paths, a panic within a panic, and what has no bound."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from axiom.compiler.objects import compile_object
from axiom.compiler.stack_bound import StackBound, StackError, stack_bounds
from axiom.lang import Slice, array, fn, u8, u32, u64, urange

PANIC_BYTES = 256
# What the code generator may call; nothing here runs.
ROUTINES = ".text\n.globl memset\nmemset:\n  ret\n.globl memcpy\nmemcpy:\n  ret\n"


@fn(export="axiom_panic", inline="never")
def panic_handler(reason: u32, first: u64, second: u64, message: Slice[u8]) -> None:
    """Stand in for the kernel's handler: it uses some stack and may panic itself."""
    scratch = array(u8, PANIC_BYTES)
    for i in urange(u64(PANIC_BYTES)):
        scratch[i] = u8((first + i) & 255)
    assert scratch[second & 127] != scratch[message.length & 127], "again"


@fn(inline="never")
def wide(n: u64) -> u64:
    """Use a kilobyte."""
    numbers = array(u64, 128)
    for i in urange(u64(128)):
        numbers[i] = i ^ n
    return numbers[n & 127]


@fn(inline="never")
def narrow(n: u64) -> u64:
    """Use next to nothing, and never panic."""
    return n ^ 5


@fn(export="shallow")
def shallow(n: u64) -> u64:
    """Reach `narrow` only."""
    return narrow(n)


@fn(export="deep")
def deep(n: u64) -> u64:
    """Reach both."""
    return narrow(n) ^ wide(n)


def bounds(folder: Path, entries: list[str], assembly: str = "") -> dict[str, StackBound]:
    """Link the functions above with some assembly and return the bounds of entry points."""
    functions: list[Any] = [panic_handler, shallow, deep]
    (folder / "code.o").write_bytes(compile_object(functions, [ROUTINES, assembly]))
    command = ["ld", "-e", "shallow", "-o", folder / "image", folder / "code.o"]
    subprocess.run(command, check=True, capture_output=True)
    return stack_bounds(folder / "image", entries, frozenset({"leave"}), "axiom_panic")


def test_the_deepest_path_counts(tmp_path: Path) -> None:
    found = bounds(tmp_path, ["shallow", "deep", "axiom_panic"])
    assert 16 <= found["shallow"].bytes <= 64
    names = [name for name, _ in found["deep"].path]
    assert [name.rpartition(".")[0].rpartition(".")[2] for name in names[1:2]] == ["wide"]
    own = dict(found["deep"].path)[names[1]]
    # The array, its alignment to a cache line, and what the frame saves.
    assert 1024 <= own <= 1024 + 64 + 96
    assert found["deep"].bytes == sum(frame for _, frame in found["deep"].path)


def test_a_panic_within_a_panic_is_counted(tmp_path: Path) -> None:
    found = bounds(tmp_path, ["axiom_panic"])["axiom_panic"]
    assert [name for name, _ in found.path] == ["axiom_panic", "axiom_panic"]
    assert found.bytes == 2 * found.path[0][1] >= 2 * PANIC_BYTES


ASSEMBLY = """
.text
.globl pushes
pushes:
  pushq %rax
  pushq %rbx
  subq $0x40, %rsp
  call shallow
  addq $0x50, %rsp
  ret
.globl around
around:
  call back
  ret
back:
  jmp around
.globl dynamic
dynamic:
  subq %rax, %rsp
  ret
.globl anywhere
anywhere:
  call *%rax
  ret
.globl switches
switches:
  pushq %rax
  jmp leave
leave:
  movq %rdi, %rsp
  call *%rsi
  ud2
"""


def test_assembly_is_counted(tmp_path: Path) -> None:
    found = bounds(tmp_path, ["pushes", "shallow", "switches"], ASSEMBLY)
    assert found["pushes"].bytes == 8 + 16 + 64 + found["shallow"].bytes
    assert found["switches"].bytes == 16


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ("around", "a cycle: around -> back -> around"),
        ("dynamic", "`dynamic` has no stack bound: it reserves an amount known only at run time"),
        ("anywhere", "`anywhere` has no stack bound: it calls an address known only at run time"),
        ("missing", "the image has no function `missing`"),
    ],
)
def test_what_has_no_bound_is_named(entry: str, text: str, tmp_path: Path) -> None:
    with pytest.raises(StackError, match=text.replace("*", "\\*")):
        bounds(tmp_path, [entry], ASSEMBLY)
