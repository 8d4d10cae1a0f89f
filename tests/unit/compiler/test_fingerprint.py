"""The key of a compilation changes with everything that decides what is compiled, and with nothing else."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from axiom.compiler.fingerprint import fingerprint
from axiom.lang import (
    BASELINE,
    X86_64_V3,
    Target,
    array,
    fn,
    static_var,
    table,
    u8,
    u32,
    u64,
)


@dataclass(frozen=True)
class Shape:
    """What a function is specialised for."""

    rows: int
    columns: int

    @property
    def cells(self) -> int:
        """The number of cells."""
        return self.rows * self.columns


def make_constant(value: Any) -> Callable[[], u64]:
    """Return a function that sees a compile-time constant."""

    @fn
    def constant() -> u64:
        return u64(value.cells if isinstance(value, Shape) else value)

    return constant


def make_lookup(values: list[int]) -> Callable[[u32], u32]:
    """Return a function that sees a table."""
    numbers = table(u32, values)

    @fn
    def look_up(i: u32) -> u32:
        return numbers[i]

    return look_up


def make_two(shared: bool) -> Callable[[], u8]:
    """Return a function of two buffers, or of one buffer under two names."""
    first = static_var(array(u8, 16))
    second = first if shared else static_var(array(u8, 16))

    @fn
    def both() -> u8:
        first[0] = 1
        return second[0]

    return both


def key(function: Any, target: Target = BASELINE, level: int = 3) -> str:
    """Return the key of one function, which must have one."""
    found = fingerprint([function], target, level)
    assert found is not None
    return found


def test_the_same_sources_and_constants_have_the_same_key() -> None:
    assert key(make_constant(3)) == key(make_constant(3))
    assert key(make_constant(Shape(2, 3))) == key(make_constant(Shape(2, 3)))
    assert key(make_lookup([1, 2])) == key(make_lookup([1, 2]))
    assert key(make_two(True)) == key(make_two(True))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (make_constant(3), make_constant(4)),
        (make_constant(1), make_constant(True)),
        (make_constant(Shape(2, 3)), make_constant(Shape(3, 2))),
        (make_lookup([1, 2]), make_lookup([1, 3])),
        (make_two(True), make_two(False)),
    ],
    ids=["constants", "types of constants", "fields of a dataclass", "a table", "storage shared or not"],
)
def test_what_a_function_sees_changes_the_key(one: Any, other: Any) -> None:
    assert key(one) != key(other)


def test_the_target_and_the_level_change_the_key() -> None:
    function = make_constant(3)
    assert len({key(function), key(function, X86_64_V3), key(function, BASELINE, 0)}) == 3


SOURCES = {
    "leaf.py": (
        "from axiom.lang import fn, u32\nSTEP = 1\n@fn\ndef leaf(n: u32) -> u32:\n    return n + STEP\n"
    ),
    "helper.py": "def doubled(n):\n    return 2 * n\n",
    "top.py": (
        "import helper\nfrom axiom.lang import fn, u32\nfrom leaf import leaf\n"
        "@fn\ndef top(n: u32) -> u32:\n    return leaf(n) * helper.doubled(3)\n"
    ),
    "unrelated.py": "x = 1\n",
}
PRINT_KEY = (
    "from axiom.compiler.fingerprint import fingerprint\nfrom axiom.lang import BASELINE\n"
    "from top import top\nprint(fingerprint([top], BASELINE, 3))\n"
)


@pytest.mark.parametrize(
    ("file", "before", "after", "changes"),
    [
        ("leaf.py", "n + STEP", "n - STEP", True),
        ("leaf.py", "STEP = 1", "STEP = 2", True),
        ("helper.py", "2 * n", "3 * n", True),
        ("top.py", "doubled(3)", "doubled(4)", True),
        ("unrelated.py", "x = 1", "x = 2", False),
    ],
)
def test_an_edit_of_a_source_that_is_reached_changes_the_key(
    file: str, before: str, after: str, changes: bool, tmp_path: Path
) -> None:
    for name, text in SOURCES.items():
        (tmp_path / name).write_text(text)

    def printed() -> str:
        made = subprocess.run(
            [sys.executable, "-B", "-c", PRINT_KEY],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        return made.stdout

    first = printed()
    assert first == printed() != "None\n"
    (tmp_path / file).write_text(SOURCES[file].replace(before, after))
    assert (printed() != first) == changes
