"""What is measured of the ball, by hand; its frames say where it is and which colour it has."""

from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.moving_ball import LENGTH, ball, batches, measure


def test_frames_and_changes_of_colour():
    frames, changed = ball(0.3, 3, 0)
    assert frames.shape == (3, LENGTH, 10) and changed.shape == (3, LENGTH)
    assert np.abs(frames[..., :2]).max() <= 1 and (frames[..., 2:].sum(-1) == 1).all()
    other = (frames[:, 1:, 2:] != frames[:, :-1, 2:]).any(-1)
    np.testing.assert_array_equal(changed[:, 1:], other)
    assert 0.2 < changed[:, 1:].mean() < 0.6 and not changed[:, 0].any()
    first, second = (next(batches(np.repeat(frames, 8, 0), 1, seed)) for seed in (0, 1))
    assert (first.records.obs["ball"] != second.records.obs["ball"]).any()


def test_the_figures_by_hand():
    """Level 2 changes at frames 0 and 1 of 4, expected by 1/2 and 3/4; the colour at 0, 2."""
    changes = np.array([[[1, 1], [1, 1], [1, 0], [1, 0]]], np.float32)
    odds = np.zeros((1, 4, 2))
    odds[0, :, 1] = np.log([1, 3, 1 / 3, 1 / 9])
    parts = SimpleNamespace(
        changes=changes, odds=odds, kl=np.full((1, 4, 2), 0.5), surprise=np.full((1, 4, 2), 0.25)
    )
    found = measure(parts, np.array([[True, False, True, False]]), 3.0)
    assert found.change == pytest.approx((1 / 2 + 3 / 4) / 2)
    assert found.static == pytest.approx((1 / 4 + 1 / 10) / 2)
    assert (found.seen, found.other) == (0.5, 0.5)
    assert (found.depth, found.kl, found.seconds) == (1.5, 1.5, 3.0)
