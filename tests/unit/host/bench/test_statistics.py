"""Medians, spreads and percentiles."""

import pytest

from axiom.host.bench.statistics import percentile, spread


def test_a_percentile_lies_between_its_neighbours() -> None:
    assert percentile([4.0], 99) == 4.0
    assert percentile(list(range(101)), 99) == 99.0
    assert percentile([0.0, 1.0], 50) == 0.5


def test_the_spread_is_the_interquartile_range_over_the_median() -> None:
    assert spread([10.0]) == 0.0
    assert spread([0.0, 0.0, 0.0]) == 0.0
    assert spread([9.0, 10.0, 11.0]) == pytest.approx(0.1)
