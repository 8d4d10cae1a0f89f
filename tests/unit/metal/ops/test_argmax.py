"""argmax: ties, ends, NaN and infinities."""

import numpy as np
import pytest

from axiom.metal.ops.argmax import argmax
from tests.support.identity import run_checked
from tests.support.targets import TARGETS


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("count", [1, 15, 16, 17, 100, 513])
def test_it_finds_what_numpy_finds(target: str, count: int) -> None:
    random = np.random.default_rng(count)
    for _ in range(8):
        x = random.integers(-4, 5, count).astype(np.float32)
        assert int(run_checked(target, argmax, x)) == int(np.argmax(x))


@pytest.mark.parametrize("target", TARGETS)
def test_the_lowest_index_wins_a_tie_and_both_zeros_tie(target: str) -> None:
    x = np.full(70, -1.0, np.float32)
    x[[37, 21, 69]] = 5
    assert int(run_checked(target, argmax, x)) == 21
    x[[37, 21, 69]] = [0.0, -0.0, 0.0]
    assert int(run_checked(target, argmax, x)) == 21


@pytest.mark.parametrize("target", TARGETS)
def test_nan_never_wins(target: str) -> None:
    x = np.full(40, np.nan, np.float32)
    assert int(run_checked(target, argmax, x)) == 0
    x[33] = -np.inf
    x[35] = -3e38
    assert int(run_checked(target, argmax, x)) == 35
    x[7] = np.inf
    assert int(run_checked(target, argmax, x)) == 7
