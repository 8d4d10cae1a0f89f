"""Addition and SwiGLU."""

import numpy as np
import pytest

from axiom.metal.ops.elementwise import add, swiglu
from tests.support.identity import run_checked
from tests.support.targets import TARGETS


@pytest.mark.parametrize("target", TARGETS)
def test_add_rounds_once(target: str) -> None:
    random = np.random.default_rng(9)
    x, y = (random.normal(size=48).astype(np.float32) for _ in range(2))
    want = x + y
    run_checked(target, add, x, y)
    assert x.tolist() == want.tolist()


@pytest.mark.parametrize("target", TARGETS)
def test_swiglu_is_silu_of_gate_times_up(target: str) -> None:
    random = np.random.default_rng(10)
    gate, up = ((random.normal(size=64) * 10).astype(np.float32) for _ in range(2))
    gate[:4] = [0, -200, 200, -87]
    wide = gate.astype(np.float64)
    want = wide / (1 + np.exp(-wide)) * up
    run_checked(target, swiglu, gate, up)
    assert np.all(np.abs(gate - want) <= 5e-7 * np.abs(want) + 1e-36)
