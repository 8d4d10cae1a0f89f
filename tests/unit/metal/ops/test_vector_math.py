"""exp, sigmoid, silu, sine and cosine against float64 and long double."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from axiom.lang import Slice, f32, f64, fn, urange, vload, vstore
from axiom.metal.ops import vector_math
from axiom.metal.ops.vector_math import cosine, exp, sigmoid, silu, sine
from tests.support.identity import run_checked
from tests.support.targets import TARGETS, run

Floats = NDArray[np.float32]


@fn
def exp_all(x: Slice[f32], out: Slice[f32]) -> None:
    for i in urange(0, x.length, 16):
        vstore(out, i, exp(vload(x, i, 16)))


@fn
def sigmoid_all(x: Slice[f32], out: Slice[f32]) -> None:
    for i in urange(0, x.length, 16):
        vstore(out, i, sigmoid(vload(x, i, 16)))


@fn
def silu_all(x: Slice[f32], out: Slice[f32]) -> None:
    for i in urange(0, x.length, 16):
        vstore(out, i, silu(vload(x, i, 16)))


@fn
def sine_all(x: Slice[f64], out: Slice[f64]) -> None:
    for i in urange(0, x.length, 8):
        vstore(out, i, sine(vload(x, i, 8)))


@fn
def cosine_all(x: Slice[f64], out: Slice[f64]) -> None:
    for i in urange(0, x.length, 8):
        vstore(out, i, cosine(vload(x, i, 8)))


def ulps(mine: Floats, exact: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the error in units of the exact value's last place (of denormals: 2**-149)."""
    unit = np.spacing(np.abs(exact).astype(np.float32)).astype(np.float64)
    return np.abs(mine.astype(np.float64) - exact) / np.maximum(unit, 2.0**-149)


def finite_range(step: int) -> Floats:
    """Return f32 numbers across the whole range in which exp is neither 0 nor infinite."""
    patterns = [np.arange(0, 0x42B17217, step), np.arange(0x80000000, 0xC2CFF1B5, step)]
    bits = np.concatenate(patterns).astype(np.uint32)
    return bits[: len(bits) // 16 * 16].view(np.float32)


@pytest.mark.parametrize("target", TARGETS)
def test_exp_is_within_one_ulp_and_a_half_of_a_denormal(target: str) -> None:
    # Steps are primes, so that all low bits occur. The oracle is slow: it takes fewer points.
    x = finite_range(1_000_003 if target == "python" else 1009)
    out = np.empty_like(x)
    run(target, exp_all, x, out)
    error = ulps(out, np.exp(x.astype(np.float64)))
    normal = x > -87.33
    assert error[normal].max() < 1.0
    assert error[~normal].max() < 1.5


@pytest.mark.parametrize("target", TARGETS)
def test_exp_has_the_same_bits_everywhere_and_right_ends(target: str) -> None:
    ends = [0.0, -0.0, np.inf, -np.inf, np.nan, 88.72283, 88.72284, 89.5, 1e30, -1e30]
    ends += [-103.97, -103.98, -104.5, -87.34, 1e-40, 2.0**-149]
    x = np.concatenate([np.array(ends, np.float32), finite_range(5_000_011)])
    x = x[: len(x) // 16 * 16].copy()
    out = np.empty_like(x)
    run_checked(target, exp_all, x, out)
    want = [1, 1, np.inf, 0, np.nan, None, np.inf, np.inf, np.inf, 0, None, 0, 0, None, 1, 1]
    for mine, end in zip(out.tolist(), want, strict=False):
        assert end is None or mine == end or (math.isnan(mine) and math.isnan(end))


def test_the_coefficients_of_exp_are_those_of_the_chebyshev_nodes() -> None:
    reach = 1.0001 * math.log(2) / 2
    nodes = [reach * math.cos(math.pi * (2 * i + 1) / 12) for i in range(6)]
    values = [sum(r**k / math.factorial(k + 2) for k in range(18)) for r in nodes]
    fitted = np.polynomial.polynomial.polyfit(nodes, values, 5)[::-1]
    mine = [vector_math.EXP_LEADING, *vector_math.EXP_OTHERS]
    assert np.array(fitted, np.float32).tolist() == np.array(mine, np.float32).tolist()


@pytest.mark.parametrize("target", TARGETS)
def test_sigmoid_and_silu_follow_their_definition(target: str) -> None:
    x = np.concatenate([np.linspace(-110, 110, 157), [0.0, -0.0, 3e38]]).astype(np.float32)
    assert len(x) % 16 == 0
    out = np.empty_like(x)
    wide = x.astype(np.float64)
    run_checked(target, sigmoid_all, x, out)
    with np.errstate(over="ignore"):
        exact = 1 / (1 + np.exp(-wide))
    assert np.abs(out - exact).max() < 2e-7
    run_checked(target, silu_all, x, out)
    assert np.all(np.abs(out - wide * exact) <= 4e-7 * np.abs(wide * exact) + 1e-36)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("reach", [0.8, 10.0, 1e3, 1e6])
def test_sine_and_cosine_are_right_to_1e_12(target: str, reach: float) -> None:
    random = np.random.default_rng(3)
    special = [0.0, -0.0, reach, -reach, math.pi / 2, math.pi, 3 * math.pi / 4, -math.pi / 4]
    x = np.concatenate([np.array(special), random.uniform(-reach, reach, 56)])
    out = np.empty_like(x)
    run_checked(target, sine_all, x, out)
    assert max(abs(a - math.sin(b)) for a, b in zip(out, x, strict=True)) < 1e-14
    run_checked(target, cosine_all, x, out)
    assert max(abs(a - math.cos(b)) for a, b in zip(out, x, strict=True)) < 1e-14
