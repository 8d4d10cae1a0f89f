"""The sampler against sorting, and against the probabilities that it should follow."""

from functools import cache
from typing import Any

import numpy as np
import pytest

from axiom.lang import Slice, f32, fn, i32, u32, u64
from axiom.metal.engine.sampler import keep_first, random_bits, sample, set_weights
from tests.support.identity import run_checked
from tests.support.targets import TARGETS, run

COMPILED = TARGETS[1:]


@cache
def sample_for(n_vocab: int) -> Any:
    """Return the sampler specialised for one vocabulary."""

    @fn
    def specialised(
        logits: Slice[f32],
        weights: Slice[i32],
        temperature: f32,
        top_k: u32,
        top_p: f32,
        random: u64,
    ) -> u32:
        return sample(logits, weights, n_vocab, temperature, top_k, top_p, random)

    return specialised


def padded(logits: np.ndarray) -> np.ndarray:
    return np.pad(logits, (0, -len(logits) % 16), constant_values=1e9).astype(np.float32)


def draw(
    target: str,
    logits: np.ndarray,
    temperature: float,
    top_k: int = 0,
    top_p: float = 1.0,
    random: int = 0,
    check: bool = True,
) -> tuple[int, np.ndarray]:
    """Sample once; return the token and what every candidate weighed at the end."""
    full = padded(logits)
    weights = np.full(len(full), -1, np.int32)
    function = sample_for(len(logits))
    runner = run_checked if check else run
    token = runner(target, function, full, weights, temperature, top_k, top_p, random)
    return int(token), weights[: len(logits)]


def candidates(logits: np.ndarray, temperature: float, top_k: int, top_p: float) -> set[int]:
    """Return the tokens that may be drawn, by sorting. Weights are the sampler's own integers."""
    weights = np.zeros(len(padded(logits)), np.int32)
    run("python", set_weights, padded(logits), weights, float(logits.max()), temperature)
    order = np.lexsort((np.arange(len(logits)), -logits))
    order = order[: top_k or len(order)]
    shares = weights[order].astype(np.int64)
    if top_p < 1:
        goal = max(1, int(float(shares.sum()) * float(np.float32(top_p))))
        order = order[: int(np.searchsorted(np.cumsum(shares), goal)) + 1]
    return {int(token) for token in order if weights[token] > 0}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("top_k", "top_p"), [(0, 1.0), (1, 1.0), (5, 1.0), (99, 1.0), (0, 0.5), (0, 1e-9), (7, 0.9)]
)
@pytest.mark.parametrize("n_vocab", [100, 128])
def test_the_candidates_are_the_first_in_order(target: str, top_k: int, top_p: float, n_vocab: int) -> None:
    logits = np.random.default_rng(n_vocab).normal(size=n_vocab).astype(np.float32) * 3
    token, weights = draw(target, logits, 0.8, top_k, top_p, random=12345 << 48)
    want = candidates(logits, 0.8, top_k, top_p)
    assert {int(i) for i in np.flatnonzero(weights)} == want
    assert token in want


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("top_k", "top_p"), [(6, 1.0), (0, 0.55), (9, 0.5)])
def test_among_equals_the_lowest_indices_are_kept(target: str, top_k: int, top_p: float) -> None:
    logits = np.random.default_rng(1).integers(-1, 2, 70).astype(np.float32)
    logits[40] = -0.0
    _, weights = draw(target, logits, 1.0, top_k, top_p)
    assert {int(i) for i in np.flatnonzero(weights)} == candidates(logits, 1.0, top_k, top_p)


@pytest.mark.parametrize("target", TARGETS)
def test_every_part_of_the_random_range_maps_to_its_token(target: str) -> None:
    logits = np.log(np.array([1, 2, 4, 1], np.float32))
    drawn = [draw(target, logits, 1.0, random=(2 * i + 1) << 60)[0] for i in range(8)]
    assert drawn == [0, 1, 1, 2, 2, 2, 2, 3]
    assert draw(target, logits, 1.0, random=2**64 - 1)[0] == 3
    assert draw(target, logits, 1.0, random=0)[0] == 0


@pytest.mark.parametrize("target", TARGETS)
def test_temperature_zero_takes_the_likeliest(target: str) -> None:
    logits = np.array([1, 5, 5, 2], np.float32)
    assert draw(target, logits, 0.0, random=2**64 - 1)[0] == 1


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("temperature", [1e-30, 1e-3, 1e30])
def test_extreme_temperatures_work(target: str, temperature: float) -> None:
    logits = np.array([1, 5, 4, 2] * 5, np.float32)
    token, weights = draw(target, logits, temperature, random=1 << 63)
    assert weights[token] > 0
    assert (np.count_nonzero(weights) == 5) == (temperature < 1)


@pytest.mark.parametrize("target", TARGETS)
def test_logits_that_are_no_numbers_never_stop_it(target: str) -> None:
    nan, inf = np.nan, np.inf
    assert draw(target, np.full(20, nan, np.float32), 1.0, 5, 0.5)[0] == 0
    assert draw(target, np.full(20, -inf, np.float32), 1.0, 5, 0.5)[0] == 0
    assert draw(target, np.array([0, inf, 1], np.float32), 1.0, 2, 0.5)[0] == 1
    mixed = np.array([nan, -inf, 3, nan, 2], np.float32)
    for i in range(8):
        assert draw(target, mixed, 1.0, 4, 0.99, random=i << 61)[0] in (2, 4)


@pytest.mark.parametrize("target", COMPILED)
def test_frequencies_follow_the_probabilities(target: str) -> None:
    logits = np.random.default_rng(2).normal(size=50).astype(np.float32)
    n = 20000
    counts = np.zeros(50)
    for i in range(n):
        random = int(run(target, random_bits, 77, i))
        counts[draw(target, logits, 0.7, random=random, check=False)[0]] += 1
    probabilities = np.exp(logits.astype(np.float64) / 0.7)
    probabilities /= probabilities.sum()
    deviations = (counts - n * probabilities) / np.sqrt(n * probabilities * (1 - probabilities))
    assert np.abs(deviations).max() < 4.5


@pytest.mark.parametrize("target", COMPILED)
def test_a_large_vocabulary_gives_the_candidates_of_sorting(target: str) -> None:
    logits = np.random.default_rng(3).normal(size=128256).astype(np.float32) * 4
    token, weights = draw(target, logits, 1.0, 5000, 0.95, random=1 << 62, check=False)
    want = candidates(logits, 1.0, 5000, 0.95)
    assert {int(i) for i in np.flatnonzero(weights)} == want
    assert token in want


@pytest.mark.parametrize("target", TARGETS)
def test_random_bits_depend_on_seed_and_index_alone(target: str) -> None:
    seeds = (0, 1, 2**64 - 1)
    drawn = {(s, i): int(run_checked(target, random_bits, s, i)) for s in seeds for i in range(64)}
    assert len(set(drawn.values())) == len(drawn)
    ones = [value.bit_count() for value in drawn.values()]
    assert abs(np.mean(ones) - 32) < 1.5
    assert int(run(target, random_bits, 0, 0)) == reference_bits(0, 0)
    assert int(run(target, random_bits, 5, 9)) == reference_bits(5, 9)


def reference_bits(seed: int, index: int) -> int:
    def scramble(x: int) -> int:
        x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        x = (x ^ x >> 27) * 0x94D049BB133111EB % 2**64
        return x ^ x >> 31

    golden = 0x9E3779B97F4A7C15
    stream = scramble((seed + golden) % 2**64)
    return scramble((stream + (index + 1) * golden) % 2**64)


@pytest.mark.parametrize("target", TARGETS)
def test_keep_first_counts_or_weighs(target: str) -> None:
    logits = np.array([3, 1, 2, 2, 2, 0, -1, 5] * 2, np.float32)
    for by_weight, goal, want in ((False, 5, [0, 2, 7, 8, 15]), (True, 25, [0, 2, 7, 8, 15])):
        weights = np.full(16, 5, np.int32)
        run_checked(target, keep_first, logits, weights, goal, by_weight)
        assert np.flatnonzero(weights).tolist() == want
