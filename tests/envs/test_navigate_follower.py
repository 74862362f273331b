"""The scripted follower gets there; its eye finds the goal."""

import numpy as np
import pytest

from envs.navigate import NavigateEnv
from envs.navigate import physics as P
from envs.navigate.follower import MAX_TURN, CompassFollower, goal_bearing
from envs.navigate.world import set_block


def episode(env, seed):
    """Runs one episode. Returns (return, largest turn in degrees)."""
    follower, total, turn = CompassFollower(seed), 0.0, 0.0
    obs, _ = env.reset(seed=seed)
    while True:
        action = follower(obs)
        assert env.action_space.contains(action)
        turn = max(turn, float(np.abs(action["camera"]).max()))
        obs, reward, terminated, truncated, _ = env.step(action)
        total += reward
        if terminated or truncated:
            return total, turn


@pytest.mark.slow
def test_reaches_most_goals():
    results = [episode(NavigateEnv(time_limit=2000), seed) for seed in range(1000, 1008)]
    assert sum(total >= 100 for total, _ in results) >= 5  # over 90% of 6000-frame episodes
    assert max(turn for _, turn in results) <= MAX_TURN


@pytest.mark.parametrize(("x", "sign"), [(97, 1), (103, -1)])
def test_sees_the_goal_on_the_right_side(flat_env, act, x, sign):
    set_block(flat_env.world, x, 22, 106, 17)
    right, down = goal_bearing(flat_env.step(act())[0]["pov"])
    assert right == pytest.approx(sign * np.degrees(np.arctan2(3, 6)), abs=4)
    assert down == pytest.approx(0, abs=5)


def test_sees_no_goal_where_there_is_none():
    env = NavigateEnv()
    for seed in range(12):
        env.reset(seed=seed)
        for pitch in (-30, 0, 40):
            env.body[P.PITCH] = pitch
            pov = env._observe(drawn=True)["pov"]
            assert goal_bearing(pov) is None, (seed, pitch)
