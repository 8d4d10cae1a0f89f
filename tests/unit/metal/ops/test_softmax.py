"""Softmax numerators and their sum."""

import numpy as np
import pytest

from axiom.metal.ops.softmax import softmax_numerators
from tests.support.identity import run_checked
from tests.support.targets import TARGETS


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("count", [1, 15, 16, 17, 200])
@pytest.mark.parametrize("spread", [0.0, 3.0, 1e4])
def test_numerators_over_their_sum_are_the_softmax(target: str, count: int, spread: float) -> None:
    random = np.random.default_rng(count)
    numbers = (random.normal(size=count) * spread).astype(np.float32)
    x = np.pad(numbers, (0, -count % 16), constant_values=-np.inf)
    total = float(run_checked(target, softmax_numerators, x))
    wide = numbers.astype(np.float64)
    exact = np.exp(wide - wide.max())
    assert np.abs(x[:count] / total - exact / exact.sum()).max() < 5e-7
    assert not x[count:].any()
    assert x.max() == 1.0
