"""Small programs of the language kept as text, and what becomes of them.

A file of programs holds entries between lines of `=`: a comment that says what the program shows, the
program, a line of `-`, and what is expected of it. A program sees all of `axiom.lang` and `IntEnum`; its
roots are the functions named `root...`.
"""

import enum
import itertools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import axiom.lang
from axiom.compiler.checks import check_program
from axiom.compiler.diagnostics import CompileError
from axiom.compiler.frontend.program import build_program

_numbers = itertools.count()


@dataclass(frozen=True)
class Program:
    """One entry of a file: `title` is its first comment, `expected` what follows the line of `-`."""

    file: str
    title: str
    source: str
    expected: str

    @property
    def id(self) -> str:
        """The name of the test of this program."""
        return f"{self.file}: {self.title}"


def read_programs(folder: Path) -> list[Program]:
    """Return the programs of every `.txt` file in a folder."""
    found: list[Program] = []
    for path in sorted(folder.glob("*.txt")):
        for entry in re.split(r"^=+\n", path.read_text(), flags=re.MULTILINE):
            if entry.strip():
                source, _, expected = entry.partition("\n----\n")
                title = source.partition("\n")[0].removeprefix("# ")
                found.append(Program(path.stem, title, source + "\n", expected.strip("\n")))
    return found


def write_programs(folder: Path, programs: list[Program]) -> None:
    """Write programs back to their files."""
    for name in {program.file for program in programs}:
        entries = [f"{p.source}----\n{p.expected}\n" for p in programs if p.file == name]
        (folder / f"{name}.txt").write_text(("=" * 20 + "\n").join(entries))


def execute(source: str, folder: Path, known: dict[str, Any] | None = None) -> dict[str, Any]:
    """Run a program as a module under CPython, with some names known to it, and return what it defines."""
    path = folder / f"program{next(_numbers)}.py"
    path.write_text(source)
    scope: dict[str, Any] = {name: getattr(axiom.lang, name) for name in axiom.lang.__all__}
    scope |= {"IntEnum": enum.IntEnum, "__name__": "program", "__file__": str(path)} | (known or {})
    exec(compile(source, str(path), "exec"), scope)
    return scope


def roots(scope: dict[str, Any]) -> list[Any]:
    """Return the functions that a program is compiled for."""
    return [value for name, value in scope.items() if name.startswith("root")]


def complaint(source: str, folder: Path) -> str:
    """Return what the compiler says of a program, with the file called `program.py`; empty for nothing."""
    try:
        program = build_program(roots(execute(source, folder)))
        check_program(program)
    except CompileError as error:
        return re.sub(rf"{re.escape(str(folder))}/program\d+\.py", "program.py", str(error))
    return ""


def function_named(scope: dict[str, Any], name: str) -> Any:
    """Return a function that a program defines."""
    return scope[name]
