"""Whether two engines compute the same model: their logits on the same text, position by position.

Both round activations to eight bits, in different places, so that they differ by noise. What is compared
is what a sampler sees: the Kullback-Leibler divergence of the next token's distribution and its likeliest
token.

How much noise is right depends on the model and on the text (random tokens make flat distributions, in
which little decides), so the peer is the measure of it: its repacked kernels against those without, on the
same text, are the yardstick. Both of its ways and ours are roundings of the same weights. If all rounded
independently and alike, every pair would be as far apart as any other and the margin would be one. But the
peer's two ways round much alike (same blocks, same scales), so that they lie closer to each other than
either lies to the exact result: if half of their noise is common, they are apart by half of what two
strangers are. Hence a margin of two in divergence, which grows with the variance of the noise. How often
the likeliest token changes grows with its standard deviation: hence a margin of the square root of two
there, and two standard errors more, because it is counted at so few positions.

So what passes may be up to twice as far away as the yardstick: it is not shown to be as close, and reports
state how far it is. A yardstick of zero is none: the peer has only one way to compute such a model. Then
fixed limits hold. A wrong layout, rotation or scale is orders of magnitude above either.
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

MAX_MEAN_DIVERGENCE = 0.02
MIN_TOP1_AGREEMENT = 0.7
YARDSTICK_MARGIN = 2.0
LEAST_DIVERGENCE = 1e-3
LEAST_CHANGED = 0.05
STANDARD_ERRORS = 2


@dataclass(frozen=True)
class Agreement:
    """Over all positions. divergence: in nats; its error: the standard error of the mean."""

    positions: int
    max_difference: float
    mean_divergence: float
    max_divergence: float
    top1: float
    divergence_error: float


@dataclass(frozen=True)
class Limits:
    """What still counts as the same model; rule: where the limits are from, in words."""

    mean_divergence: float
    top1: float
    rule: str

    def hold(self, found: Agreement) -> bool:
        """Tell whether two engines that agree like this compute the same model."""
        return found.mean_divergence <= self.mean_divergence and found.top1 >= self.top1


def limits(yardstick: Agreement | None) -> Limits:
    """Return the limits; yardstick: how two of the peer's own ways agree, where it has two."""
    if yardstick is None or yardstick.max_difference == 0:
        return Limits(MAX_MEAN_DIVERGENCE, MIN_TOP1_AGREEMENT, "fixed, for lack of a yardstick")
    divergence = max(YARDSTICK_MARGIN * yardstick.mean_divergence, LEAST_DIVERGENCE)
    often = min(1.0, sqrt(YARDSTICK_MARGIN) * (1 - yardstick.top1))
    error = sqrt(often * (1 - often) / yardstick.positions)
    changed = max(often + STANDARD_ERRORS * error, LEAST_CHANGED)
    rule = (
        f"{YARDSTICK_MARGIN:g} times the yardstick's divergence, at least {LEAST_DIVERGENCE:g} nats; "
        f"{sqrt(YARDSTICK_MARGIN):.2f} times as many other likeliest tokens and {STANDARD_ERRORS} standard "
        f"errors of counting them, at least {LEAST_CHANGED:.0%}"
    )
    return Limits(divergence, 1 - changed, rule)


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
        divergence_error=float(divergence.std() / sqrt(len(divergence))),
    )
