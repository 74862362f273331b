"""Acting by codes: every action is the decoder's, of the beliefs that training would form.

Environments with episodes of different lengths, as in ``test_policy_filter.py``.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from agents.policy import initial_policy, make_policy, split_keys
from tests.agents.test_policy_filter import EPISODES, SPACE, STEPS, recorded, starts
from worldmodel.learner import split
from worldmodel.level import State


def act(agent: Any, obs: jax.Array, replan: int, greedy: bool) -> tuple[State, Any, Any, Any]:
    """Level 1's beliefs, actions, and the noise of the top and of lower levels: [STEPS, N, ·]."""
    graph, params = split(agent)
    policy, latent = make_policy(graph, replan, greedy), agent.model.latent
    carry, size = initial_policy(agent, len(EPISODES), replan), len(EPISODES)
    beliefs, actions, top, lower = [], [], [], []
    for step, first in enumerate(starts()):
        key = jax.random.key(step)
        carry, action = policy(params, carry, {"x": obs[step]}, jnp.asarray(first), key)
        noise_key, act_key = jax.random.split(jax.random.key(step))  # the same keys once more
        top.append(latent.noise(noise_key, (size,)))
        lower_key = jax.random.split(act_key, 3)[1]
        lower.append(latent.noise(lower_key, (size, agent.model.upper)))
        beliefs.append((carry.lower.states or (carry.filter.belief,))[0])
        actions.append(action)
    states = jax.tree.map(lambda *x: jnp.stack(x), *beliefs)
    return states, np.stack(actions), jnp.stack(top), jnp.stack(lower)


@pytest.mark.parametrize(
    ("strides", "replan", "greedy"),
    [
        pytest.param((1,), 1, True, marks=pytest.mark.slow),
        pytest.param((1, 4), 1, True, marks=pytest.mark.slow),
        pytest.param((1, 4), 2, False, marks=pytest.mark.slow),
        pytest.param((1, 4), 4, True, marks=pytest.mark.slow),
        ((1, 2, 4), 2, True),
    ],
)
def test_actions_are_the_decoders_of_observed_beliefs(
    make_agent: Any, strides: tuple[int, ...], replan: int, greedy: bool
) -> None:
    """The plan is the actor's mode at the top's belief of the last planning step, whatever the
    levels' clocks; each step decodes it at level 1's belief and the plan's own phase."""
    agent = make_agent(SPACE, strides, "latent")
    model, codec = agent.model, agent.codec
    obs = jax.random.normal(jax.random.key(0), (STEPS, len(EPISODES), 4))
    online, actions, top_noise, lower_noise = act(agent, obs, replan, greedy)
    records, top, where = recorded(model, obs, actions, top_noise)
    length = top.shape[1]
    lower = jnp.stack(
        [lower_noise[s + np.clip(np.arange(length), 0, n - 1), env] for env, s, n in where]
    )
    noise = (*(lower[:, ::k, n] for n, k in enumerate(strides[:-1])), top)
    beliefs = jax.jit(model.observe)(records, noise)
    plans = codec.mode(agent.actor(beliefs[-1].state.features))
    react = jax.jit(lambda *x: codec.react(*x, None))
    for row, (env, start, steps) in enumerate(where):
        time = np.arange(steps)
        level1 = jax.tree.map(lambda x, r=row, t=time: x[r, t], beliefs[0].state)
        got = jax.tree.map(lambda x, e=env, s=start, n=steps: x[s : s + n, e], online)
        for a, b in zip(got, level1, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * float(np.abs(b).max()))
        if greedy:
            held = plans[row, time // replan * replan]
            expected = react(held, level1.features, jnp.asarray(time % replan))
            took = actions[start : start + steps, env]
            np.testing.assert_allclose(took, expected, atol=1e-4)


def test_a_code_is_sampled_with_the_key_of_plans(make_agent: Any) -> None:
    """Where the policy is not greedy: once, at the belief that the window starts with."""
    agent = make_agent(spaces.Box(-1, 1, (2,)), (1, 4), "latent")
    graph, params = split(agent)
    policy, carry = make_policy(graph, 4, greedy=False), initial_policy(agent, 3, 4)
    obs = {"x": jnp.ones((3, 4))}
    carry, _ = policy(params, carry, obs, jnp.ones(3, bool), jax.random.key(0))
    top, key = carry.filter.belief.features, split_keys(jax.random.key(0), True).plan
    expected = agent.codec.sample(agent.actor(top), top, key).flat
    np.testing.assert_allclose(carry.plan, expected, rtol=1e-4, atol=1e-5)
