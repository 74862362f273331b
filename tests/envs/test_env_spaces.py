"""Canonical observations: what every kind of space becomes."""

import tracemalloc

import numpy as np
import pytest
from gymnasium import spaces

from envs.images import area_weights, fitted
from envs.navigate import observation_space
from envs.spaces import Canonical, chosen, is_image, one_hot


def convert(space, value, size=8):
    canonical = Canonical(space, size)
    obs = canonical(value)
    assert canonical.space.contains(obs)
    return obs


@pytest.mark.parametrize(
    ("space", "value", "expected"),
    [
        (spaces.Box(-1, 1, (2, 2), np.float64), [[0, 1], [0.5, -1]], [0, 1, 0.5, -1]),
        (spaces.Box(-180, 180, (), np.float32), np.float32(30), [30]),
        (spaces.Box(0, 255, (4,), np.uint8), [1, 2, 3, 255], [1, 2, 3, 255]),
        (spaces.Discrete(3), 1, [0, 1, 0]),
        (spaces.Discrete(3, start=-1), -1, [1, 0, 0]),
        (spaces.MultiDiscrete([2, 3]), [1, 0], [0, 1, 1, 0, 0]),
        (spaces.MultiDiscrete([[2, 2]]), [[1, 0]], [0, 1, 1, 0]),
        (spaces.MultiBinary((2, 2)), [[0, 1], [1, 1]], [0, 1, 1, 1]),
    ],
)
def test_vectors(space, value, expected):
    obs = convert(space, np.asarray(value))
    assert list(obs) == ["observation"] and obs["observation"].dtype == np.float32
    np.testing.assert_array_equal(obs["observation"], np.array(expected, np.float32))


def test_every_sample_of_a_nested_space_fits():
    space = spaces.Dict(
        {
            "a": spaces.Dict(
                {"b": spaces.Discrete(4), "c": spaces.Box(0, 255, (9, 9, 3), np.uint8)}
            ),
            "t": spaces.Tuple((spaces.MultiBinary(2), spaces.Box(-np.inf, np.inf, (3,)))),
        }
    )
    canonical = Canonical(space, 8)
    assert set(canonical.space.spaces) == {"a.b", "a.c", "t.0", "t.1"}
    space.seed(0)
    for _ in range(20):
        assert canonical.space.contains(canonical(space.sample()))


def test_navigate_becomes_an_image_and_two_scalars():
    space = Canonical(observation_space(), 64).space
    assert {name: part.shape for name, part in space.spaces.items()} == {
        "pov": (64, 64, 3),
        "compass.angle": (1,),
        "inventory.dirt": (1,),
    }
    assert space["compass.angle"].high == 180 and space["inventory.dirt"].high == 2304


def test_an_image_of_the_right_size_passes_untouched():
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    obs = convert(spaces.Box(0, 255, (8, 8, 3), np.uint8), image)
    np.testing.assert_array_equal(obs["image"], image)


def test_halving_an_image_takes_means():
    image = np.zeros((16, 16, 1), np.uint8)
    image[0, 0] = 100
    assert convert(spaces.Box(0, 255, (16, 16, 1), np.uint8), image)["image"][0, 0, 0] == 25


@pytest.mark.parametrize(
    "axes",
    [
        (0, 1, 2, 3),  # frames first, colours last, as FrameStackObservation stacks them
        (0, 3, 1, 2),  # frames, colours, rows, columns
        (1, 2, 3, 0),  # rows, columns, colours, frames
    ],
)
@pytest.mark.parametrize("number", [np.uint8, np.float32])
def test_stacked_frames_are_channels_in_any_order(axes, number):
    """Four frames of 16 x 16 pixels and three colours: 12 channels of the same picture; floats in
    [0, 1] count by 255."""
    frames = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3)).astype(np.uint8)
    shown = np.transpose(frames, axes)
    high = 255 if number == np.uint8 else 1
    given = shown if number == np.uint8 else (shown / 255).astype(np.float32)
    obs = convert(spaces.Box(0, high, shown.shape, number), given, 16)["image"]
    rest = [axis for axis in axes if axis not in (1, 2)]
    want = np.transpose(frames, (1, 2, *rest)).reshape(16, 16, 12)
    np.testing.assert_array_equal(obs, want)


@pytest.mark.parametrize(
    ("low", "high", "value", "seen", "said"),
    [
        (0, 3, 2, 170, "0..3 stretched to 0..255"),  # kinds of cells
        (0, 1, 1, 255, "0..1 stretched to 0..255"),  # a mask
        (0, 255, 2, 2, None),
        (1, 3, 2, 2, None),
        (0, np.tile(np.uint8([3, 9]), (8, 4)), 2, 2, None),  # no two cells alike
    ],
)
def test_a_picture_of_few_values_is_stretched(low, high, value, seen, said):
    space = spaces.Box(low, high, (8, 8), np.uint8)
    assert (convert(space, np.full((8, 8), value, np.uint8))["image"] == seen).all()
    described = Canonical(space, 8).parts["image"][1].described
    assert said in described if said else "stretched" not in described


def test_memory_of_a_one_hot_vector_grows_as_its_length():
    tracemalloc.start()
    found = one_hot(np.array([[7], [2999]]), 3000)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.shape == (2, 1, 3000) and found.dtype == np.float32 and most < 2**20
    np.testing.assert_array_equal(found.nonzero()[2], [7, 2999])


@pytest.mark.parametrize(
    ("space", "picture"),
    [
        (spaces.Box(0, 1, (64, 64, 3), np.float32), True),
        (spaces.Box(0, 255, (3, 64, 64), np.float32), True),
        (spaces.Box(0, 255, (4, 84, 84), np.uint8), True),  # four grey frames
        (spaces.Box(-1, 1, (64, 64, 3), np.float32), False),  # -1 to 1 is no scale of pixels
        (spaces.Box(0, 1, (64, 64), np.float32), False),  # a matrix
        (spaces.Box(0, 1, (8, 8, 111), np.float32), False),  # planes of a chess board
        (spaces.Box(0, 255, (7, 7, 3), np.uint8), False),
        (spaces.Box(0, 255, (2, 3, 4, 64, 64), np.uint8), False),
    ],
)
def test_what_is_a_picture(space, picture):
    assert is_image(space) == picture
    assert list(Canonical(space, 8).parts) == ["image" if picture else "observation"]


NESTED = spaces.Dict(
    {
        "camera": spaces.Dict({"left": spaces.Discrete(2), "right": spaces.Discrete(3)}),
        "mission": spaces.Text(9),
        "speed": spaces.Box(-1, 1, (2,)),
    }
)


def test_texts_are_left_out_and_said_so():
    canonical = Canonical(NESTED, 8)
    assert list(canonical.parts) == ["camera.left", "camera.right", "speed"]
    assert canonical.left_out == {"mission": "text is not read"}
    obs = {"camera": {"left": 1, "right": 2}, "mission": "go", "speed": np.zeros(2, np.float32)}
    assert canonical.space.contains(canonical(obs))


def test_keys_choose_by_pattern_what_is_read():
    canonical = Canonical(NESTED, 8, keys=("camera.*",))
    assert list(canonical.space) == ["camera.left", "camera.right"]
    assert canonical.left_out["speed"] == "no key matches it"
    with pytest.raises(ValueError, match=r"patterns of what is observed \(.*speed.*received lidar"):
        Canonical(NESTED, 8, keys=("lidar",))
    with pytest.raises(ValueError, match="leave something to be read, received mission"):
        Canonical(NESTED, 8, keys=("mission",))


def test_predict_chooses_by_pattern_of_what_is_read():
    read = list(Canonical(NESTED, 8).space)
    assert chosen(read, ()) == tuple(read)
    assert chosen(read, ("*ee*", "camera.right")) == ("camera.right", "speed")
    for wrong in (("lidar",), ("speed", "lidar"), ("mission",)):  # a text is not read
        with pytest.raises(ValueError, match=r"predict: .*camera.left.*received (lidar|mission); "):
            chosen(read, wrong)


def test_grey_and_channels_first_images_become_channels_last():
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_array_equal(
        convert(spaces.Box(0, 255, (16, 16), np.uint8), grey, 16)["image"][..., 0], grey
    )
    first = np.random.default_rng(0).integers(0, 256, (3, 8, 8), np.uint8)
    np.testing.assert_array_equal(
        convert(spaces.Box(0, 255, (3, 8, 8), np.uint8), first)["image"], np.moveaxis(first, 0, -1)
    )


@pytest.mark.parametrize(
    ("space", "image"),
    [
        (spaces.Box(0, 255, (96, 96, 3), np.uint8), True),
        (spaces.Box(0, 255, (4, 84, 84), np.uint8), True),
        (spaces.Box(0, 255, (84, 84), np.uint8), True),
        (spaces.Box(0, 255, (128,), np.uint8), False),
        (spaces.Box(0, 255, (3, 3), np.uint8), False),
        (spaces.Discrete(3), False),
    ],
)
def test_what_counts_as_an_image(space, image):
    assert is_image(space) == image


def test_area_weights_by_hand():
    """Three pixels onto two: each new one covers one and a half old ones."""
    expected = [[2 / 3, 1 / 3, 0], [0, 1 / 3, 2 / 3]]
    np.testing.assert_allclose(area_weights(3, 2), expected, atol=1e-6)


@pytest.mark.parametrize(("old", "new"), [(7, 3), (3, 7), (64, 64), (100, 64)])
def test_resampling_keeps_a_constant_and_the_mean(old, new):
    weights = area_weights(old, new)
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(weights.sum(0), new / old, rtol=1e-5)


@pytest.mark.parametrize(
    ("fit", "row", "said"),
    [
        ("squeeze", [10, 50], "squeezed to a square"),
        ("pad", [5, 25], "padded to a square with black bars"),
        ("crop", [20, 40], "cut to the middle square"),
    ],
)
def test_a_picture_that_is_no_square_by_hand(fit, row, said):
    """Two rows of 0, 20, 40, 60, on 2 x 2 pixels: means of two columns; of two columns, a row of
    the picture and one of a bar; the middle columns. And the same on its side."""
    wide = np.tile(np.array([0, 20, 40, 60], np.uint8), (3, 2, 1))[..., None]
    want = np.array([row, row])
    np.testing.assert_array_equal(fitted(wide, 2, fit)[2, ..., 0], want)
    np.testing.assert_array_equal(fitted(wide.swapaxes(1, 2), 2, fit)[2, ..., 0], want.T)
    canonical = Canonical(spaces.Box(0, 255, (8, 16, 1), np.uint8), 8, fit)
    assert said in canonical.parts["image"][1].described
    picture = np.arange(128, dtype=np.uint8).reshape(8, 16, 1)
    np.testing.assert_array_equal(canonical(picture)["image"], fitted(picture, 8, fit))


def test_bounds_outside_float32_become_infinite():
    space = Canonical(spaces.Box(-1e300, 1e300, (2,), np.float64), 8).space["observation"]
    assert np.isinf(space.low).all() and np.isinf(space.high).all()


@pytest.mark.parametrize(
    "space", [spaces.OneOf([spaces.Discrete(2)] * 2), spaces.Sequence(spaces.Discrete(2))]
)
def test_rejects_spaces_without_a_fixed_size(space):
    with pytest.raises(ValueError, match="fixed size"):
        Canonical(spaces.Dict({"x": space}), 8)


def test_rejects_names_that_collide():
    space = spaces.Dict({"a": spaces.Dict({"b": spaces.Discrete(2)}), "a.b": spaces.Discrete(2)})
    with pytest.raises(ValueError, match="'a.b' twice"):
        Canonical(space, 8)
