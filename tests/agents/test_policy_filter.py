"""The policy acts on the beliefs that training would form of the episodes it records.

Environments with episodes of different lengths are stepped by `make_policy`; what a store would
hold of them is then given to `observe`, with the noise that the policy drew. DESIGN §4, "Acting".
"""

from dataclasses import replace
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents.policy import correlated, initial_policy, make_policy
from worldmodel.learner import split
from worldmodel.level import State
from worldmodel.records import Records

EPISODES = ((7, 1, 5), (13,), (2, 3, 8))  # lengths per environment
STEPS = 13
SPACE = gymnasium.spaces.Dict(
    {"move": gymnasium.spaces.Box(-1, 1, (2,)), "jump": gymnasium.spaces.Discrete(3)}
)


def starts() -> np.ndarray:
    """[STEPS, N] bool."""
    first = np.zeros((STEPS, len(EPISODES)), bool)
    for row, lengths in enumerate(EPISODES):
        first[np.cumsum((0, *lengths[:-1])), row] = True
    return first


def act(agent: Any, obs: jax.Array, replan: int, greedy: bool) -> tuple[State, np.ndarray, Any]:
    """Steps the policy: beliefs [STEPS, N, ·], actions [STEPS, N, A], noise [STEPS, N, ·]."""
    graph, params = split(agent)
    policy = make_policy(graph, replan, greedy)
    carry = initial_policy(agent, len(EPISODES), replan)
    beliefs, actions, noises = [], [], []
    for step, first in enumerate(starts()):
        carry, action = policy(
            params, carry, {"x": obs[step]}, jnp.asarray(first), jax.random.key(step)
        )
        noise_key = jax.random.split(jax.random.key(step))[0]  # the same key once more
        noises.append(agent.model.latent.noise(noise_key, (len(EPISODES),)))
        beliefs.append(carry.filter.belief)
        actions.append(action)
    return jax.tree.map(lambda *x: jnp.stack(x), *beliefs), np.stack(actions), jnp.stack(noises)


def recorded(model: Any, obs: jax.Array, actions: np.ndarray, noise: jax.Array) -> tuple[Any, ...]:
    """One episode per row, padded to STEPS and to whole windows, as a store would hold it."""
    length = -(-STEPS // model.stride) * model.stride
    rows, where = [], []
    for env, lengths in enumerate(EPISODES):
        for start, steps in zip(np.cumsum((0, *lengths[:-1])), lengths, strict=True):
            times = start + np.clip(np.arange(-model.lead, length), 0, steps - 1)
            real = (np.arange(-model.lead, length) >= 0) & (np.arange(-model.lead, length) < steps)
            led = np.where(((times > start) & real)[:, None], actions[times - 1, env], 0.0)
            rows.append((obs[times, env], led, real, noise[times[model.lead :], env]))
            where.append((env, start, steps))
    x, action, real, drawn = (jnp.asarray(np.stack(field)) for field in zip(*rows, strict=True))
    mask, zeros = real.astype(jnp.float32), jnp.zeros(real.shape)
    first = jnp.zeros(real.shape, bool).at[:, model.lead].set(True)
    records = Records({"x": x}, action.astype(jnp.float32), mask, zeros, zeros > 0, first, mask)
    return records, drawn, where


@pytest.mark.parametrize(
    ("strides", "replan", "greedy"),
    [
        ((1,), 1, False),
        ((1, 4), 1, False),
        ((1, 4), 2, True),
        ((1, 4), 4, False),
        ((1, 2, 8), 2, False),
    ],
)
def test_the_policy_filters_as_training_does(
    make_agent: Any, strides: tuple[int, ...], replan: int, greedy: bool
) -> None:
    agent = make_agent(SPACE, strides)
    model = agent.model
    obs = jax.random.normal(jax.random.key(0), (STEPS, len(EPISODES), 4))
    belief, actions, noise = act(agent, obs, replan, greedy)
    records, top_noise, where = recorded(model, obs, actions, noise)
    lower = model.draw_noise(jax.random.key(1), *top_noise.shape[:2])[:-1]
    top = jax.jit(model.observe)(records, (*lower, top_noise))[-1].state
    for row, (env, start, steps) in enumerate(where):
        online = jax.tree.map(lambda x, e=env, s=start, n=steps: x[s : s + n, e], belief)
        held = np.arange(steps) // replan * replan
        offline = jax.tree.map(lambda x, r=row, h=held: x[r, h], top)
        for a, b in zip(online, offline, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-4 * float(np.abs(b).max()))


def test_each_plan_is_executed_for_replan_steps(make_agent: Any) -> None:
    """Greedy, the actions of a plan are the actor's mode at the belief that made it, in order."""
    agent = make_agent(SPACE, (1, 4))
    obs = jax.random.normal(jax.random.key(0), (STEPS, len(EPISODES), 4))
    belief, actions, _ = act(agent, obs, replan=2, greedy=True)
    plans = agent.codec.slots(agent.codec.mode(agent.actor(belief.features)))
    for env, lengths in enumerate(EPISODES):
        steps = np.concatenate([np.arange(n) for n in lengths])
        expected = np.asarray(plans)[np.arange(STEPS), env, steps % 2]
        np.testing.assert_allclose(actions[:, env], expected, atol=1e-5)


def test_correlated_noise_as_a_plain_loop() -> None:
    """n_t = ρ n_{t-1} + √(1-ρ²) ξ_t, anew at an episode's first step; of variance 1 throughout."""
    fresh = np.asarray(jax.random.normal(jax.random.key(0), (STEPS, len(EPISODES), 2000)))
    found, last = [], jnp.full(fresh.shape[1:], np.nan)
    for step, first in enumerate(starts()):
        last = correlated(last, jnp.asarray(fresh[step]), jnp.asarray(first), 0.6)
        found.append(np.asarray(last))
    for env, lengths in enumerate(EPISODES):
        for start, steps in zip(np.cumsum((0, *lengths[:-1])), lengths, strict=True):
            by_hand = fresh[start, env]
            for step in range(start, start + steps):
                if step > start:
                    by_hand = 0.6 * by_hand + 0.8 * fresh[step, env]
                np.testing.assert_allclose(found[step][env], by_hand, rtol=1e-4, atol=1e-5)
            if start:
                assert abs(np.corrcoef(found[start][env], found[start - 1][env])[0, 1]) < 0.1
    np.testing.assert_allclose(np.std(found, axis=-1), 1.0, atol=0.08)
    assert np.corrcoef(found[5][1], found[6][1])[0, 1] == pytest.approx(0.6, abs=0.06)


@pytest.mark.parametrize(("codec", "replan"), [("chunk", 1), ("chunk", 4), ("latent", 2)])
def test_a_step_acts_by_its_correlated_noise(make_agent: Any, codec: str, replan: int) -> None:
    """Whatever is planned in between: the same fresh numbers, with and without correlation."""
    normals = {}
    for rho in (0.0, 0.6):
        agent = make_agent(SPACE, (1, 4), codec)
        agent.config = replace(agent.config, noise_correlation=rho)
        graph, params = split(agent)
        policy, carry = make_policy(graph, replan, False), initial_policy(agent, 3, replan)
        normals[rho] = []
        for step, first in enumerate(starts()):
            obs = {"x": jax.random.normal(jax.random.key(step), (3, 4))}
            key = jax.random.key(100 + step)
            carry, action = policy(params, carry, obs, jnp.asarray(first), key)
            normals[rho].append(carry.normal)
            if codec == "chunk":
                slots = agent.codec.slots(carry.plan)[jnp.arange(3), carry.step - 1]
                expected = agent.codec.codec.act(slots, carry.normal)
                np.testing.assert_allclose(action, expected, atol=1e-6)
    last = normals[0.6][0]
    for step, first in enumerate(starts()):
        last = correlated(last, normals[0.0][step], jnp.asarray(first), 0.6)
        np.testing.assert_allclose(normals[0.6][step], last, atol=1e-6)
