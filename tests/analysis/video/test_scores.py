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


def test_frames_above_a_level_by_hand():
    curve = np.array([5.0, 5, 5, 2, 5, 2, 2, 2, 2, 2])
    assert frames_above(curve, 3.0, smooth=1) == 3
    # running means of three: 5 4 4 3 3 2 2 2, the fourth of them round time 4
    assert frames_above(curve, 3.0, smooth=3) == 4
    assert frames_above(curve, 1.0, smooth=3) == 10
    assert frames_above(curve, 6.0, smooth=3) == 0
    assert frames_above(curve[:2], 4.0) == 2
