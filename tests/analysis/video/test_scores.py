"""Means, bests, intervals and ranks by hand."""

import numpy as np
import pytest

from analysis.video.scores import (
    best_of_samples,
    frames_above,
    make_line,
    mean_of_samples,
    mean_ranks,
    rank_lines,
    ranks,
    usable_horizon,
    usable_horizons,
)

# two videos, two samples, two times
VALUES = np.array([[[1.0, 3.0], [4.0, 2.0]], [[0.0, 0.0], [1.0, -3.0]]])


def test_mean_over_samples_videos_and_times():
    score = mean_of_samples(VALUES)
    np.testing.assert_allclose(score.curve, [1.5, 0.5])
    assert score.value == pytest.approx(1.0)
    # over time the videos score 2.5 and -0.5: s = 3/√2, 12.706 s/√2 = 19.06
    assert score.half == pytest.approx(12.7062 * 1.5)


@pytest.mark.parametrize(
    ("higher", "curve"), [(True, [(4 + 0) / 2, (2 + 0) / 2]), (False, [(1 + 1) / 2, (3 - 3) / 2])]
)
def test_best_sample_is_chosen_over_all_times(higher, curve):
    """Over time the samples score 2, 3 and 0, -1."""
    score = best_of_samples(VALUES, higher)
    np.testing.assert_allclose(score.curve, curve)
    assert score.value == pytest.approx(np.mean(curve))


def test_one_video_has_no_interval():
    assert np.isnan(mean_of_samples(VALUES[:1]).half)


def test_ranks_share_ties():
    assert ranks([0.5, 0.9, 0.7], higher=True).tolist() == [3, 1, 2]
    assert ranks([0.5, 0.9, 0.7], higher=False).tolist() == [1, 3, 2]
    assert ranks([0.5, 0.9, 0.5, 0.5], higher=True).tolist() == [3, 1, 3, 3]


def test_mean_ranks_over_data_sets_and_metrics():
    columns = {
        ("digits", "ssim"): {"a": 0.6, "b": 0.5, "c": 0.4},
        ("digits", "lpips"): {"a": 0.2, "b": 0.1, "c": 0.3},
        ("mazes", "fvd"): {"a": 10.0, "b": 30.0, "c": 30.0},
    }
    got = mean_ranks(columns)
    assert got == pytest.approx({"a": (1 + 2 + 1) / 3, "b": (2 + 1 + 2.5) / 3, "c": 8.5 / 3})


def test_unlike_columns_are_refused():
    with pytest.raises(ValueError, match="leave the metric out"):
        mean_ranks({("d", "ssim"): {"a": 1.0}, ("d", "psnr"): {"b": 1.0}})
    with pytest.raises(ValueError, match="'mse'"):
        mean_ranks({("d", "mse"): {"a": 1.0}})


def test_models_are_ranked_and_references_are_not():
    def line(name, reference, level, fvd=None):
        values = {"ssim": np.full((2, 1, 3), level), "lpips": np.full((2, 1, 3), level)}
        return make_line(name, reference, values, fvd, {})

    lines = [line("blank", True, 0.9), line("a", False, 0.6), line("b", False, 0.5)]
    assert rank_lines(lines, "digits") == {"a": 1.5, "b": 1.5}
    assert rank_lines(lines[:2], "digits") == {}
    lines = [line("a", False, 0.6, fvd=3.0), line("b", False, 0.5, fvd=2.0)]
    assert rank_lines(lines, "digits") == pytest.approx({"a": 5 / 3, "b": 4 / 3})


def test_the_usable_horizon_by_hand():
    """A curve that falls by 1 a frame from 20 meets 12, smoothed over 9 frames, at frame 8; and a
    line that rises by 1 from 0 at frame 10. What is first is named."""
    curve = 20.0 - np.arange(30)
    references = {"blank": np.full(30, 12.0), "random frame": np.arange(30.0)}
    usable = usable_horizon(curve, references)
    assert usable.by_reference == {"blank": 8, "random frame": 10}
    assert (usable.frames, usable.horizon, usable.falls_to) == (8, 30, "blank")
    mirrored = {name: -x for name, x in references.items()}
    assert usable_horizon(-curve, mirrored, higher=False) == usable
    assert usable_horizon(curve, {"blank": np.full(30, -99.0)}).frames == 30
    gaps = np.where(np.arange(30) % 2, np.nan, curve)
    assert usable_horizon(gaps, references).by_reference == {"blank": 8, "random frame": 10}
    assert usable_horizon(curve * np.nan, references).frames == 0


def test_models_are_put_beside_all_that_knows_nothing_and_blind_levels_are_not_ranked():
    def line(name, curve, reference=False, **about):
        values = {"ssim": np.broadcast_to(curve, (2, 1, 30)), "lpips": 1 - curve[None, None]}
        return make_line(name, reference, values, None, about)

    falling = np.linspace(1, 0, 30)
    lines = [line("blank", np.full(30, 0.2), True), line("mean frame", np.full(30, 0.6), True)]
    lines += [
        line("a", falling),
        line("b", falling - 0.3),
        line("b, blind", falling, blind_level=1),
    ]
    usable = usable_horizons(lines)
    assert set(usable) == {"a", "b", "b, blind"}
    # 1 - t / 29 is 0.6 at t = 11.6, and 0.3 less at t = 2.9, within the first 9 frames' mean
    assert usable["a"]["ssim"].frames == usable["a"]["lpips"].frames == 12
    assert usable["b"]["ssim"].frames == 0 and usable["b"]["ssim"].falls_to == "mean frame"
    assert set(rank_lines(lines, "digits")) == {"a", "b"}
    assert usable_horizons(lines[2:]) == {}


def test_frames_above_a_level_by_hand():
    curve = np.array([5.0, 5, 5, 2, 5, 2, 2, 2, 2, 2])
    assert frames_above(curve, 3.0, smooth=1) == 3
    # running means of three: 5 4 4 3 3 2 2 2, the fourth of them round time 4
    assert frames_above(curve, 3.0, smooth=3) == 4
    assert frames_above(curve, 1.0, smooth=3) == 10
    assert frames_above(curve, 6.0, smooth=3) == 0
    assert frames_above(curve[:2], 4.0) == 2
