"""What a run says of its environment before it starts."""

from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from configs import parse_train
from envs import make_agent_env
from envs.registry import FAMILIES, Family
from training.overview import lines, overview
from training.spaces import Spaces, ask, keep_spaces, read_spaces


class Odd(gymnasium.Env):
    """Of every kind of observation and action."""

    observation_space = spaces.Dict(
        {
            "camera": spaces.Box(0, 1, (3, 48, 96), np.float32),
            "goal": spaces.Discrete(5),
            "grid": spaces.MultiDiscrete([[2, 3], [2, 3]]),
            "text": spaces.Text(5),
            "speed": spaces.Box(-1, 1, (2,)),
        }
    )
    action_space = spaces.Dict(
        {"jump": spaces.Discrete(2), "turn": spaces.Box(-1, 1, (2,)), "use": spaces.Discrete(4)}
    )

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 0.0, False, False, {}


@pytest.fixture
def config(monkeypatch):
    monkeypatch.setitem(FAMILIES, "odd", Family("odd:NAME", lambda name, options: Odd()))
    flags = ["--env", "odd:one", "--env.keys", "camera", "goal", "grid", "text"]
    more = ["--env.action-repeat", "3", "--env.time-limit", "90"]
    more += ["--env.predict", "cam*", "grid"]
    return parse_train(
        [*flags, *more, "--preset", "dmc_pixels", "--env.pixels", "False"], False, "float32"
    )


def test_every_row_of_an_odd_environment(config):
    assert overview(make_agent_env(config.env), config) == (
        (
            "sees camera",
            "picture, 48 x 96 pixels, channels: 3, squeezed to a square, resized to 64 x 64, "
            "of floats in [0, 1]",
        ),
        ("sees goal", "category, one-hot: 5; not decoded"),
        ("sees grid", "grid of 2 x 2 categories, one-hot: 10"),
        ("leaves out speed", "no key matches it"),
        ("leaves out text", "text is not read"),
        ("does", "2 numbers and 2 choices of 2, 4"),
        (
            "limits",
            "episodes of at most 90 frames, each action held for 3; evaluations cut short after "
            "10,000 steps",
        ),
        ("preset", "dmc_pixels, as asked; size s"),
    )


def test_seconds_of_an_environments_own_are_no_frames(config, monkeypatch):
    monkeypatch.setattr(Odd, "time_limit", 30.0, raising=False)
    free = replace(config, env=replace(config.env, time_limit=None))
    rows = dict(overview(make_agent_env(free.env), free))
    assert rows["limits"].startswith("episodes without a known limit")


def test_it_is_kept_with_the_spaces_and_older_runs_have_none(config, tmp_path):
    found = ask(config, check=True)
    keep_spaces(tmp_path, found)
    assert read_spaces(tmp_path).overview == found.overview
    assert lines(found.overview).count("\n") == len(found.overview) - 1
    plain = Spaces(found.obs, found.action)
    assert plain == found and plain.overview == ()
