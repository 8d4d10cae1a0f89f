"""When two engines compute the same model, and when they do not."""

import numpy as np
import pytest

from axiom.host.bench.agreement import compare_logits

LOGITS = np.random.default_rng(5).normal(size=(40, 300)).astype(np.float32) * 2


def test_equal_logits_agree_wholly() -> None:
    found = compare_logits(LOGITS, LOGITS.copy())
    assert (found.positions, found.max_difference, found.top1) == (40, 0.0, 1.0)
    assert abs(found.mean_divergence) < 1e-12
    assert found.holds


def test_a_constant_added_to_all_logits_changes_no_distribution() -> None:
    assert compare_logits(LOGITS, (LOGITS + 3).astype(np.float32)).mean_divergence < 1e-6


def test_rounding_noise_agrees_and_another_model_does_not() -> None:
    noise = np.random.default_rng(6).normal(size=LOGITS.shape).astype(np.float32)
    assert compare_logits(LOGITS, (LOGITS + 0.02 * noise).astype(np.float32)).holds
    assert not compare_logits(LOGITS, (noise * 2).astype(np.float32)).holds
    assert not compare_logits(LOGITS, LOGITS[:, ::-1]).holds


def test_a_shifted_text_is_noticed() -> None:
    assert not compare_logits(LOGITS, np.roll(LOGITS, 1, axis=0)).holds


def test_different_vocabularies_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="300"):
        compare_logits(LOGITS, LOGITS[:, :299])
