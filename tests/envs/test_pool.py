"""EnvPool's environments: the records of every row are what the pool itself says."""

import importlib

import numpy as np
import pytest

from common import UserError
from envs import EnvConfig, make_agent_env, make_vector
from envs.vector import PooledVectorEnv


def test_the_extra_is_named():
    try:
        importlib.import_module("envpool")
    except ImportError:
        with pytest.raises(UserError, match="envpool:CartPole-v1: .*; pip install envpool$"):
            make_agent_env(EnvConfig("envpool:CartPole-v1"))


@pytest.mark.filterwarnings("ignore:.*precision lowered")
@pytest.mark.parametrize("count", [1, 3])
def test_every_row_is_the_pools_own(count):
    """Observations, rewards and ends over many episodes, with the resets between them."""
    envpool = pytest.importorskip("envpool")
    envs = make_vector(EnvConfig("envpool:CartPole-v1"), count, seed=7)
    plain = envpool.make_gymnasium("CartPole-v1", num_envs=count, seed=7)
    assert isinstance(envs, PooledVectorEnv)
    obs, expected = envs.reset()[0], plain.reset()[0]
    np.testing.assert_array_equal(obs["observation"], expected)
    random, ended = np.random.default_rng(0), 0
    for _ in range(100):
        actions = random.integers(0, 2, count)
        obs, *rest = envs.step(actions)
        expected, *others = plain.step(actions)
        np.testing.assert_array_equal(obs["observation"], expected)
        for own, other in zip(rest[:3], others[:3], strict=True):
            np.testing.assert_array_equal(own, other)
        ended += rest[1].sum()
    assert ended > count
    np.testing.assert_array_equal(envs.reset(seed=7)[0]["observation"], _first(count))
    envs.close()


def _first(count):
    return (
        importlib.import_module("envpool")
        .make_gymnasium("CartPole-v1", num_envs=count, seed=7)
        .reset()[0]
    )


def test_what_a_pool_does_not_take_is_refused():
    pytest.importorskip("envpool")
    with pytest.raises(UserError, match="received 'CartPole-v9'; did you mean 'envpool:CartPole"):
        make_agent_env(EnvConfig("envpool:CartPole-v9"))
    with pytest.raises(UserError, match="takes, received {'nonsense': 3}: .*nonsense"):
        make_agent_env(EnvConfig("envpool:CartPole-v1", options={"nonsense": "3"}))
    with pytest.raises(UserError, match="expected 1 with envpool:Pong-v5, .* frame_skip 4"):
        make_agent_env(EnvConfig("envpool:Pong-v5", action_repeat=4))


def test_a_limit_is_the_pools_own():
    pytest.importorskip("envpool")
    envs = make_vector(EnvConfig("envpool:Pendulum-v1", time_limit=5), 2, seed=0)
    envs.reset()
    assert envs.envs[0].unwrapped.time_limit == 5
    truncated = [envs.step(np.zeros((2, 1), np.float32))[3].tolist() for _ in range(7)]
    assert truncated == [[False, False]] * 4 + [[True, True]] + [[False, False]] * 2
    envs.close()
