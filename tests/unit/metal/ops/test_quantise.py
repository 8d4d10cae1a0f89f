"""Quantised activations: rounding, sums, scale, and blocks of nothing."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from axiom.metal.ops.quantise import quantise, quantise_super, quantised_bytes
from tests.support.identity import run_checked
from tests.support.targets import TARGETS

# What sums start from: the bits of a float whose unit in the last place is 1.
START = int(np.float32(1.5 * 2**23).view(np.int32))
WAYS = [(quantise, 32), (quantise_super, 256)]


def quantised(target: str, x: NDArray[np.float32], function: Any = quantise) -> NDArray[np.uint8]:
    out = np.full(quantised_bytes(len(x)), 0xAA, np.uint8)
    run_checked(target, function, x, out)
    return out.reshape(-1, 64)


def eleven_bits(number: np.float32) -> np.float32:
    """Return what f16 makes of a number, were its exponents those of f32."""
    mantissa, exponent = np.frexp(number)
    return np.float32(np.ldexp(np.float64(np.float16(mantissa)), exponent))


def check(block: NDArray[np.uint8], numbers: NDArray[np.float32], amax: np.float32, shared: bool) -> None:
    """Check a block that has the scale of `amax`."""
    q = np.rint(numbers * (np.float32(127) / amax)).astype(np.int64)
    assert block[:32].view(np.int8).tolist() == q.tolist()
    assert block[32:36].view(np.int32)[0] == START - 128 * q.sum()
    if shared:
        assert block[36:40].view(np.int16).tolist() == [q[:16].sum(), q[16:].sum()]
    else:
        assert block[36:40].view(np.int32)[0] == START - 8 * q.sum()
    scale = np.float32(1) / (np.float32(127) / amax) if shared else eleven_bits(amax / np.float32(127))
    assert block[40:44].view(np.float32)[0] == scale
    assert block[44:48].view(np.float32)[0] == scale * np.float32(q.sum())
    halves = [START - 32 * q[:16].sum(), START - 32 * q[16:].sum()]
    assert block[48:56].view(np.int32).tolist() == halves
    assert block[56:60].view(np.int32)[0] == START - 16 * q.sum()
    assert block[60:].view(np.float32)[0] == q.sum()


@pytest.mark.parametrize("target", TARGETS)
def test_a_block_holds_rounded_numbers_their_sums_and_the_scale(target: str) -> None:
    random = np.random.default_rng(4)
    x = (random.normal(size=320) * np.repeat(10.0 ** np.arange(-5, 5), 32)).astype(np.float32)
    for block, numbers in zip(quantised(target, x), x.reshape(-1, 32), strict=True):
        check(block, numbers, np.abs(numbers).max(), shared=False)


@pytest.mark.parametrize("target", TARGETS)
def test_the_blocks_of_a_super_block_share_a_scale(target: str) -> None:
    random = np.random.default_rng(5)
    x = (random.normal(size=768) * np.repeat(10.0 ** np.arange(-6, 6), 64)).astype(np.float32)
    made = quantised(target, x, quantise_super).reshape(3, 8, 64)
    for blocks, numbers in zip(made, x.reshape(3, 8, 32), strict=True):
        for block, part in zip(blocks, numbers, strict=True):
            check(block, part, np.abs(numbers).max(), shared=True)


@pytest.mark.parametrize("target", TARGETS)
def test_halves_round_to_even(target: str) -> None:
    x = np.zeros(32, np.float32)
    x[:6] = [127, 0.5, 1.5, 2.5, -0.5, -1.5]
    assert quantised(target, x)[0, :6].view(np.int8).tolist() == [127, 0, 2, 2, 0, -2]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("size", [0.0, 1e-31, 1e-45])
@pytest.mark.parametrize(("function", "count"), WAYS)
def test_negligible_numbers_become_zeros(target: str, size: float, function: Any, count: int) -> None:
    for block in quantised(target, np.full(count, size, np.float32), function):
        assert not block[:32].any()
        assert block.view(np.float32)[[10, 11, 15]].tolist() == [0.0] * 3
        assert block.view(np.int32)[[8, 12, 13, 14]].tolist() == [START] * 4
        assert block.view(np.int32)[9] == (START if count == 32 else 0)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("size", [3.4e38, 1e-30, 2.5e-30])
@pytest.mark.parametrize(("function", "count"), WAYS)
def test_extreme_sizes_keep_their_127(target: str, size: float, function: Any, count: int) -> None:
    x = np.full(count, size, np.float32)
    x[::2] *= -1
    q = quantised(target, x, function)[:, :32].view(np.int8)
    assert set(q.reshape(-1).tolist()) == {127, -127}
