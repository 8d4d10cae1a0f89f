"""Rotary embedding against complex multiplication in float64."""

from functools import cache
from typing import Any

import numpy as np
import pytest

from axiom.lang import Slice, f32, fn
from axiom.metal.ops.rope import rope, rope_tables
from tests.support.identity import run_checked
from tests.support.targets import TARGETS


@cache
def rope_for(n_heads: int, head_dim: int) -> Any:
    """Return the op specialised for one shape."""

    @fn
    def specialised(x: Slice[f32], cosines: Slice[f32], sines: Slice[f32]) -> None:
        rope(x, cosines, sines, n_heads, head_dim)

    return specialised


def frequencies(head_dim: int) -> np.ndarray:
    """Return inverse frequencies padded to a multiple of 8."""
    plain = 10000.0 ** (-2 * np.arange(head_dim // 2) / head_dim)
    return np.pad(plain, (0, -len(plain) % 8))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("head_dim", [2, 8, 32, 38, 128])
@pytest.mark.parametrize("position", [0, 1, 511, 131071])
def test_pairs_turn_by_position_times_frequency(target: str, head_dim: int, position: int) -> None:
    f = frequencies(head_dim)
    cosines, sines = (np.full(2 * len(f), np.nan, np.float32) for _ in range(2))
    run_checked(target, rope_tables, f, position, cosines, sines)
    angles = position * f[: head_dim // 2]
    assert np.abs(cosines[0:head_dim:2] - np.cos(angles)).max() < 1e-7
    assert np.abs(sines[1:head_dim:2] - np.sin(angles)).max() < 1e-7
    assert sines[0:head_dim:2].tolist() == (-sines[1:head_dim:2]).tolist()
    assert cosines[0:head_dim:2].tolist() == cosines[1:head_dim:2].tolist()
    x = np.random.default_rng(position).normal(size=(3, head_dim)).astype(np.float32)
    turned = x.copy().reshape(-1)
    run_checked(target, rope_for(3, head_dim), turned, cosines, sines)
    pairs = x[:, 0::2].astype(np.float64) + 1j * x[:, 1::2]
    want = pairs * np.exp(1j * angles)
    got = turned.reshape(3, -1)
    assert np.abs(got[:, 0::2] - want.real).max() < 1e-6
    assert np.abs(got[:, 1::2] - want.imag).max() < 1e-6


@pytest.mark.parametrize("target", TARGETS)
def test_position_zero_changes_nothing(target: str) -> None:
    f = frequencies(16)
    cosines, sines = np.zeros(16, np.float32), np.zeros(16, np.float32)
    run_checked(target, rope_tables, f, 0, cosines, sines)
    x = np.random.default_rng(8).normal(size=32).astype(np.float32)
    turned = x.copy()
    run_checked(target, rope_for(2, 16), turned, cosines, sines)
    assert turned.tolist() == x.tolist()
