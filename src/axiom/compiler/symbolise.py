"""Addresses in compiled code to places in Python source, by `addr2line` and the DWARF beside the code.

`addr2line` gives the innermost function of an address the name of the symbol around it, even where another
function is inlined there: names are looked up in the source. Where that is gone, the symbol has to do:
`metal.kernel.log.end.1a2b3c` is `end` specialised for some types.
"""

import ast
import functools
import linecache
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from axiom.compiler.llvm.debug import PACKAGE_PARENT, SOURCE_ROOT

_SPECIALISED = re.compile(r"(?:.*\.)?(?P<name>\w+)\.[0-9a-f]{6}(?:\.\d+)?")
_PLACE = re.compile(r"^(?P<file>.*):(?P<line>\d+|\?)(?: \(.*\))?$")


class SymboliseError(Exception):
    """The places cannot be found; the message says why, `hint` what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True)
class Place:
    """A line of a function; `file` is empty for assembly, `line` 0 where it is not known."""

    function: str
    file: str
    line: int

    def lines(self) -> list[str]:
        """Return the place as Python writes it in a traceback."""
        where = f'  File "{self.file}", line {self.line}, in {self.function}'
        source = linecache.getline(self.file, self.line).strip()
        return [where, f"    {source}"] if source else [where]


def symbolise(image: Path, addresses: Sequence[int]) -> list[list[Place]]:
    """Return for each address the functions that are inlined there, the innermost first.

    `image` may be a relocatable object: addresses are then offsets in its code. Raises SymboliseError when
    `addr2line` is missing or cannot read the file.
    """
    if not addresses:
        return []
    program = shutil.which("addr2line")
    if program is None:
        raise SymboliseError("`addr2line` is not installed", "install binutils (apt-get install binutils)")
    finished = subprocess.run(
        [program, "-a", "-f", "-i", "-C", "-e", image, *(f"{address:#x}" for address in addresses)],
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode != 0:
        raise SymboliseError(f"`addr2line` could not read {image}: {finished.stderr.strip()}")
    return _groups(finished.stdout.splitlines())


def _groups(lines: list[str]) -> list[list[Place]]:
    """Split the output: a line with the address, then a function and a place for each level."""
    groups: list[list[Place]] = []
    at = 0
    while at < len(lines):
        if lines[at].startswith("0x"):
            groups.append([])
            at += 1
        else:
            groups[-1].append(_place(lines[at], lines[at + 1]))
            at += 2
    return groups


def _place(symbol: str, text: str) -> Place:
    found = _PLACE.match(text)
    if found is None or found["file"].startswith(("?", "<")):
        return Place(symbol, "", 0)
    file = found["file"]
    if file.startswith(SOURCE_ROOT + "/"):
        file = str(PACKAGE_PARENT / file[len(SOURCE_ROOT) + 1 :])
    line = int(found["line"]) if found["line"] != "?" else 0
    specialised = _SPECIALISED.fullmatch(symbol)
    name = _enclosing_function(Path(file), line) or (specialised["name"] if specialised else symbol)
    return Place(name, file, line)


def _enclosing_function(file: Path, line: int) -> str:
    """Return the name of the innermost function around a line; empty when there is none."""
    try:
        changed = file.stat().st_mtime_ns
    except OSError:
        return ""
    around = [one for one in _functions(file, changed) if one.first <= line <= one.last]
    return max(around, key=lambda one: one.first).name if around else ""


@dataclass(frozen=True)
class _Lines:
    """The lines of a function."""

    name: str
    first: int
    last: int


@functools.cache
def _functions(file: Path, changed: int) -> list[_Lines]:
    """Return the functions of a file; changed: when it was, so that what is kept is not out of date."""
    try:
        tree = ast.parse(file.read_text())
    except (OSError, SyntaxError, UnicodeDecodeError):
        return []
    return [
        _Lines(node.name, node.lineno, node.end_lineno or node.lineno)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
    ]
