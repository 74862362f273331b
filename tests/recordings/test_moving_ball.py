"""Moving ball: colours change as often as λ says, the ball is where the factors say."""

import numpy as np
import pytest

from recordings.generators.moving_ball import PALETTE, MovingBall, paint


def gather(source: MovingBall, count: int, name: str) -> np.ndarray:
    return np.stack([video.factors[name] for video in source.videos(count, seed=0)])


def test_without_causes_the_colour_stays() -> None:
    source = MovingBall(length=80, change=0.0, bounce_change=False)
    assert not gather(source, 10, "changed").any()
    assert (np.diff(gather(source, 10, "colour"), axis=1) == 0).all()


def test_random_changes_come_with_probability_lambda_and_to_any_other_colour() -> None:
    source = MovingBall(length=200, change=0.3, bounce_change=False)
    changed, colour = gather(source, 100, "changed"), gather(source, 100, "colour")
    assert not changed[:, 0].any()
    share = changed[:, 1:].mean()
    assert abs(share - 0.3) < 4 * np.sqrt(0.3 * 0.7 / changed[:, 1:].size)
    steps = np.diff(colour, axis=1)[changed[:, 1:] == 1] % len(PALETTE)
    counts = np.bincount(steps, minlength=len(PALETTE))
    assert counts[0] == 0 and counts[1:].min() > 0.8 * counts[1:].mean()


def test_a_bounce_turns_to_the_next_colour() -> None:
    source = MovingBall(length=200, change=0.0)
    bounced, colour = gather(source, 20, "bounced"), gather(source, 20, "colour")
    assert 0.02 < bounced.mean() < 0.3
    np.testing.assert_array_equal(np.diff(colour, axis=1) % len(PALETTE), bounced[:, 1:])
    np.testing.assert_array_equal(gather(source, 20, "changed"), bounced)


def test_bounced_is_where_the_velocity_turns() -> None:
    for video in MovingBall(length=200).videos(10, seed=2):
        turned = (np.diff(np.sign(video.factors["velocity"]), axis=0) != 0).any(1)
        np.testing.assert_array_equal(video.factors["bounced"][1:], turned)


def test_the_ball_stays_inside_and_flies_at_its_speed() -> None:
    for video in MovingBall(length=100, radius=9.0).videos(10, seed=3):
        position, velocity = video.factors["position"], video.factors["velocity"]
        assert position.min() >= 9 and position.max() <= 55
        straight = video.factors["bounced"][1:] == 0
        np.testing.assert_allclose(
            np.diff(position, axis=0)[straight], velocity[:-1][straight], atol=1e-4
        )
        assert 2 <= np.linalg.norm(velocity[0]) <= 4


def test_a_disc_by_hand() -> None:
    """Radius 2 at (10, 20): a pixel's centre 0.71 away is full, 2.12 away covers 0.38."""
    image = paint(np.array([[10.0, 20.0]]), 2.0, np.array([[200, 100, 50]], np.uint8))[0]
    np.testing.assert_array_equal(image[9, 19], [200, 100, 50])
    cover = 2 - np.hypot(1.5, 1.5) + 0.5
    np.testing.assert_array_equal(image[8, 18], np.rint(cover * np.array([200, 100, 50])))
    assert not image[:7].any() and not image[:, :17].any() and not image[12:, 23:].any()


def test_the_ball_is_where_the_factors_say() -> None:
    """The coverage's centroid, its area and its colour are the factors'."""
    for video in MovingBall(length=50, change=0.2).videos(5, seed=4):
        for t, image in enumerate(video.obs["image"].astype(float)):
            colour = PALETTE[video.factors["colour"][t]].astype(float)
            cover = image.sum(-1) / colour.sum()
            centre = [
                (cover.sum(1 - axis) * (np.arange(64) + 0.5)).sum() / cover.sum() for axis in (0, 1)
            ]
            np.testing.assert_allclose(centre, video.factors["position"][t], atol=0.05)
            assert cover.sum() == pytest.approx(np.pi * 7**2, rel=0.02)
            np.testing.assert_array_equal(image.max((0, 1)), colour)


def test_a_video_depends_on_options_seed_and_number_alone() -> None:
    every = [video.obs["image"] for video in MovingBall(length=9).videos(3, seed=1)]
    again = MovingBall(length=9).video(2, 1)
    assert again.name == "moving_ball-000002"
    np.testing.assert_array_equal(every[2], again.obs["image"])
    assert (every[1] != every[2]).any()
    assert (MovingBall(length=9).video(2, 9).obs["image"] != every[2]).any()


@pytest.mark.parametrize("options", [{"change": 1.5}, {"radius": 40.0}, {"speed": -1.0}])
def test_options_out_of_range_are_refused(options) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(options))}: expected"):
        MovingBall(**options)
