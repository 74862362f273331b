"""Time limits and held actions of pure environments, as Gymnasium's wrappers have them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common import UserError
from envs import EnvConfig, make_agent_env
from envs.pure import Pendulum, PureGym, Transition, make_pure_agent_env
from envs.pure.held import held, limited


class Ends(Pendulum):
    """Pays 1 a frame, and ends in a terminal state after the sixth."""

    terminates = True

    def reset(self, key):
        return jnp.zeros((), jnp.int32)

    def step(self, state, action, key):
        return Transition(state + 1, jnp.ones(()), state + 1 == 6)

    def observe(self, state):
        return jnp.full(3, state, jnp.float32)


def test_held_actions_are_those_of_the_wrapper() -> None:
    """Pendulum of 7 frames, held for 3: the last step is of one frame alone."""
    config = EnvConfig(name="pure:pendulum", time_limit=7, action_repeat=3)
    theirs, env = make_agent_env(config), make_pure_agent_env(config)
    assert env.length == 3
    ours = PureGym(env)
    first, _ = theirs.reset(seed=3)
    seen, _ = ours.reset(seed=3)
    np.testing.assert_allclose(seen, first["observation"], atol=1e-6)
    for step, action in enumerate(np.float32([[0.3], [-1.0], [0.8]])):
        obs, paid, *end, _ = theirs.step(action)
        seen, ours_paid, *ours_end, _ = ours.step(action)
        np.testing.assert_allclose(seen, obs["observation"], atol=1e-5)
        assert ours_paid == pytest.approx(paid, abs=1e-5)
        assert end == ours_end == [False, step == 2]


def test_nothing_is_paid_after_a_terminal_state() -> None:
    env = held(Ends(), 4)
    state, found = env.reset(jax.random.key(0)), []
    for key in jax.random.split(jax.random.key(1), 2):
        state, paid, terminated = env.step(state, jnp.zeros(1), key)
        found.append((float(paid), bool(terminated), float(env.observe(state)[0])))
    assert found == [(4, False, 4), (2, True, 6)] and env.terminates and env.length == 50


def test_a_limit_beyond_the_environments_own_is_refused() -> None:
    assert limited(Pendulum(), None).length == 200
    assert limited(Pendulum(), 9).length == 9 and Pendulum.length == 200
    with pytest.raises(UserError, match="at most the 200 frames"):
        limited(Pendulum(), 201)
