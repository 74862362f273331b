"""The reader of digits: sets by hand and by a slow twin, windows, labels, learning, its files."""

import itertools
import math

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from analysis.probes import digit_training
from analysis.probes.digit_reader import (
    CLASSES,
    FLOOR,
    GRID,
    SELDOM,
    STEP,
    WINDOW,
    DigitReader,
    class_numbers,
    likeliest,
    over_window,
    right_digits,
    set_scores,
)
from analysis.probes.digit_training import Glyphs


def test_classes_are_the_sets_of_up_to_two_digits():
    assert len(CLASSES) == len(set(CLASSES)) == 66
    assert CLASSES[0] == () and CLASSES[1] == (0,) and CLASSES[11] == (0, 0)
    assert CLASSES[-1] == (9, 9)
    pairs = np.array([[3, 7], [7, 3], [5, 5]])
    assert [CLASSES[n] for n in class_numbers(pairs)] == [(3, 7), (3, 7), (5, 5)]
    assert CLASSES[class_numbers(np.array([[4]]))[0]] == (4,)


def test_sets_by_a_slow_twin():
    """Sums over all windows and pairs of windows that are no neighbours."""
    rng = np.random.default_rng(0)
    log_odds = rng.normal(-4, 3, (GRID**2, 10)).astype(np.float32)
    odds = np.exp(log_odds.astype(float))
    weight = dict.fromkeys(CLASSES, 0.0)
    weight[()] = 1.0
    for a in range(10):
        weight[(a,)] = odds[:, a].sum()
    for i, j in itertools.combinations(range(GRID**2), 2):
        rows, columns = abs(i // GRID - j // GRID), abs(i % GRID - j % GRID)
        if max(rows, columns) > 1:
            for a, b in itertools.product(range(10), repeat=2):
                weight[min(a, b), max(a, b)] += odds[i, a] * odds[j, b]
    expected = np.log([weight[shown] for shown in CLASSES]) - math.log(sum(weight.values()))
    np.testing.assert_allclose(set_scores(jnp.asarray(log_odds)), expected, rtol=1e-4)


def test_one_digit_between_two_windows_is_not_two():
    log_odds = np.full((GRID**2, 10), -30.0, np.float32)
    log_odds[[44, 45], 3] = 2.0  # neighbours
    assert CLASSES[int(set_scores(jnp.asarray(log_odds)).argmax())] == (3,)
    log_odds[[44, 47], 3] = 2.0
    assert CLASSES[int(set_scores(jnp.asarray(log_odds)).argmax())] == (3, 3)


def test_frames_are_read_together():
    scores = np.log(np.random.default_rng(0).dirichlet(np.ones(66), (2, 5)))
    np.testing.assert_allclose(over_window(scores, 1), np.log(np.exp(scores) + FLOOR))
    three = over_window(scores, 3)
    by_hand = np.log(np.exp(scores) + FLOOR)
    np.testing.assert_allclose(three[:, 2], by_hand[:, 1:4].sum(1))
    np.testing.assert_allclose(three[:, 0], by_hand[:, :2].sum(1))
    np.testing.assert_allclose(three[:, 4], by_hand[:, 3:].sum(1))
    with pytest.raises(ValueError, match="odd number of frames, received 4"):
        over_window(scores, 4)


def test_likeliest_of_so_many_digits():
    scores = np.full((1, 66), -9.0)
    scores[0, [0, 5, 20]] = -1.0, -2.0, -3.0
    assert [likeliest(scores, n).tolist() for n in (0, 1, 2)] == [[0], [5], [20]]


def test_digits_that_are_right():
    said = class_numbers(np.array([[1, 2], [1, 3], [3, 3], [4, 5]]))
    assert right_digits(said, class_numbers(np.array([[3, 1]]))).tolist() == [0.5, 1, 0.5, 0]
    assert right_digits(said, class_numbers(np.array([[3, 3]]))).tolist() == [0, 0.5, 1, 0]


def glyphs():
    """A square, a lying bar, a standing bar, a ring; label = number."""
    images = np.zeros((4, WINDOW, WINDOW), np.uint8)
    images[0, 9:19, 9:19] = images[1, 11:17, 4:24] = images[2, 4:24, 11:17] = 255
    images[3, 5:23, 5:23] = 255
    images[3, 9:19, 9:19] = 0
    return Glyphs(images, np.arange(4))


def test_composed_frames_show_what_they_say():
    made = digit_training.compose(glyphs(), 6, 2, np.random.default_rng(0))
    for n in range(6):
        twin = np.zeros((64, 64), np.uint8)
        ink = []
        for label, (row, column) in zip(made.digits[n], made.corners[n], strict=True):
            layer = np.zeros((64, 64), np.uint8)
            layer[row : row + WINDOW, column : column + WINDOW] = glyphs().images[label]
            ink.append(layer.astype(float))
            twin = np.maximum(twin, layer)
        np.testing.assert_array_equal(made.images[n, ..., 0], twin)
        covered = np.minimum(*ink).sum() / min(x.sum() for x in ink)
        np.testing.assert_allclose(made.overlap[n], covered)
    assert (digit_training.compose(glyphs(), 3, 1, np.random.default_rng(0)).overlap == 0).all()


def test_a_digit_belongs_to_the_nearest_window():
    corners = np.array([[[0, 1], [36, 34]], [[6, 7], [5, 20]]])
    frames = digit_training.Frames(
        np.zeros((2, 64, 64, 1), np.uint8), np.array([[1, 2], [3, 4]]), corners, np.zeros(2)
    )
    labels = digit_training.window_labels(frames).reshape(2, GRID, GRID)
    assert labels[0, 0, 0] == 1 and labels[0, 9, 9] == 2  # 34 is 2 from 36 and from 32: up
    assert labels[1, 2, 2] == 3 and labels[1, 1, 5] == 4
    assert (labels == digit_training.NONE).sum() == 2 * GRID**2 - 4


def test_windows_to_learn_from_are_those_of_the_frame():
    """A window's label is that of a digit whose image it nearly shows; others show none whole."""
    single = Glyphs(glyphs().images[:1], np.array([7]))
    images, labels = digit_training.draw_windows(single, 8, np.random.default_rng(0))
    assert images.shape[1:] == (WINDOW, WINDOW, 1) and len(images) == len(labels)
    frames, windows = 8 * (digit_training.NEGATIVES), len(labels)
    assert (labels == digit_training.NONE).sum() >= frames and windows <= frames + 2 * 8
    held = images[labels == 7].sum((1, 2, 3))
    full = single.images[0].sum() / 255
    assert (held > 0.5 * full).all()  # whole, perhaps paler


def test_slid_over_a_frame_it_sees_what_it_sees_in_a_window():
    reader = DigitReader(nnx.Rngs(0))
    frame = np.random.default_rng(0).random((1, 64, 64, 1), np.float32)
    slid = np.asarray(reader(jnp.asarray(frame))).reshape(GRID, GRID, 10)
    for row, column in ((0, 0), (3, 7), (9, 9)):
        part = frame[:, row * STEP :, column * STEP :][:, :WINDOW, :WINDOW]
        np.testing.assert_allclose(
            slid[row, column], reader(jnp.asarray(part))[0, 0], rtol=1e-4, atol=1e-5
        )
    assert math.isclose(SELDOM, math.log(98 / 4))


def test_variants_keep_label_and_place():
    more = digit_training.varied(glyphs(), 2, np.random.default_rng(0))
    assert more.labels.tolist() == [0, 1, 2, 3] * 3 and more.images.dtype == np.uint8
    np.testing.assert_array_equal(more.images[:4], glyphs().images)
    ratio = more.images[4:].sum((1, 2)) / np.tile(glyphs().images.sum((1, 2)), 2)
    assert (abs(ratio - 1) < 0.1).all()
    assert not np.array_equal(more.images[4:8], more.images[:4])


def test_weathered_frames_are_paler_at_most():
    images = digit_training.compose(glyphs(), 40, 1, np.random.default_rng(0)).images
    seen = digit_training.weathered(images, np.random.default_rng(1))
    light = seen.sum((1, 2, 3)) / (images.sum((1, 2, 3)) / 255)
    same = (seen == images / np.float32(255)).all((1, 2, 3))
    assert 10 < same.sum() < 30
    assert ((light[~same] > 0.59) & (light[~same] < 1.01)).all()


@pytest.mark.slow
@pytest.mark.learning
def test_it_learns_to_read(tmp_path, seeds, margins):
    """Four shapes after 100 updates: 46 frames of 50 or more, and the margin 1 where all are right;
    a saved reader reads the same."""
    source = glyphs()
    frames = digit_training.compose(source, 50, 1, np.random.default_rng(5))
    shares = []
    for seed in seeds:
        reader = digit_training.train_reader(source, 100, seed)
        said = likeliest(digit_training.make_reading(reader)(frames.images), 1)
        shares.append(((said == class_numbers(frames.digits)).sum() - 45.5) / (50 - 45.5))
    margins(shares)
    path = tmp_path / "data" / "reader.npz"
    digit_training.save_reader(path, reader)
    read = digit_training.make_reading(digit_training.load_reader(path))
    np.testing.assert_allclose(
        read(frames.images[None, :3])[0], digit_training.make_reading(reader)(frames.images[:3])
    )
    np.savez(path, p0=np.zeros(3))
    with pytest.raises(ValueError, match="delete the file"):
        digit_training.load_reader(path)
