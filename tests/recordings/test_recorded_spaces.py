"""Recorded series have the layout of single steps; what their spaces do not declare is refused."""

from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces

from agents.factors import flatten
from envs import EnvConfig, make_agent_env
from envs.spaces import Canonical
from recordings.importers.minerl import MineRL

ACTIONS = [
    spaces.Box(-2, 5, (3,)),
    spaces.Box(np.array([0, -1], np.float32), np.array([0, 1], np.float32)),
    spaces.Discrete(4, start=2),
    spaces.MultiDiscrete([3, 2, 5]),
    spaces.MultiBinary(3),
    spaces.Dict({"z": spaces.Discrete(2), "a": spaces.Box(-1, 1, (2, 2))}),
    spaces.Tuple([spaces.Discrete(3), spaces.Dict({"k": spaces.Box(0, 9, ())})]),
]


def stacked(space, samples):
    """Samples of a space as arrays over time, nested as the space is."""
    if isinstance(space, spaces.Dict):
        return {key: stacked(part, [x[key] for x in samples]) for key, part in space.items()}
    if isinstance(space, spaces.Tuple):
        columns = range(len(space.spaces))
        return tuple(stacked(space.spaces[i], [x[i] for x in samples]) for i in columns)
    return np.stack([np.asarray(x) for x in samples])


@pytest.mark.parametrize("space", ACTIONS, ids=str)
def test_a_series_of_actions_is_laid_out_as_each_of_them(space):
    space.seed(0)
    samples = [space.sample() for _ in range(5)]
    flat = flatten(space, stacked(space, samples))
    assert flat.dtype == np.float32
    np.testing.assert_array_equal(flat, np.stack([flatten(space, x) for x in samples]))


def test_actions_by_hand():
    space = spaces.Dict({"a": spaces.Box(0, 4, (2,)), "z": spaces.Discrete(3, start=5)})
    flat = flatten(space, {"a": np.array([[0, 4], [9, 3]]), "z": np.array([5, 7])})
    np.testing.assert_array_equal(flat, [[-1, 1, 1, 0, 0], [1, 0.5, 0, 0, 1]])  # 9 is clipped


OBSERVATIONS = [
    spaces.Box(0, 255, (40, 40, 3), np.uint8),
    spaces.Box(0, 255, (3, 24, 24), np.uint8),
    spaces.Box(0, 255, (16, 16), np.uint8),
    spaces.Box(0, 255, (3, 4), np.uint8),
    spaces.Box(-np.inf, np.inf, (2, 3)),
    spaces.Discrete(3, start=-1),
    spaces.MultiBinary(4),
    spaces.MultiDiscrete([2, 3]),
    spaces.Dict({"a/b": spaces.Dict({"x": spaces.Box(0, 1, ())}), "i": spaces.Discrete(2)}),
    spaces.Tuple([spaces.Box(0, 1, (2,)), spaces.Box(0, 255, (16, 16, 1), np.uint8)]),
]


@pytest.mark.parametrize("space", OBSERVATIONS, ids=str)
def test_a_series_of_observations_is_laid_out_as_each_of_them(space):
    space.seed(0)
    samples = [space.sample() for _ in range(4)]
    canonical = Canonical(space, 16)
    found = canonical.series(stacked(space, samples))
    expected = [canonical(x) for x in samples]
    assert set(found) == set(expected[0])
    for name, array in found.items():
        np.testing.assert_array_equal(array, np.stack([x[name] for x in expected]))


def test_the_middle_square_of_a_series():
    images = np.zeros((2, 16, 32, 1), np.uint8)
    images[:, :, 8:24] = 200
    cropped = Canonical(spaces.Box(0, 255, (16, 32, 1), np.uint8), 8, "crop").series(images)
    assert (cropped["image"] == 200).all() and cropped["image"].shape == (2, 8, 8, 1)


@pytest.mark.parametrize(
    ("space", "values"),
    [
        (spaces.Discrete(3), np.array([0, 3])),
        (spaces.Discrete(3), np.array([0.5])),
        (spaces.Box(-np.inf, 1, (1,)), np.zeros((2, 1))),
        (spaces.Text(3), np.zeros(2)),
    ],
)
def test_actions_outside_their_space_are_refused(space, values):
    with pytest.raises(ValueError, match="expected"):
        flatten(space, values)


@pytest.mark.parametrize(
    ("space", "values", "words"),
    [
        (spaces.Discrete(3), np.array([0, -1]), "choices: expected 0 to 2"),
        (spaces.MultiDiscrete([2, 3]), np.array([[0, 3]]), "choices: expected 0 to 2"),
        (spaces.Box(0, 1, (2,)), np.zeros((5, 3)), r"\[T, ...\] with \(2,\)"),
        (spaces.Box(0, 1, ()), np.float32(0), r"received \(\)"),
    ],
)
def test_observations_outside_their_space_are_refused(space, values, words):
    with pytest.raises(ValueError, match=words):
        Canonical(space, 16).series(values)


@pytest.mark.parametrize("held", [(), ("jump=1", "attack=0")])
def test_minerl_is_what_the_navigate_agent_has(held):
    """Action space and observations of `--env minerl_navigate`, held keys and limit too."""
    options = {"camera_limit": "12", "held_keys": " ".join(held)}
    config = EnvConfig(backend="builtin", options=options, time_limit=4)
    env = make_agent_env(config)
    keys = tuple(key.partition("=")[0] for key in held)
    source = MineRL(Path("unused"), camera_limit=12.0, held_keys=keys)
    assert source.action_space() == env.action_space
    names = {"pov": (64, 64, 3), "compass.needle": (2,), "inventory.dirt": (1,)}
    assert {key: part.shape for key, part in env.observation_space.items()} == names
    env.close()
