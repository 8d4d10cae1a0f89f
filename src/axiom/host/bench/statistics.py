"""Medians and spreads of repeated measurements."""

from collections.abc import Sequence
from statistics import median, quantiles


def percentile(samples: Sequence[float], percent: int) -> float:
    """Return a percentile by linear interpolation; of one sample, itself."""
    if len(samples) == 1:
        return samples[0]
    return quantiles(samples, n=100, method="inclusive")[percent - 1]


def spread(samples: Sequence[float]) -> float:
    """Return the interquartile range as a part of the median; 0 for fewer than two samples."""
    if len(samples) < 2 or median(samples) == 0:
        return 0.0
    return (percentile(samples, 75) - percentile(samples, 25)) / median(samples)
