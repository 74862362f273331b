"""Figures along time: curves and frames at the times that they belong to, gaps left open."""

import io

import numpy as np
from PIL import Image

from analysis.pages.episode_plots import Line, Panel, draw_along, draw_futures

TIME = np.arange(0, 12, 4)  # ticks of a level every 4 steps
GREEN = np.array([0, 200, 0], np.uint8)


def pixels(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=50)
    return np.asarray(Image.open(buffer).convert("RGB"))


def along(**more):
    kl = Line("KL", TIME, np.array([5.0, np.nan, 3.0]), "red", steps=True)
    value = Line("value", np.arange(12), np.arange(12.0), "blue")
    panels = [Panel("KL of level 2", "nats", [kl]), Panel("both", "", [value, kl])]
    return draw_along(panels, (0, 12), "environment steps", **more)


def test_steps_are_held_from_their_tick_to_the_next_and_gaps_stay_open():
    axis = along().axes[0]
    (stairs,) = axis.patches
    values, edges, _ = stairs.get_data()
    assert edges.tolist() == [0, 4, 8, 12] and np.isnan(values[1])
    (dots,) = axis.lines
    assert dots.get_xdata().tolist() == [0, 4, 8] and dots.get_linestyle() == "None"
    assert axis.get_title(loc="left") == "KL of level 2" and axis.get_xlim() == (0, 12)


def test_curves_stand_at_their_times_and_only_two_have_a_legend():
    first, second = along().axes
    value = second.lines[0]
    assert value.get_xdata().tolist() == list(range(12))
    assert value.get_ydata().tolist() == list(range(12))
    assert first.get_legend() is None
    assert [text.get_text() for text in second.get_legend().texts] == ["value", "KL"]


def test_a_span_shows_what_lies_or_is_held_in_it():
    kl = Line("KL", TIME, np.array([5.0, 4.0, 3.0]), "red", steps=True)
    plain = Line("v", TIME, np.array([5.0, 4.0, 3.0]), "red")
    held, curve = draw_along([Panel("", "", [kl]), Panel("", "", [plain])], (6, 8), "").axes
    assert held.lines[0].get_xdata().tolist() == [4, 8]  # that of 4 is held over 6
    assert curve.lines[0].get_xdata().tolist() == [8]


def test_frames_fill_equal_parts_of_the_span():
    frames = np.zeros((4, 64, 64, 3), np.uint8)
    frames[2] = GREEN
    figure = along(strips={"seen": frames}, marks=[6.0])
    strip = figure.axes[0]
    (image,) = strip.images
    assert image.get_extent() == [0, 12, 0, 1] and strip.get_ylabel() == "seen"
    drawn = np.asarray(image.get_array())
    green = np.flatnonzero((drawn[32] == GREEN).all(-1))
    width = drawn.shape[1]
    assert width / 2 <= green[0] and green[-1] < 3 * width / 4  # times 6 … 9
    marks = [x for axis in figure.axes[1:] for x in axis.lines if len(set(x.get_xdata())) == 1]
    assert [x.get_xdata()[0] for x in marks] == [6.0, 6.0]
    box = strip.get_position()
    size = figure.get_size_inches()
    square = box.width * size[0] / (box.height * size[1])
    np.testing.assert_allclose(square, 4, rtol=1e-6)  # pixels are square


def test_panels_of_the_same_curves_share_one_legend():
    lines = [Line(name, TIME, TIME * 1.0, "red") for name in "ab"]
    figure = draw_along([Panel("one", "", lines), Panel("two", "", lines)], (0, 12), "")
    assert all(axis.get_legend() is None for axis in figure.axes)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.texts] == ["a", "b"]


def test_futures_stand_beside_their_returns():
    frames = np.full((3, 64, 64, 3), 120, np.uint8)
    returns = {"own": np.array([1.0, 3.0]), "left": np.array([-4.0])}
    figure = draw_futures(
        {"what happened": frames, "own": frames, "left": frames},
        np.array([1, 5, 9]),
        returns,
        {"what happened": "grey", "own": "black", "left": "red"},
    )
    *rows, side = figure.axes
    assert [axis.get_ylabel() for axis in rows] == ["what happened", "own", "left"]
    assert [text.get_text() for text in rows[-1].get_xticklabels()] == ["+1", "+5", "+9"]
    means = [line for line in side.lines if len(line.get_xdata()) == 1 and line.get_alpha() is None]
    assert [(m.get_xdata()[0], m.get_ydata()[0]) for m in means] == [(2.0, 1), (-4.0, 2)]
    assert [text.get_text() for text in side.texts] == ["2", "-4"]
    for row, axis in enumerate(rows):  # each return stands beside its row
        middle = axis.get_position().y0 + axis.get_position().height / 2
        there = figure.transFigure.inverted().transform(side.transData.transform((0, row)))[1]
        assert abs(middle - there) < 0.03
    assert pixels(figure).std() > 10
