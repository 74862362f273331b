"""Orbiting ball: what lasts lasts, and it goes round as the factors say."""

import numpy as np
import pytest

from analysis.probes.ball import colours
from common import UserError
from recordings.generators.orbiting_ball import COLOURS, OrbitingBall


def test_it_goes_round_the_middle_at_a_constant_speed() -> None:
    """By its positions: within the orbits, one way or the other, a turn in 36 frames."""
    for video in OrbitingBall(length=90).videos(30, seed=2):
        arm = video.factors["position"] - 32
        distance = np.linalg.norm(arm, axis=1)
        assert 14 <= distance[0] <= 22 and np.ptp(distance) < 1e-4
        step = np.diff(np.unwrap(np.arctan2(arm[:, 0], arm[:, 1])))
        assert np.ptp(step) < 1e-5
        assert (video.factors["direction"] == (step[0] > 0)).all()
        np.testing.assert_allclose(arm[36:72], arm[:36], atol=1e-3)


def test_its_pictures_show_its_place_and_its_one_colour() -> None:
    seen = set()
    for video in OrbitingBall(length=40).videos(20, seed=1):
        image = video.obs["image"]
        np.testing.assert_array_equal(colours(image), video.factors["colour"])
        assert np.ptp(video.factors["colour"]) == 0
        seen.add(int(video.factors["colour"][0]))
        light, at = image.astype(float).sum(-1), np.arange(64) + 0.5
        place = np.stack([light.sum(2) @ at, light.sum(1) @ at], -1) / light.sum((1, 2))[:, None]
        np.testing.assert_allclose(place, video.factors["position"], atol=0.05)
    assert seen == set(COLOURS)


@pytest.mark.parametrize("wrong", [{"turn": 1.0}, {"turn": float("nan")}, {"radius": 11.0}])
def test_options_that_cannot_be_are_refused(wrong) -> None:
    with pytest.raises(UserError, match=f"{next(iter(wrong))}: expected"):
        OrbitingBall(**wrong)
