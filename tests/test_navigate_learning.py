"""The training curves of the Navigate report hold what the metrics hold."""

import matplotlib.pyplot as plt
import numpy as np

from benchmarks.navigate_learning import learning_curves

LEARNING = {"window_reward/observed": 0.5, "window_reward/imagined": 1.0, "loss/total": 9.0}


def test_both_panels_have_their_data() -> None:
    """Episodes end at steps of their own, where nothing else is logged."""
    rows = [{"step": 10, "episode/return": 3.0}, {"step": 20, **LEARNING}]
    figure = learning_curves([*rows, {"step": 30, "episode/return": 4.0}])
    left, right = figure.axes
    np.testing.assert_array_equal(left.lines[0].get_xydata(), [[10, 3], [30, 4]])
    drawn = {line.get_label(): line.get_xydata().tolist() for line in right.lines}
    assert drawn == {"observed": [[20, 0.5]], "imagined": [[20, 1.0]]}
    assert not left.get_title() and not right.get_title()
    plt.close(figure)


def test_a_panel_without_data_says_so() -> None:
    figure = learning_curves([{"step": 20, **LEARNING}])
    left, right = figure.axes
    assert left.get_title() == "no episode/return was logged" and not right.get_title()
    assert left.lines[0].get_xydata().size == 0
    assert not left.get_yaxis().have_units()  # an axis of numbers, not of the word "o"
    plt.close(figure)
