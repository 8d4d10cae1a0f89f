"""Random whole programs do the same under CPython and on AArch64, without and with optimisation."""

from pathlib import Path
from typing import Any

import pytest

from axiom.lang import Panic
from tests.language.fuzz import BATCH, arguments, outcome, python_call, slices
from tests.language.generate import Generator
from tests.language.programs import execute
from tests.support.aarch64 import EMULATED, Emulated

N_PROGRAMS = 200


def replay(result: Any, left: tuple[Any, Any], words: Any, octets: Any) -> Any:
    """Do again to two slices what a call did, and return or raise what it did."""
    words[...], octets[...] = left
    if isinstance(result, Panic):
        raise result
    return result


@pytest.mark.parametrize("level", [0, 3])
@pytest.mark.parametrize("first", range(0, N_PROGRAMS, BATCH))
def test_programs_agree_with_cpython(first: int, level: int, tmp_path: Path) -> None:
    seeds = range(first, first + BATCH)
    functions = [execute(Generator(seed).program(), tmp_path)["root"] for seed in seeds]
    emulated = Emulated(functions, EMULATED["aarch64"], level)
    made = [
        (seed, function, given, slices(seed))
        for seed, function in zip(seeds, functions, strict=True)
        for given in arguments(seed)
    ]
    results = emulated.call_all([(function, (*given, *left)) for _, function, given, left in made])
    panics = 0
    for (seed, function, given, left), result in zip(made, results, strict=True):
        wanted = outcome(python_call(function, given), seed)
        got = outcome(lambda words, octets, r=result, at=left: replay(r, at, words, octets), seed)
        assert got == wanted, f"seed {seed}, {given}:\n{got}\n{wanted}\n{Generator(seed).program()}"
        panics += isinstance(result, Panic)
    assert 0 < panics < len(made)
