"""Observations as pictures, by hand."""

import numpy as np

from training.picture import BLUE, EDGE, RED, bar_limits, bars, pictures, true_above_imagined


def test_a_bar_is_as_high_as_its_value():
    frames = bars(np.array([[1.0, -1.0, 0.0]]))
    assert frames.shape == (1, EDGE, EDGE, 3)
    column = frames[0, :, EDGE // 6]
    assert (column[1 : EDGE // 2] == BLUE).all() and not (column[EDGE // 2 + 1 :] == BLUE).any()
    column = frames[0, :, EDGE // 2]
    assert (column[EDGE // 2 + 1 : EDGE - 1] == RED).all()


def test_images_stand_side_by_side_and_vectors_are_left_out():
    obs = {"a": np.zeros((2, 8, 8, 3), np.uint8), "b": np.full((2, 8, 8, 1), 9, np.uint8)}
    frames = pictures({**obs, "v": np.ones((2, 3))}, {"v": 1.0})
    assert frames.shape == (2, 8, 16, 3) and (frames[:, :, 8:] == 9).all()


def test_true_stands_above_imagined_and_what_was_not_seen_is_marked():
    true = {"image": np.full((2, 4, 8, 8, 3), 10, np.uint8)}
    imagined = {"image": np.full((2, 4, 8, 8, 3), 20, np.uint8)}
    frames = true_above_imagined(true, imagined, context=3, factor=2)
    assert frames.shape == (4, 32, 32, 3)
    assert (frames[:, :16] == 10).all() and (frames[:3, 16:] == 20).all()
    assert (frames[3, 16, :] == (255, 0, 0)).all() and (frames[3, 20:, 5] == 20).all()


def test_bar_limits_are_the_largest_values():
    assert bar_limits({"v": np.array([[1.0, -3.0]]), "i": np.zeros((1, 8, 8, 3))}) == {"v": 3.0}
