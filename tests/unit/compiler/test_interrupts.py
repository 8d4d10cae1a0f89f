"""Interrupt handlers as machine code: leaves that return with `iretq` and touch no vector register."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from axiom.compiler.diagnostics import CompileError
from axiom.compiler.hosted import load_hosted
from axiom.compiler.objects import compile_object
from axiom.lang import (
    X86_64_V4_VNNI,
    array,
    fn,
    static_var,
    struct,
    u8,
    u32,
    u64,
    urange,
    volatile_load,
    volatile_store,
    wrapping_add,
    zeroed,
)

VECTOR_REGISTERS = re.compile(r"%[xyz]mm\d|%k\d|%mm\d|%st")


@struct
class Frame:
    instruction: u64
    code_segment: u64
    flags: u64
    stack_pointer: u64
    stack_segment: u64


@struct
class Seen:
    count: u64
    last: u64
    small: u8


seen = static_var(zeroed(Seen))
words = static_var(array(u64, 64))


@fn(inline="always")
def note(address: u64) -> None:
    seen.count = wrapping_add(seen.count, u64(1))
    seen.last = address


@fn(interrupt=True, export="on_interrupt")
def on_interrupt(frame: Frame) -> None:
    note(frame.instruction)
    for i in urange(u64(64)):
        # What a processor with vectors would add in them.
        if i % 8 == 7:
            volatile_store(words.all, 3, wrapping_add(volatile_load(words.all, 3), i >> 1))


@fn(interrupt=True, export="on_fault")
def on_fault(frame: Frame, code: u64) -> None:
    note(frame.instruction ^ code)


@fn(interrupt=True, export="on_nothing")
def on_nothing() -> None:
    volatile_store(words.all, 0, u64(seen.small))


@fn(export="last_seen")
def last_seen() -> u64:
    return seen.last + seen.count + words[2]


def listing(functions: list[Any], folder: Path) -> dict[str, list[str]]:
    """Return the instructions of each function."""
    (folder / "code.o").write_bytes(compile_object(functions, [], X86_64_V4_VNNI))
    command = ["objdump", "-dr", "--no-show-raw-insn", folder / "code.o"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, list[str]] = {}
    name = ""
    for line in text.splitlines():
        if start := re.match(r"[0-9a-f]+ <([^>]+)>:", line):
            name = start[1]
            found[name] = []
        elif "\t" in line and name:
            found[name].append(line.split("\t", 1)[1])
    return found


def test_a_handler_is_a_leaf_without_vector_registers(tmp_path: Path) -> None:
    code = listing([on_interrupt, on_fault, on_nothing, last_seen], tmp_path)
    for name in ("on_interrupt", "on_fault", "on_nothing"):
        text = "\n".join(code[name])
        assert code[name][-1].startswith("iretq") or "iretq" in text
        assert "call" not in text
        assert "axiom_panic" not in text
        assert VECTOR_REGISTERS.search(text) is None
        assert len(code[name]) > 4
    # The same words can be seen from ordinary code, which has checks and returns as ever.
    assert "axiom_panic" in "\n".join(code["last_seen"])
    assert "iretq" not in "\n".join(code["last_seen"])


def test_a_handler_runs_under_cpython() -> None:
    frame = Frame(
        instruction=u64(0x1234),
        code_segment=u64(0),
        flags=u64(0),
        stack_pointer=u64(0),
        stack_segment=u64(0),
    )
    before = int(seen.count)
    on_fault(frame, u64(1))
    assert (int(seen.count), int(seen.last)) == (before + 1, 0x1235)


@fn
def unrelated(n: u32) -> u32:
    return n


def test_a_process_has_no_use_for_a_handler() -> None:
    with pytest.raises(CompileError, match="`on_nothing` is an interrupt handler: only the processor"):
        load_hosted([unrelated, on_nothing])
