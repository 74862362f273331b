"""Held actions: far apart, in words, and what their names say when decoded."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from agents.actions import ActionCodec
from analysis.agent.held_actions import held_actions


def held(space, most=64, dimensions=None):
    codec = ActionCodec(space)
    return {h.name: codec.decode(h.flat) for h in held_actions(codec, most, dimensions)}


def test_of_one_choice_every_class():
    assert held(spaces.Discrete(3)) == {"action = 0": 0, "action = 1": 1, "action = 2": 2}
    assert held(spaces.Discrete(2, start=5)) == {"action = 5": 5, "action = 6": 6}


def test_of_a_box_rest_and_both_ends():
    found = held(spaces.Box(-2, 2, (1,)))
    assert {k: v.tolist() for k, v in found.items()} == {
        "action = 0": [0],
        "action = 2": [2],
        "action = -2": [-2],
    }


def test_rest_is_the_value_nearest_to_0():
    space = spaces.Box(np.array([0, 1, -3], np.float32), np.array([1, 5, -1], np.float32))
    found = {k: v.tolist() for k, v in held(space).items()}
    assert found == {
        "at rest": [0, 1, -1],
        "action[0] = 1": [1, 1, -1],
        "action[1] = 5": [0, 5, -1],
        "action[2] = -3": [0, 1, -3],
    }


def test_keys_and_a_camera_are_named():
    space = spaces.Dict(
        {
            "camera": spaces.Box(-5, 5, (2,)),
            "forward": spaces.Discrete(2),
            "place": spaces.Discrete(3),
        }
    )
    found = held(space, dimensions={"camera": ("pitch", "yaw")})
    assert list(found) == [
        "at rest",
        "camera pitch = 5",
        "camera yaw = 5",
        "forward",
        "place = 1",
        "camera pitch = -5",
        "camera yaw = -5",
        "place = 2",
    ]
    for name, action in found.items():
        moved = {k for k in action if np.any(action[k] != found["at rest"][k])}
        assert moved == (set() if name == "at rest" else {name.split()[0]})
    assert found["camera yaw = -5"]["camera"].tolist() == [0, -5]
    assert found["forward"]["forward"] == 1 and found["place = 2"]["place"] == 2


@pytest.mark.parametrize(
    ("space", "names"),
    [
        (spaces.MultiDiscrete([2, 3]), ["at rest", "[0]", "[1] = 1", "[1] = 2"]),
        (spaces.MultiBinary(2), ["at rest", "[0]", "[1]"]),
        (
            spaces.Tuple((spaces.Discrete(2), spaces.Dict({"a": spaces.Box(0, 1, (1,))}))),
            ["at rest", "0", "1.a = 1"],
        ),
    ],
)
def test_other_spaces(space: gymnasium.Space, names: list[str]):
    assert [name.removeprefix("action") for name in held(space)] == names


def test_as_many_as_asked_for():
    assert list(held(spaces.Box(-1, 1, (9,)), 3)) == ["at rest", "action[0] = 1", "action[1] = 1"]


def test_a_box_of_one_value_is_at_rest():
    assert list(held(spaces.Box(2, 2, (1,)))) == ["action = 2"]
