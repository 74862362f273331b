"""The policy acts on the beliefs that training would form of the episodes it records.

Environments with episodes of different lengths are stepped by `make_policy`; what a store would
hold of them is then given to `observe`, with the noise that the policy drew. docs/design.md, Plans.
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
    ("strides", "replan", "greedy", "marked"),
    [
        pytest.param((1,), 1, False, False, marks=pytest.mark.slow),
        ((1, 4), 1, False, True),
        pytest.param((1, 4), 2, True, False, marks=pytest.mark.slow),
        pytest.param((1, 4), 4, False, False, marks=pytest.mark.slow),
        ((1, 2, 8), 2, False, True),
    ],
)
def test_the_policy_filters_as_training_does(
    make_agent: Any, strides: tuple[int, ...], replan: int, greedy: bool, marked: bool
) -> None:
    agent = make_agent(SPACE, strides, keep_plan=0.5 * marked)
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


@pytest.mark.parametrize(
    ("codec", "replan", "shares"),
    [
        pytest.param("chunk", 1, np.array([8, 4, 2, 1]) / 15, marks=pytest.mark.slow),
        ("latent", 1, np.array([8, 4, 2, 1]) / 15),
        ("chunk", 2, np.array([2, 2, 1, 1]) / 6),
    ],
)
@pytest.mark.parametrize("greedy", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_some_plans_are_gone_on_with(
    make_agent: Any, codec: str, replan: int, shares: Any, greedy: bool
) -> None:
    """Kept with probability ½ for r more steps (½³ of plans to their end), K = 4 at most: in the
    long run these shares of the steps are a plan's first, second, third and fourth, sampled or by
    modes."""
    agent = make_agent(SPACE, (1, 4), codec, keep_plan=0.5**3)
    agent.config = replace(agent.config, noise_correlation=0.5)
    graph, params = split(agent)
    many, counts = 1000, np.zeros(5, int)
    policy, carry = make_policy(graph, replan, greedy), initial_policy(agent, many, replan)
    for time in range(40):
        first, plan, done = jnp.full(many, time in (0, 9)), carry.plan, np.asarray(carry.step)
        obs = {"x": jnp.zeros((many, 4))}
        carry, action = policy(params, carry, obs, first, jax.random.key(time))
        step = np.asarray(carry.step)
        assert time not in (0, 9) or (step == 1).all()
        same = step == done + 1 if time else step > 1
        assert ((step == 1) | same).all()
        np.testing.assert_array_equal(carry.plan[same], plan[same])
        if agent.codec.marked:
            np.testing.assert_array_equal(action[:, -1], step == 1)
        counts += np.bincount(step, minlength=5) * (time >= 20)
    np.testing.assert_allclose(counts[1:] / many / 20, shares, atol=0.02)


def test_correlated_noise_as_a_plain_loop() -> None:
    """n_t = ρ n_{t-1} + √(1-ρ²) ξ_t, anew at an episode's first step; of variance 1 throughout."""
    fresh = np.asarray(jax.random.normal(jax.random.key(0), (STEPS, 1, 2000)))
    found, by_hand, last = [], [], jnp.full((1, 2000), np.nan)
    for step, xi in enumerate(fresh):
        time = step % 8  # episodes of 8 steps
        last = correlated(last, jnp.asarray(xi), jnp.asarray([time == 0]), 0.6)
        by_hand.append(0.6 * by_hand[-1] + 0.8 * xi[0] if time else xi[0])
        found.append(np.asarray(last)[0])
    np.testing.assert_allclose(found, by_hand, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.std(found, axis=-1), 1.0, atol=0.08)
    lag = [np.corrcoef(a, b)[0, 1] for a, b in zip(found[:-1], found[1:], strict=True)]
    expected = [0.0 if (step + 1) % 8 == 0 else 0.6 for step in range(STEPS - 1)]
    np.testing.assert_allclose(lag, expected, atol=0.08)


@pytest.mark.parametrize(
    ("codec", "replan", "keep"),
    [
        pytest.param("chunk", 1, 0.0, marks=pytest.mark.slow),
        pytest.param("chunk", 1, 0.5, marks=pytest.mark.slow),
        ("chunk", 2, 0.5),
        pytest.param("chunk", 4, 0.0, marks=pytest.mark.slow),
        ("latent", 2, 0.0),
    ],
)
def test_the_noise_of_executed_actions_is_correlated(
    make_agent: Any, codec: str, replan: int, keep: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An actor of mean 0 and one deviation shows its noise; so many environments, so many draws."""
    monkeypatch.setattr("agents.actions.MAX_STD", 0.1001)
    agent = make_agent(gymnasium.spaces.Box(-1, 1, (1,)), (1, 4), codec, keep)
    agent.config = replace(agent.config, noise_correlation=0.6)
    graph, params = split(agent)
    params = jax.tree.map(jnp.zeros_like, params)  # the last layer's above all
    policy, carry = make_policy(graph, replan, False), initial_policy(agent, 2000, replan)
    acted = []
    for step in range(6):
        first = jnp.full(2000, step in (0, 4))
        obs = {"x": jnp.zeros((2000, 4))}
        carry, action = policy(params, carry, obs, first, jax.random.key(step))
        acted.append(np.asarray(action[:, 0]))
    np.testing.assert_allclose(np.std(acted, axis=-1), 0.1, atol=0.01)
    lag = [np.corrcoef(a, b)[0, 1] for a, b in zip(acted[:-1], acted[1:], strict=True)]
    np.testing.assert_allclose(lag, [0.6, 0.6, 0.6, 0.0, 0.6], atol=0.08)
