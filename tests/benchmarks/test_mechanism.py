"""What the arms are asked on one fixed replay: the same windows, whose rewards are the model's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from video_runs import first_state

from agents.dreamer import known_windows
from agents.memory import cut_sequence
from benchmarks import mechanism
from configs import parse_train
from envs.pure import make_pure
from training.build import Built

ROWS = 2


def asked(stride: str):
    """(what came, what was foreseen, records, agent) of random parameters."""
    flags = ["--env", "pure:pendulum", "--size", "debug", "--strides", *stride.split()]
    flags += ["--agent.keep-plan", "0", "--agent.model.scale-vectors", "False"]
    built = Built(parse_train(flags, False, "float32"))
    memory = mechanism.replay(make_pure("pure:pendulum"), ROWS, seed=0)
    params = first_state(built).params

    @jax.jit
    def ask(params):
        agent = built.join(params)
        cut = lambda row: cut_sequence(  # noqa: E731
            memory, row[None], jnp.zeros((), int), agent.model.stride, 80
        )
        records = jax.vmap(cut)(jnp.arange(ROWS))
        return *mechanism.foreseen(agent, records, jax.random.key(0)), records

    return *ask(params), built.join(params)


def test_every_arm_is_asked_about_the_same_windows():
    came, told, records, agent = asked("1 4")
    flat_came, flat_told, *_ = asked("1")
    starts = range(mechanism.FILTERED, 80 - 32, mechanism.EVERY)
    windows = known_windows(agent, records)
    ends = np.array([[start + 4 * (1 + n) for n in range(8)] for start in starts])
    assert windows.valid[:, ends].all()
    np.testing.assert_allclose(came, windows.reward[:, ends].reshape(-1, 8), rtol=1e-5)
    np.testing.assert_allclose(came, flat_came, rtol=1e-5)
    assert came.shape == told.shape == flat_told.shape == (ROWS * len(starts), 8)


def test_a_flat_arm_adds_up_the_rewards_of_its_ticks(monkeypatch: pytest.MonkeyPatch):
    """Of 1 a tick, a window of 4 steps is worth 1 + γ + γ² + γ³."""
    monkeypatch.setattr("agents.agent.Agent.predict_reward", lambda self, x: jnp.ones(x.shape[:-1]))
    _, told, _, agent = asked("1")
    gamma = agent.config.behaviour.discount
    np.testing.assert_allclose(told, 1 + gamma + gamma**2 + gamma**3, rtol=1e-6)


def test_random_actions_are_held_for_8_steps_at_most():
    _, action, _ = mechanism.episode(make_pure("pure:pendulum"), jax.random.key(3))
    held = np.diff(np.flatnonzero(np.diff(np.asarray(action[1:, 0])) != 0))
    assert held.max() == 8 and held.min() == 1 and held.mean() < 5
