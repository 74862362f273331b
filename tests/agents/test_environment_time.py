"""What a stride must not change: what is set in environment steps is the same for any of them."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from agents.actor_critic import ActorCriticConfig, behaviour_targets
from agents.config import AgentConfig
from agents.imagination import Trajectory
from agents.policy import initial_policy, make_policy
from configs.schema import TrainConfig
from worldmodel.clockwork import ClockworkConfig
from worldmodel.learner import split

STRIDES = [1, 2, 4, 8, 16]


def agent_config(stride: int, **settings: Any) -> AgentConfig:
    behaviour = ActorCriticConfig(horizon=32, discount=0.99, lam=0.95)
    strides = (1, stride) if stride > 1 else (1,)
    return AgentConfig(model=ClockworkConfig(strides=strides), behaviour=behaviour, **settings)


@pytest.mark.parametrize("stride", STRIDES)
def test_imagined_time_and_what_is_discounted_over_it(stride: int) -> None:
    """32 steps; a value seen at their end counts γ^32 λ^(32-K): it is taken whole there. At K = 1
    these are Dreamer's numbers."""
    config = agent_config(stride)
    ticks = config.imagined
    assert ticks * stride == 32
    ones, zeros = jnp.ones((1, ticks)), jnp.zeros((1, ticks))
    path = Trajectory(zeros, zeros, zeros, zeros, reward=zeros, cont=ones, alive=jnp.ones(1))
    value = jnp.zeros((1, ticks + 1)).at[:, -1].set(1.0)
    targets = behaviour_targets(path, value, stride, config.behaviour)
    assert float(targets.returns[0, 0]) == pytest.approx(0.99**32 * 0.95 ** (32 - stride), rel=1e-4)
    everywhere = behaviour_targets(path, jnp.ones((1, ticks + 1)), stride, config.behaviour)
    later = stride * np.arange(ticks)
    np.testing.assert_allclose(everywhere.weight[0], 0.99**later, rtol=1e-4)


def test_a_path_holds_one_window_at_least() -> None:
    config = agent_config(16)
    short = replace(config, behaviour=replace(config.behaviour, horizon=5))
    assert (short.imagined, short.plan_steps) == (1, 16)
    flat = replace(agent_config(1), plan=16)  # as many plans of a flat model under an actor of them
    assert (flat.imagined, flat.plan_ticks, flat.plan_steps) == (2, 16, 16)


@pytest.mark.parametrize("stride", STRIDES)
def test_what_a_gate_keeps_over_64_steps(stride: int) -> None:
    kept = 1 / (1 + np.exp(-ClockworkConfig(half_life=20.0).keep_bias(stride)))
    assert kept ** (64 / stride) == pytest.approx(2 ** (-64 / 20))
    assert ClockworkConfig().keep_bias(stride) == 0
    assert np.isfinite(ClockworkConfig(half_life=1e-3).keep_bias(stride))


@pytest.mark.parametrize("stride", STRIDES)
def test_a_sequence_is_whole_windows_and_eight_at_least(stride: int) -> None:
    config = TrainConfig(length=50, agent=agent_config(stride))
    assert config.sequence % stride == 0 and config.sequence >= max(50, 8 * stride)
    assert config.sequence < max(50, 8 * stride) + stride


@pytest.mark.parametrize("stride", STRIDES[1:])
def test_the_share_of_plans_that_are_executed_to_their_end(make_agent: Any, stride: int) -> None:
    """As replay marks them: of 500 environments' plans the share that reaches step K is p."""
    agent = make_agent(spaces.Box(-1, 1, (1,)), (1, stride), keep_plan=0.3)
    graph, params = split(agent)
    policy, carry = make_policy(graph, 1, greedy=False), initial_policy(agent, 500, 1)
    obs, marks = {"x": jnp.zeros((500, 4))}, []
    for time in range(40 + 2 * stride):
        first = jnp.full(500, time == 0)
        carry, action = policy(params, carry, obs, first, jax.random.key(time))
        marks.append(np.asarray(action[:, -1]) > 0)
    begins = np.array(marks)
    later = [begins[i : len(begins) - stride + 1 + i] for i in range(1, stride)]
    whole = begins[: len(begins) - stride + 1] & ~np.any(later, axis=0)
    plans = begins[: len(begins) - stride + 1].sum()
    assert plans > 2_000
    assert whole.sum() / plans == pytest.approx(0.3, abs=0.04)
