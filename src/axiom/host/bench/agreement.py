"""Whether two engines compute the same model: their logits on the same text, position by position.

Both round activations to eight bits, in different places, so that they differ by noise. What is compared
is what a sampler sees: the Kullback-Leibler divergence of the next token's distribution and its likeliest
token. A wrong layout, rotation or scale is orders of magnitude above these limits.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_MEAN_DIVERGENCE = 0.02
MIN_TOP1_AGREEMENT = 0.7


@dataclass(frozen=True)
class Agreement:
    """Over all positions. divergence: in nats."""

    positions: int
    max_difference: float
    mean_divergence: float
    max_divergence: float
    top1: float

    @property
    def holds(self) -> bool:
        """Whether the two compute the same model."""
        return self.mean_divergence <= MAX_MEAN_DIVERGENCE and self.top1 >= MIN_TOP1_AGREEMENT


def _log_probabilities(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=1, keepdims=True)
    return wide - np.log(np.exp(wide).sum(axis=1, keepdims=True))


def compare_logits(mine: NDArray[np.float32], other: NDArray[np.float32]) -> Agreement:
    """Compare two arrays of [positions, vocabulary]."""
    if mine.shape != other.shape:
        raise ValueError(f"{mine.shape} logits cannot be compared with {other.shape}")
    first, second = _log_probabilities(mine), _log_probabilities(other)
    divergence = (np.exp(first) * (first - second)).sum(axis=1)
    return Agreement(
        positions=len(mine),
        max_difference=float(np.abs(mine - other).max()),
        mean_divergence=float(divergence.mean()),
        max_divergence=float(divergence.max()),
        top1=float((mine.argmax(axis=1) == other.argmax(axis=1)).mean()),
    )
