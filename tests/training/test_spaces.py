"""Spaces are read back from JSON as they were."""

import json

import numpy as np
import pytest
from gymnasium import spaces

from common import UserError
from envs import EnvConfig, make_agent_env
from training.spaces import SPACES, Spaces, decode, encode, keep_spaces, read_spaces

BOUNDS = np.array([[-np.inf, 0.1], [-2, 3]], np.float32)
KINDS = [
    spaces.Box(0, 255, (8, 8, 3), np.uint8),
    spaces.Box(-np.inf, np.inf, (3,), np.float32),
    spaces.Box(BOUNDS, np.full((2, 2), np.inf, np.float32)),
    spaces.Box(-3, 9, (2,), np.int64),
    spaces.Box(-1.0, 1.0, (0,), np.float32),
    spaces.Discrete(3, start=-1),
    spaces.MultiDiscrete([3, 2], start=[1, 0]),
    spaces.MultiDiscrete(np.array([[3, 2], [4, 5]])),
    spaces.MultiBinary(4),
    spaces.MultiBinary([2, 3]),
    spaces.Dict({"b": spaces.Discrete(2), "a": spaces.Tuple([spaces.Discrete(4)])}),
]


@pytest.mark.parametrize("space", KINDS, ids=lambda space: type(space).__name__)
def test_a_space_is_read_back_as_it_was(space):
    found = decode(json.loads(json.dumps(encode(space), allow_nan=False)))
    assert found == space and str(found) == str(space) and found.dtype == space.dtype
    if isinstance(space, spaces.Box):
        np.testing.assert_array_equal([found.low, found.high], [space.low, space.high])


def test_a_dictionary_keeps_its_order():
    """An action is laid out in the order of its parts."""
    space = spaces.Dict([("b", spaces.Discrete(2)), ("a", spaces.Discrete(3))])
    assert list(decode(encode(space)).spaces) == list(space.spaces)


def test_navigates_spaces(tmp_path):
    env = make_agent_env(EnvConfig(backend="builtin"))
    found = Spaces(env.observation_space, env.action_space)
    env.close()
    keep_spaces(tmp_path, found)
    assert read_spaces(tmp_path) == found and (tmp_path / SPACES).stat().st_size < 10_000


def test_a_space_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="space: expected Box"):
        encode(spaces.Text(3))


HUGE = '{"type": "Box", "shape": [100000, 100000], "dtype": "float64", "low": 0, "high": 1}'


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "[" * 100_000,
        '{"observation": 1}',
        '{"observation": {"type": "Discrete"}, "action": 0}',
        f'{{"observation": {{"type": "Dict", "parts": [["x", {HUGE}]]}}, "action": {HUGE}}}',
    ],
    ids=["cut", "a list", "deep", "a number", "no size", "huge"],
)
def test_a_damaged_file_is_named(tmp_path, text):
    (tmp_path / SPACES).write_text(text)
    with pytest.raises(ValueError, match=rf"{SPACES}: expected the spaces that a run wrote"):
        read_spaces(tmp_path)


def test_a_run_of_pictures_that_were_not_stretched_is_not_resumed(tmp_path):
    """Its replay and its model hold them as they were; the spaces are the same."""
    seen, does = spaces.Dict(grid=spaces.Box(0, 255, (64, 64, 1), np.uint8)), spaces.Discrete(2)
    before = Spaces(seen, does, (("grid", "picture, 10 x 10 pixels"),))
    now = Spaces(seen, does, (("grid", "picture, 10 x 10 pixels, 0..3 stretched to 0..255"),))
    keep_spaces(tmp_path / "new", now)
    keep_spaces(tmp_path / "new", now)
    keep_spaces(tmp_path / "old", before)
    with pytest.raises(UserError, match="received grid, which this version stretches to 0..255"):
        keep_spaces(tmp_path / "old", now)


def test_an_older_run_has_none(tmp_path):
    assert read_spaces(tmp_path) is None
