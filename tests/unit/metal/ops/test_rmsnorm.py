"""rmsnorm against float64."""

from functools import cache
from typing import Any

import numpy as np
import pytest

from axiom.lang import Slice, f32, fn
from axiom.metal.ops.rmsnorm import rmsnorm
from tests.support.identity import run_checked
from tests.support.targets import TARGETS


@cache
def rmsnorm_for(n: int, epsilon: float) -> Any:
    """Return the op specialised for one length."""

    @fn
    def specialised(x: Slice[f32], weight: Slice[f32], out: Slice[f32]) -> None:
        rmsnorm(x, weight, out, n, epsilon)

    return specialised


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("n", [2, 16, 40, 64, 512])
@pytest.mark.parametrize("size", [1.0, 1e-6, 1e15])
def test_the_result_has_mean_square_one_times_the_weight(target: str, n: int, size: float) -> None:
    random = np.random.default_rng(n)
    padding = -n % 16
    x = np.pad((random.normal(size=n) * size).astype(np.float32), (0, padding))
    weight = np.pad(random.normal(size=n).astype(np.float32), (0, padding))
    out = np.full(n + padding, np.nan, np.float32)
    run_checked(target, rmsnorm_for(n, 1e-5), x, weight, out)
    wide = x.astype(np.float64)
    want = wide / np.sqrt((wide**2).sum() / n + 1e-5) * weight
    assert np.all(np.abs(out - want) <= 1e-6 * np.abs(want))
    assert not out[n:].any()


@pytest.mark.parametrize("target", TARGETS)
def test_zeros_stay_zeros(target: str) -> None:
    out = np.full(64, np.nan, np.float32)
    run_checked(target, rmsnorm_for(64, 1e-5), np.zeros(64, np.float32), np.ones(64, np.float32), out)
    assert not out.any()
