"""Units: a change compiles only what it touches, and the parts link into one whole."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from axiom.compiler import units
from axiom.compiler.frontend.program import build_program
from axiom.compiler.units import compile_units, split_texts
from tests.language.programs import execute

TRIPLE = "x86_64-unknown-none-elf"
HEAVY = """
from axiom.lang import *

calls = static_var(array(u32, 1))

@fn
def shared(n: u32) -> u32:
    return wrapping_mul(n, u32(2654435761)) >> 7

@fn
def heavy(n: u32) -> u32:
    return shared(n) ^ 5

@fn
def counting(n: u32) -> u32:
    calls[0] += 1
    return shared(n) ^ calls[0]
"""
MAIN = """
from axiom.lang import *

@fn(export="root")
def root(n: u32) -> u32:
    return shared(heavy(n)) + counting(n) + counting(n + 1)
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the cache of each test apart."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def texts(folder: Path, heavy: str = HEAVY, main: str = MAIN) -> list[str]:
    """Return the units of a program of two modules, of which `heavy` is split off."""
    below = execute(heavy, folder)
    for name in ("shared", "heavy", "counting"):
        below[name].__module__ = "heavy"
    scope: dict[str, Any] = {name: below[name] for name in ("shared", "heavy", "counting")}
    root = execute(main, folder, scope)["root"]
    return split_texts(build_program([root]), {"heavy"}, TRIPLE, [])


def symbols(folder: Path, objects: list[bytes]) -> list[str]:
    """Return the defined and undefined symbols of each object, internal ones in lower case."""
    found: list[str] = []
    for number, data in enumerate(objects):
        path = folder / f"{number}.o"
        path.write_bytes(data)
        listed = subprocess.run(["nm", path], check=True, capture_output=True, text=True).stdout
        names = [line.split()[-2:] for line in listed.splitlines()]
        found.append(
            " ".join(sorted(f"{kind}:{name.split('.')[-2]}" for kind, name in names if "." in name))
        )
    return found


def test_functions_that_share_storage_stay_together(tmp_path: Path) -> None:
    made = symbols(tmp_path, compile_units(texts(tmp_path), TRIPLE, 0))
    assert len(made) == 3
    assert "T:heavy" in made[0]
    assert "T:shared" in made[1]
    assert "t:counting" in made[2]
    assert "U:heavy" in made[2]


def test_only_what_has_changed_is_compiled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[str] = []
    emit = units.emit_object

    def counted(text: str, triple: str, level: int = 3) -> bytes:
        compiled.append(text)
        return emit(text, triple, level)

    monkeypatch.setattr(units, "emit_object", counted)
    monkeypatch.setattr(units, "_in_process", counted)
    compile_units(texts(tmp_path), TRIPLE, 3)
    assert len(compiled) == 3
    same = texts(tmp_path)
    compiled.clear()
    first = compile_units(same, TRIPLE, 3)
    compiled.clear()
    assert compile_units(same, TRIPLE, 3) == first
    assert compiled == []


def test_the_parts_link_into_one_whole(tmp_path: Path) -> None:
    objects = compile_units(texts(tmp_path), TRIPLE, 3)
    panic = ".globl axiom_panic\naxiom_panic:\n  ud2\n"
    (tmp_path / "panic.s").write_text(panic)
    subprocess.run(["as", "-o", tmp_path / "panic.o", tmp_path / "panic.s"], check=True)
    paths = [tmp_path / f"{number}.o" for number in range(len(objects))]
    for path, data in zip(paths, objects, strict=True):
        path.write_bytes(data)
    command = ["ld", "--no-undefined", "-e", "root", "-o", tmp_path / "whole", tmp_path / "panic.o", *paths]
    assert subprocess.run(command, check=False, capture_output=True, text=True).returncode == 0
