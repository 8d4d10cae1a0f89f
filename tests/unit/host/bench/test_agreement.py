"""When two engines compute the same model, and when they do not."""

import numpy as np
import pytest

from axiom.host.bench.agreement import Agreement, compare_logits, limits

LOGITS = np.random.default_rng(5).normal(size=(40, 300)).astype(np.float32) * 2


def test_equal_logits_agree_wholly() -> None:
    found = compare_logits(LOGITS, LOGITS.copy())
    assert (found.positions, found.max_difference, found.top1) == (40, 0.0, 1.0)
    assert abs(found.mean_divergence) < 1e-12
    assert limits(None).hold(found)


def test_a_constant_added_to_all_logits_changes_no_distribution() -> None:
    assert compare_logits(LOGITS, (LOGITS + 3).astype(np.float32)).mean_divergence < 1e-6


def test_rounding_noise_agrees_and_another_model_does_not() -> None:
    noise = np.random.default_rng(6).normal(size=LOGITS.shape).astype(np.float32)
    assert limits(None).hold(compare_logits(LOGITS, (LOGITS + 0.02 * noise).astype(np.float32)))
    assert not limits(None).hold(compare_logits(LOGITS, (noise * 2).astype(np.float32)))
    assert not limits(None).hold(compare_logits(LOGITS, LOGITS[:, ::-1]))


def test_a_shifted_text_is_noticed() -> None:
    assert not limits(None).hold(compare_logits(LOGITS, np.roll(LOGITS, 1, axis=0)))


def test_different_vocabularies_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="300"):
        compare_logits(LOGITS, LOGITS[:, :299])


def agreement(divergence: float, top1: float, positions: int = 256, error: float = 0.0) -> Agreement:
    return Agreement(positions, 100 * divergence, divergence, 10 * divergence, top1, error)


def test_the_peers_own_two_ways_are_the_measure() -> None:
    allowed = limits(agreement(2e-3, 0.9))
    assert allowed.mean_divergence == pytest.approx(4e-3)
    # 10 % differ; 14.1 % may, and twice the 2.2 % by which such a count of 256 is off.
    assert allowed.top1 == pytest.approx(1 - 0.1414 - 2 * 0.0218, abs=1e-3)
    assert allowed.hold(agreement(3.9e-3, 0.82))
    assert not allowed.hold(agreement(4.1e-3, 0.82))
    assert not allowed.hold(agreement(3.9e-3, 0.81))
    assert "times the yardstick's divergence" in allowed.rule


def test_at_few_positions_a_count_may_be_off_by_more() -> None:
    few, many = limits(agreement(2e-3, 0.9, 32)), limits(agreement(2e-3, 0.9, 100_000))
    assert few.mean_divergence == many.mean_divergence
    assert few.top1 == pytest.approx(1 - 0.1414 - 2 * 0.0616, abs=1e-3)
    assert many.top1 == pytest.approx(1 - 0.1414 - 2 * 0.0011, abs=1e-3)


def test_the_error_of_a_mean_is_told_and_forgives_nothing() -> None:
    allowed = limits(agreement(2e-3, 0.9, 32, error=3e-4))
    assert allowed.mean_divergence == pytest.approx(2 * 2e-3)
    noise = np.random.default_rng(6).normal(size=LOGITS.shape).astype(np.float32)
    found = compare_logits(LOGITS, LOGITS + noise)
    half = compare_logits(LOGITS[::2], (LOGITS + noise)[::2])
    assert abs(half.mean_divergence - found.mean_divergence) < 3 * half.divergence_error
    assert half.divergence_error == pytest.approx(found.divergence_error * 2**0.5, rel=0.5)


def test_a_peer_whose_two_ways_hardly_differ_asks_for_no_more_than_little_noise() -> None:
    allowed = limits(agreement(1e-6, 1.0))
    assert allowed.hold(agreement(9e-4, 0.96))
    assert not allowed.hold(agreement(2e-3, 0.96))
    assert not allowed.hold(agreement(9e-4, 0.94))


def test_a_peer_with_only_one_way_is_no_yardstick() -> None:
    assert limits(agreement(0.0, 1.0)) == limits(None)
    assert limits(None).hold(agreement(0.019, 0.71))
    assert not limits(None).hold(agreement(0.021, 0.71))
    assert not limits(None).hold(agreement(0.019, 0.69))


def test_a_peer_that_agrees_with_itself_in_nothing_allows_no_more_than_all() -> None:
    assert limits(agreement(1.0, 0.0)).top1 == 0.0
