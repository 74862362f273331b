"""Intervals of few values are as wide as Student's distribution says."""

import numpy as np
import pytest

from agents.statistics import half_width, plus_minus


@pytest.mark.parametrize(("n", "t"), [(2, 12.706), (5, 2.776), (20, 2.093), (1000, 1.962)])
def test_half_width_is_students(n: int, t: float) -> None:
    """Quantiles of printed tables, of every column by itself; a single value has no interval."""
    values = np.random.default_rng(n).normal(size=(n, 3))
    by_hand = t * np.sqrt(((values - values.mean(0)) ** 2).sum(0) / (n - 1) / n)
    np.testing.assert_allclose(half_width(values), by_hand, rtol=3e-4)
    assert half_width(values[:, 0]) == pytest.approx(by_hand[0], rel=3e-4)
    assert np.isnan(half_width(values[:1])).all()


@pytest.mark.parametrize("n", [3, 100])
def test_interval_holds_its_mean_19_times_in_20(n: int) -> None:
    draws = np.random.default_rng(0).normal(size=(n, 4000))
    inside = np.abs(draws.mean(0)) < half_width(draws)
    assert 0.935 < inside.mean() < 0.965


def test_what_is_not_known_is_not_written() -> None:
    assert plus_minus(1.25, 0.5, 1, " (95%)") == "1.2 ± 0.5 (95%)"
    assert plus_minus(1.25, None, 2) == plus_minus(1.25, float("nan"), 2) == "1.25"
