"""Random whole programs do the same under CPython and compiled, without and with optimisation."""

from collections import Counter
from pathlib import Path

import pytest

from tests.language.fuzz import BATCH, compare
from tests.language.generate import Generator

N_PROGRAMS = 2000
PER_TEST = 250


@pytest.mark.parametrize("first", range(0, N_PROGRAMS, PER_TEST))
def test_programs_agree_with_cpython(first: int, tmp_path: Path) -> None:
    met: Counter[str] = Counter()
    for batch in range(first, first + PER_TEST, BATCH):
        met += compare(list(range(batch, batch + BATCH)), tmp_path)
    # A generator whose programs hardly ever come to an end, or never panic, would show little.
    assert met["value"] > PER_TEST
    assert min(met["overflow"], met["divide_by_zero"], met["assert"]) > 10


def test_a_seed_always_gives_the_same_program() -> None:
    assert Generator(7).program() == Generator(7).program() != Generator(8).program()
