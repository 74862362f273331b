"""What probes say of predictions that are known: equal, shifted, of another digit, another room."""

import numpy as np
import pytest

from analysis.probes import measures
from analysis.probes.ball import colours
from analysis.probes.digit_reader import CLASSES
from recordings.generators.moving_ball import PALETTE, paint

ROWS = np.arange(2)


def spot(row, column):
    """A frame of 8 × 8 with one bright pixel."""
    image = np.zeros((8, 8, 1), np.uint8)
    image[row, column] = 200
    return image


def test_likeness_by_hand():
    true = np.zeros((2, 3, 4, 4, 1), np.uint8)
    drawn = np.full((2, 2, 4, 4, 1), 51, np.uint8)  # 0.2 off everywhere: MSE 0.04
    said = measures.likeness(true)(ROWS, drawn)[measures.LIKENESS]
    np.testing.assert_allclose(said, np.full((2, 2), -10 * np.log10(0.04)), rtol=1e-5)
    equal = measures.likeness(true)(ROWS, true)[measures.LIKENESS]
    np.testing.assert_allclose(equal, np.full((2, 3), 100), rtol=1e-6)  # MSE below 1e-10


def test_displacement_by_hand():
    true = np.stack([[spot(1, 1), spot(2, 2)], [spot(5, 5), np.zeros((8, 8, 1), np.uint8)]])
    drawn = np.stack([[spot(4, 5), spot(2, 2)], [spot(5, 3), spot(3, 4)]])
    said = measures.displacement(true)(ROWS, drawn)[measures.DISPLACEMENT]
    np.testing.assert_allclose(said, [[5, 0], [2, 0.5**0.5]], atol=1e-4)  # black: the middle, 3.5


def test_the_colour_of_a_ball_is_read():
    """Of balls that are drawn in every colour, halved in light, and of black."""
    colour = np.arange(len(PALETTE))
    frames = paint(np.full((8, 2), 30.0), 7.0, PALETTE)
    np.testing.assert_array_equal(colours(frames), colour)
    np.testing.assert_array_equal(colours(frames // 2), colour)
    assert (colours(np.zeros_like(frames)) == -1).all()
    true = np.stack([colour, (colour + [0, 1] * 4) % 8])
    said = measures.ball_colour(true)(ROWS, np.stack([frames[:6]] * 2))[measures.COLOUR]
    np.testing.assert_array_equal(said, [[1] * 6, [1, 0] * 3])


def test_centre_of_brightness_is_weighted():
    image = (spot(0, 0) + spot(4, 0) // 2)[None]
    np.testing.assert_allclose(measures.centres(image), [[4 / 3, 0]], atol=1e-4)


def test_digits_that_a_reader_reads():
    """The reader says (1, 2) of bright frames, (1, 3) of dark ones; each window has 3 frames."""
    index = {shown: n for n, shown in enumerate(CLASSES)}

    def read(frames):
        scores = np.full((*frames.shape[:-3], 66), -8.0)
        bright = frames.max((-3, -2, -1)) > 100
        scores[..., index[1, 2]] = np.where(bright, 0.0, -8.0)
        scores[..., index[1, 3]] = np.where(bright, -8.0, 0.0)
        return scores

    frames = np.zeros((2, 4, 8, 8, 1), np.uint8)
    frames[0] = 255
    frames[1, 1:] = 255
    probe = measures.digits(read, np.array([index[1, 2], index[1, 2]]), 1)
    said = probe(ROWS, frames)
    np.testing.assert_array_equal(said[measures.PAIR], [[1, 1, 1, 1], [0, 1, 1, 1]])
    np.testing.assert_array_equal(said[measures.DIGITS], [[1, 1, 1, 1], [0.5, 1, 1, 1]])
    outvoted = measures.digits(read, np.array([index[1, 2]] * 2), 5)(ROWS, frames)
    assert (outvoted[measures.PAIR] == 1).all()


COLOURS = np.array([(250, 0, 0), (0, 250, 0), (0, 0, 250)], np.uint8)


def painted(regions):
    """Frames of 2 × 2 in the colour of each region, [..., 2, 2, 3]."""
    return np.broadcast_to(COLOURS[regions][..., None, None, :], (*regions.shape, 2, 2, 3))


@pytest.fixture
def maze():
    """Two walks of 60 frames, 20 of them context: 0, 2, 1; and 1 throughout."""
    room = np.stack([np.repeat([0, 0, 2, 1], [20, 10, 10, 20]), np.ones(60, int)])
    return painted(room), room


def test_rooms_that_are_right(maze):
    videos, room = maze
    probe = measures.room_sequence(videos, room, 20)
    said = probe(ROWS, videos[:, 20:])
    assert said[measures.ROOM].mean() == 1 and said[measures.KIND].mean() == 1
    shown = said[measures.SHOWN_ROOM]
    assert (shown[0, :10] == 1).all() and np.isnan(shown[0, 10:]).all() and (shown[1] == 1).all()
    stays = probe(ROWS, painted(np.repeat(room[:, 19:20], 40, 1)))
    np.testing.assert_array_equal(stays[measures.ROOM][0], np.repeat([1, 0], [10, 30]))
    np.testing.assert_array_equal(stays[measures.KIND][0], np.repeat([1, 0], [10, 30]))
    assert (stays[measures.KIND][1] == 1).all()


def test_a_shorter_prediction_is_held_against_its_beginning(maze):
    videos, room = maze
    said = measures.room_sequence(videos, room, 20)(np.array([1]), videos[1:, 20:25])
    assert all(x.shape == (1, 5) for x in said.values())


def test_references_of_rooms(maze):
    videos, room = maze
    found = measures.room_references(videos, room, 20)
    assert found[measures.ROOM]["true frames"].mean() == 1
    stays = found[measures.ROOM]["stays where it was"]
    np.testing.assert_array_equal(stays, np.stack([np.repeat([1, 0], [10, 30]), np.ones(40)]))
    kinds = found[measures.KIND]["always the commonest kind"]
    assert (kinds[1] == 1).all() and (kinds[0, 10:] == 0).all()  # ties: the first kind
