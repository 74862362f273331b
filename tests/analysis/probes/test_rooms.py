"""Rooms by their colours: histograms by hand, the three kinds of sequence, rooms never shown."""

import numpy as np
import pytest

from analysis.probes import rooms
from recordings.generators.maze_layout import HALLWAY, ROOM_A, ROOM_B

RED, GREEN, BLUE = (250, 0, 0), (0, 250, 0), (0, 0, 250)


def painted(*colours):
    """One frame of 2 × 2 pixels per four colours."""
    return np.array(colours, np.uint8).reshape(-1, 2, 2, 3)


def test_histograms_by_hand():
    histogram = rooms.histograms(painted(RED, RED, RED, BLUE))
    assert histogram.shape == (1, 64)
    np.testing.assert_allclose(histogram[0, [3, 48]], np.sqrt([0.75, 0.25]))  # 3 + 4·0, 3·16
    np.testing.assert_allclose((histogram**2).sum(), 1)
    grey = np.array([[[[63], [64]]]], np.uint8)  # the border of the lowest step
    np.testing.assert_allclose(rooms.histograms(grey), [[0.5**0.5, 0.5**0.5, 0, 0]])


def test_frames_go_to_the_nearest_region_that_was_visited():
    colours = [RED] * 20 + [BLUE] * 20
    true = rooms.histograms(painted(*[c for c in colours for _ in range(4)]))
    room = np.repeat([ROOM_A, HALLWAY], 20)
    template = rooms.templates(true, room)
    assert np.isinf(template[ROOM_B]).all()
    predicted = painted(*[RED] * 40, *([BLUE] * 3 + [RED]) * 10)
    said = rooms.nearest_room(rooms.histograms(predicted), template)
    np.testing.assert_array_equal(said, np.repeat([ROOM_A, HALLWAY], 10))
    np.testing.assert_array_equal(rooms.held_out_rooms(true, room), room)


def test_a_single_odd_frame_is_smoothed_away():
    labels = np.array([0, 0, 2, 0, 0, 1, 1, 1, 1])
    np.testing.assert_array_equal(rooms.smoothed(labels, 3), [0, 0, 0, 0, 0, 1, 1, 1, 1])
    np.testing.assert_array_equal(rooms.smoothed(labels, 1), labels)


@pytest.mark.parametrize(
    ("sequence", "kind", "so_far"),
    [
        ((0, 0, 0), 0, (0, 0, 0)),
        ((1, 2, 2), 1, (0, 1, 1)),
        ((0, 2, 1), 2, (0, 1, 2)),
        ((0, 2, 0, 2), 2, (0, 1, 2, 2)),
        ((2, 2, 0), 2, (1, 1, 2)),
    ],
)
def test_the_three_kinds_of_sequence(sequence, kind, so_far):
    assert rooms.kind(np.array(sequence)) == kind
    np.testing.assert_array_equal(rooms.kinds_so_far(np.array(sequence)), so_far)
    twin = [rooms.kind(np.array(sequence[: t + 1])) for t in range(len(sequence))]
    assert twin == list(so_far)
