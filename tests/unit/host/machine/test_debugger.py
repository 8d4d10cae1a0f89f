"""Breakpoints by Python place, and the arguments that gdb gets."""

from pathlib import Path

import pytest

from axiom.compiler.llvm.debug import PACKAGE_PARENT
from axiom.host.errors import MachineError, UserError
from axiom.host.machine.debugger import Debugger, find_breakpoint, free_port, gdb_arguments

ENGINE = "axiom/metal/engine/engine.py"


@pytest.mark.parametrize("written", ["engine.py", "engine/engine.py", ENGINE, str(PACKAGE_PARENT / ENGINE)])
def test_a_breakpoint_names_a_file_by_as_much_of_its_path_as_is_needed(written: str) -> None:
    assert find_breakpoint(f"{written}:30") == f"{ENGINE}:30"
    assert find_breakpoint(f"{written}:sample_token") == f"{ENGINE}:sample_token"


@pytest.mark.parametrize(
    ("text", "complaint", "hint"),
    [
        ("engine.py", "is not understood", "FILE.py:LINE"),
        (":12", "is not understood", "FILE.py:LINE"),
        ("engine.py:", "is not understood", "FILE.py:LINE"),
        ("engines.py:12", "the kernel has no file engines.py", ""),
        ("/engine.py:12", "the kernel has no file /engine.py", ""),
        ("engine.py:0", "has no line 0 to stop at", ""),
        ("engine.py:100000", "has no line 100000 to stop at", ""),
        ("engine.py:no_such_name", "has no function no_such_name to stop at", ""),
        ("__init__.py:1", "boot/__init__.py, ", "write more of the path"),
    ],
)
def test_a_place_that_is_not_there_is_refused_in_words(text: str, complaint: str, hint: str) -> None:
    with pytest.raises(UserError) as caught:
        find_breakpoint(text)
    assert complaint in caught.value.message
    assert hint in caught.value.hint


def test_gdb_connects_before_it_sets_breakpoints() -> None:
    port = free_port()
    program, *rest = gdb_arguments(Path("kernel.elf"), port, [f"{ENGINE}:30"])
    commands = [rest[i + 1] for i, word in enumerate(rest) if word == "-ex"]
    assert (program, "kernel.elf" in rest) == ("gdb", True)
    assert commands.index(f"target remote 127.0.0.1:{port}") < commands.index(f"break {ENGINE}:30")
    assert "break *axiom_panic" in commands


def test_a_missing_gdb_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineError, match="not installed") as caught:
        Debugger(["gdb"])
    assert "apt-get install gdb" in caught.value.hint
