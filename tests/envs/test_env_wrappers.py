"""Action repeat and the camera limit."""

from contextlib import nullcontext

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.wrappers import TimeLimit

from common import UserError
from envs import EnvConfig, make_agent_env
from envs.checked import Checked
from envs.navigate import NavigateEnv
from envs.navigate.render import render
from envs.own import own_limit
from envs.wrappers import ActionRepeat, CameraLimit, CompassVector, HeldKeys


class Counter(gymnasium.Env):
    """Pays 1, 2, 3, ... and ends on frame `end`, as a terminal or as a time limit."""

    observation_space = spaces.Box(0, 100, (), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, end, terminal):
        self.end, self.terminal = end, terminal

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.frames = 0
        return np.float32(0), {}

    def step(self, action):
        self.frames += 1
        done = self.frames == self.end
        obs = np.float32(self.frames)
        return obs, float(self.frames), done and self.terminal, done and not self.terminal, {}


@pytest.mark.parametrize("terminal", [True, False])
def test_action_repeat_sums_and_stops_at_the_end(terminal):
    env = ActionRepeat(Counter(5, terminal), 3)
    env.reset()
    assert env.step(0)[:4] == (3, 6.0, False, False)
    assert env.step(0)[:4] == (5, 9.0, terminal, not terminal)


@pytest.mark.parametrize("end", [6_000, 38])
def test_of_held_frames_only_what_is_seen_is_drawn(end, monkeypatch):
    """One picture a step, and the same ones as where all are drawn, also where a limit ends an
    episode within a step."""
    drawn = []

    def counted(*given):
        drawn.append(None)
        return render(*given)

    monkeypatch.setattr("envs.navigate.env.render", counted)
    env, all_drawn = ActionRepeat(NavigateEnv(time_limit=end), 4), NavigateEnv(time_limit=end)
    env.reset(seed=0), all_drawn.reset(seed=0)
    env.action_space.seed(0)
    truncated, drawn[:] = False, []
    for step in range(1, 11):
        action = env.action_space.sample()
        obs, _, _, truncated, _ = env.step(action)
        assert len(drawn) == step
        for _ in range(4 if not truncated else 2):
            expected = all_drawn.step(action)[0]
        drawn[step:] = []
        np.testing.assert_array_equal(obs["pov"], expected["pov"])
    assert truncated == (end == 38)


class NaNAt(Counter):
    """Its observation is not a number at one frame."""

    def __init__(self, at, end):
        super().__init__(end, terminal=True)
        self.at = at
        self.observation_space = spaces.Box(-np.inf, np.inf, (), np.float32)

    def step(self, action):
        obs, *rest = super().step(action)
        return np.where(self.frames == self.at, np.float32(np.nan), obs), *rest


@pytest.mark.parametrize(
    ("at", "end", "limit", "refused"),
    [
        (1, 9, None, False),  # no one sees it
        (3, 9, None, True),
        (2, 2, None, True),  # the episode's last
        (2, 9, 2, True),  # likewise, by a wrapper's limit
    ],
)
def test_of_held_frames_what_is_seen_is_checked(at, end, limit, refused):
    env = Checked(NaNAt(at, end), "nan")
    env = ActionRepeat(TimeLimit(env, limit) if limit else env, 3)
    env.reset()
    with pytest.raises(UserError, match="finite") if refused else nullcontext():
        env.step(0)


class Named(Counter):
    """Its attributes have names that ours have too."""

    def __init__(self):
        super().__init__(9, terminal=True)
        self.seen, self.time_limit = {(0, 0)}, 30.0  # cells; seconds


def test_attributes_of_a_users_environment_are_its_own():
    env = make_agent_env(EnvConfig(f"{__name__}:Named", action_repeat=3, time_limit=50))
    env.reset()
    env.step(0)
    assert env.unwrapped.seen == {(0, 0)} and own_limit(env) is None
    assert own_limit(Checked(NavigateEnv(time_limit=7), "navigate")) == 7
    assert own_limit(Checked(gymnasium.make("Pendulum-v1"), "pendulum")) == 200


def test_action_repeat_of_zero_is_rejected():
    with pytest.raises(ValueError, match="action_repeat of at least 1"):
        ActionRepeat(Counter(5, True), 0)


def test_the_camera_limit_narrows_only_the_camera():
    env = CameraLimit(NavigateEnv(), 15.0)
    inner = NavigateEnv().action_space
    assert env.action_space["camera"] == spaces.Box(-15, 15, (2,), np.float32)
    assert {k: v for k, v in env.action_space.items() if k != "camera"} == {
        k: v for k, v in inner.items() if k != "camera"
    }


@pytest.mark.parametrize("degrees", [0.0, -3.0, 181.0])
def test_a_camera_limit_outside_the_environments_is_rejected(degrees):
    with pytest.raises(ValueError, match=r"\(0, 180\] degrees per frame"):
        CameraLimit(NavigateEnv(), degrees)


def test_a_camera_limit_needs_a_camera():
    with pytest.raises(ValueError, match="Box named 'camera'"):
        CameraLimit(Counter(5, True), 15.0)


def test_the_needle_is_a_unit_vector_that_does_not_jump_at_180_degrees():
    env = CompassVector(NavigateEnv())
    raw, _ = NavigateEnv().reset(seed=3)
    obs, _ = env.reset(seed=3)
    assert env.observation_space.contains(obs)
    angle = np.deg2rad(raw["compass"]["angle"])
    assert np.allclose(obs["compass"]["needle"], [np.cos(angle), np.sin(angle)], atol=1e-6)
    left, right = (
        env.observation({**raw, "compass": {"angle": np.float32(a)}}) for a in (-179.9, 179.9)
    )
    gap = left["compass"]["needle"] - right["compass"]["needle"]
    assert np.abs(gap).max() < 0.01


def test_held_keys_leave_the_space_and_are_added_to_every_action():
    env = HeldKeys(NavigateEnv(), {"jump": 1, "attack": 0})
    assert not {"jump", "attack"} & set(env.action_space.spaces)
    full = env.action(env.action_space.sample())
    assert full["jump"] == 1 and full["attack"] == 0
    assert NavigateEnv().action_space.contains(full)


@pytest.mark.parametrize("keys", [{"fly": 1}, {"jump": 2}])
def test_keys_that_cannot_be_held_are_refused(keys):
    with pytest.raises(ValueError, match="expected keys to hold among"):
        HeldKeys(NavigateEnv(), keys)
