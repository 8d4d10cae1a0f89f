"""Integer sums that are floats already: what scaling makes of them is rounded once."""

import numpy as np
import pytest

from axiom.lang import Slice, bitcast, convert, f16, f32, fn, i32, u8, urange, vload, vload_bytes, vstore
from axiom.metal.ops.float_sums import FLOAT_START, FLOAT_START_BITS, float_sum, scaled_sum
from tests.support.identity import run_checked
from tests.support.targets import TARGETS

LARGEST_SUM = 2**22 - 1


@fn
def scale_sums(sums: Slice[i32], scales: Slice[u8], scaled: Slice[f32], plain: Slice[f32]) -> None:
    for at in urange(0, sums.length, 16):
        numbers = vload(sums, at, 16)
        vstore(scaled, at, scaled_sum(numbers, convert(f32, vload_bytes(f16, 16, scales, at * 2))))
        vstore(plain, at, float_sum(numbers))


def test_the_bits_are_those_of_the_start() -> None:
    assert bitcast(f32, i32(FLOAT_START_BITS)) == FLOAT_START


@pytest.mark.parametrize("target", TARGETS)
def test_a_scaled_sum_is_the_product_rounded_once(target: str) -> None:
    random = np.random.default_rng(35)
    sums = random.integers(-LARGEST_SUM, LARGEST_SUM, 1024, np.int32, endpoint=True)
    sums[:8] = [0, 1, -1, LARGEST_SUM, -LARGEST_SUM, 0, 1, -1]
    halves = random.integers(0, 0x7C00, 1024).astype(np.uint16) | (random.integers(0, 2, 1024) << 15)
    scales = halves.astype(np.uint16).view(np.float16)
    scales[:8] = [65504, 2**-24, 2**-24, 65504, -65504, 0, 0, -0.0]
    scaled, plain = np.empty(1024, np.float32), np.empty(1024, np.float32)
    started = sums + np.int32(FLOAT_START_BITS)
    run_checked(target, scale_sums, started, scales.view(np.uint8), scaled, plain)
    assert plain.tolist() == sums.tolist()
    exact = sums.astype(np.float64) * scales.astype(np.float64)
    assert scaled.tolist() == exact.astype(np.float32).tolist()
