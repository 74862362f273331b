"""Window targets and λ-returns against slow loops that know the episodes, and against Dreamer."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents.returns import (
    WindowTargets,
    lambda_returns,
    observed_returns,
    path_weights,
    window_targets,
)

GAMMA = 0.9
STRIDES = (1, 2, 3, 4, 6, 8)


class Episode(NamedTuple):
    """Arrivals 0 … n; the last is terminal or the time limit."""

    reward: np.ndarray  # [n+1], 0 at 0
    terminal: bool


class Slot(NamedTuple):
    """Which time of which episode lies in a slot of a row; beyond the episode's end it is padding.

    `first`: the earliest time of that episode which the row holds.
    """

    episode: int
    time: int
    first: int


class Row(NamedTuple):
    slots: list[Slot | None]  # None: before anything
    episodes: list[Episode]


def draw_episode(rng: np.random.Generator, longest: int) -> Episode:
    reward = rng.normal(size=rng.integers(1, longest) + 1).astype(np.float32)
    reward[0] = 0
    return Episode(reward, bool(rng.random() < 0.5))


def draw_row(rng: np.random.Generator, stride: int, length: int) -> Row:
    """As the sampler lays them: a lead-in, any phase, episodes padded to whole windows, packed."""
    episodes = [draw_episode(rng, 3 * stride + 3)]
    start = int(rng.integers(len(episodes[0].reward)))
    back = min(stride - 1, start)
    slots: list[Slot | None] = [None] * (stride - 1 - back)
    slots += [Slot(0, start - back + i, start - back) for i in range(back)]
    frame, first = start, start - back
    while True:
        steps = len(episodes[-1].reward) - frame + stride * int(rng.integers(3))
        steps += -steps % stride
        slots += [Slot(len(episodes) - 1, frame + i, first) for i in range(steps)]
        if len(slots) >= length + stride - 1:
            return Row(slots[: length + stride - 1], episodes)
        episodes.append(draw_episode(rng, 3 * stride + 3))
        frame = first = 0


def arrays(row: Row) -> dict[str, jax.Array]:
    """The row's records; padding carries rewards that must not count."""
    n = len(row.slots)
    reward, terminal, is_first, mask = np.full(n, 77, np.float32), *np.zeros((3, n), bool)
    for index, slot in enumerate(row.slots):
        last = len(row.episodes[slot.episode].reward) - 1 if slot else -1
        if slot and slot.time <= last:
            reward[index], mask[index] = row.episodes[slot.episode].reward[slot.time], True
            terminal[index] = row.episodes[slot.episode].terminal and slot.time == last
            is_first[index] = slot.time == 0
    fields = {"reward": reward, "terminal": terminal, "is_first": is_first}
    return {k: jnp.asarray(v) for k, v in (fields | {"mask": mask.astype(np.float32)}).items()}


def plain_target(row: Row, index: int, stride: int) -> tuple[float, float] | None:
    """(R, C) of the K steps that lead to a slot, walked one by one; None where not known."""
    slot = row.slots[index]
    if slot is None:
        return None
    reward, ends = row.episodes[slot.episode]
    last, begin = len(reward) - 1, slot.time - stride
    if begin < 0 or begin + 1 < slot.first or begin >= last:
        return None  # starts before the episode, before the row, or at its end
    total, discount = 0.0, 1.0
    for time in range(begin + 1, slot.time + 1):
        if time > last:
            return None  # cut short by the time limit
        total += discount * float(reward[time])
        discount *= GAMMA
        if ends and time == last:
            return total, 0.0
    return total, 1.0


@pytest.mark.parametrize("stride", STRIDES)
def test_window_targets_are_those_of_a_plain_loop(stride: int) -> None:
    rng, length = np.random.default_rng(stride), 6 * stride
    rows = [draw_row(rng, stride, length) for _ in range(40)]
    batch = {k: jnp.stack([arrays(row)[k] for row in rows]) for k in arrays(rows[0])}
    got = targets_of(batch, stride)
    seen = {"known": 0, "ended": 0, "ended inside": 0, "unknown": 0}
    for b, row in enumerate(rows):
        for index, slot in enumerate(row.slots):
            expected = plain_target(row, index, stride)
            assert bool(got.valid[b, index]) == (expected is not None), (b, index, slot)
            if expected is None or slot is None:
                seen["unknown"] += 1
                continue
            np.testing.assert_allclose(got.reward[b, index], expected[0], atol=1e-5)
            assert got.cont[b, index] == expected[1]
            inside = slot.time >= len(row.episodes[slot.episode].reward)
            seen["known"] += 1
            seen["ended"] += expected[1] == 0
            seen["ended inside"] += inside
    assert seen["ended"] > 10 and seen["unknown"] > 10 and seen["known"] > 50
    assert (seen["ended inside"] > 10) == (stride > 1)


returns = jax.jit(lambda_returns, static_argnums=(3, 4))


@partial(jax.jit, static_argnums=1)
def compiled_targets(batch: dict[str, jax.Array], stride: int) -> WindowTargets:
    return jax.vmap(lambda b: window_targets(**b, stride=stride, discount=GAMMA))(batch)


def targets_of(batch: dict[str, jax.Array], stride: int) -> WindowTargets:
    return jax.tree.map(np.asarray, compiled_targets(batch, stride))


def test_window_target_by_hand() -> None:
    """K = 3; terminal on arriving at 5: tick 3 sees r_1..r_3, tick 6 sees r_4, r_5 and the end."""
    batch = {
        "reward": jnp.array([[0.0, 1, 2, 3, 4, 5, 77]]),
        "terminal": jnp.array([[False] * 5 + [True, False]]),
        "is_first": jnp.array([[True] + [False] * 6]),
        "mask": jnp.array([[1.0] * 6 + [0]]),
    }
    got = targets_of(batch, 3)
    np.testing.assert_array_equal(got.valid[0], [0, 0, 0, 1, 1, 1, 1])
    np.testing.assert_allclose(got.reward[0, [3, 6]], [1 + 0.9 * 2 + 0.81 * 3, 4 + 0.9 * 5], 1e-6)
    np.testing.assert_array_equal(got.cont[0, 3:], [1, 1, 0, 0])


def dreamer_returns(r: np.ndarray, c: np.ndarray, v: np.ndarray, lam: float) -> list[float]:
    """Dreamer's V_λ as the mixture of n-step returns (Hafner et al. 2020, eqs. 5 and 6)."""
    horizon, result = len(r), []
    for t in range(horizon):
        returns = []
        for n in range(1, horizon - t + 1):
            total, weight = 0.0, 1.0
            for i in range(t, t + n):
                total += weight * r[i]
                weight *= GAMMA * c[i]
            returns.append(total + weight * v[t + n])
        mixed = sum((1 - lam) * lam**i * g for i, g in enumerate(returns[:-1]))
        result.append(mixed + lam ** (len(returns) - 1) * returns[-1])
    return result


@pytest.mark.parametrize("lam", [0.0, 0.7, 1.0])
def test_lambda_returns_are_dreamers_at_stride_1(lam: float) -> None:
    rng = np.random.default_rng(0)
    r, c, v = rng.normal(size=7), rng.random(7), rng.normal(size=8)
    got = returns(*(jnp.asarray(x, jnp.float32) for x in (r, c, v)), GAMMA, lam)
    np.testing.assert_allclose(got, dreamer_returns(r, c, v, lam), rtol=1e-5, atol=1e-5)


def flat_return(reward: np.ndarray, ends: bool, steps: int, value: float) -> float:
    """Σ γ^{i-1} r_i over `steps`, then the value of the last state unless the episode is over."""
    total = sum(GAMMA**i * float(r) for i, r in enumerate(reward[1 : steps + 1]))
    return total if ends and steps >= len(reward) - 1 else total + GAMMA**steps * value


@pytest.mark.parametrize("ends", [True, False])
@pytest.mark.parametrize("stride", STRIDES)
def test_windowed_return_is_the_flat_return_at_lambda_1(stride: int, ends: bool) -> None:
    """The same trajectory, any K: also with a terminal inside a window; bootstrapped otherwise."""
    rng = np.random.default_rng(10 * stride + ends)
    for steps in range(stride, 3 * stride + 2):
        reward = rng.normal(size=steps + 1).astype(np.float32)
        reward[0] = 0
        horizon = -(-steps // stride) if ends else steps // stride  # whole windows that are known
        slots: list[Slot | None] = [Slot(0, i, 0) for i in range(4 * stride + 1)]
        batch = {k: v[None] for k, v in arrays(Row(slots, [Episode(reward, ends)])).items()}
        ticks = jax.tree.map(lambda x: x[0, stride::stride], targets_of(batch, stride))
        assert ticks.valid[:horizon].all() and not ticks.valid[horizon:].any()
        value = rng.normal(size=horizon + 1).astype(np.float32)
        got = returns(ticks.reward[:horizon], ticks.cont[:horizon], value, GAMMA**stride, 1.0)
        expected = flat_return(reward, ends, min(horizon * stride, steps), float(value[-1]))
        np.testing.assert_allclose(got[0], expected, rtol=1e-4, atol=1e-5)


def test_path_weights_by_hand() -> None:
    cont = jnp.array([1.0, 0.5, 0.0, 1.0])
    one, zero = jnp.ones(()), jnp.zeros(())
    np.testing.assert_allclose(path_weights(one, cont, GAMMA), [1, 0.9, 0.405, 0], rtol=1e-6)
    np.testing.assert_array_equal(path_weights(zero, cont, GAMMA), np.zeros(4))


@pytest.mark.parametrize("chains", [1, 3])
def test_observed_returns_against_a_plain_loop(chains: int) -> None:
    """Each chain by itself; where the next window is unknown, the value in place of the return."""
    rng, n, discount, lam = np.random.default_rng(chains), 12, 0.8, 0.7
    r, c, v = (rng.random(n).astype(np.float32) for _ in range(3))
    valid = (rng.random(n) < 0.7).astype(np.float32)
    valid[-chains:] = 1
    expected, known = v.copy(), np.zeros(n)
    for t in reversed(range(n - chains)):
        after = t + chains
        if valid[after]:
            future = (1 - lam) * v[after] + lam * expected[after]
            expected[t], known[t] = r[after] + discount * c[after] * future, 1
    windows = WindowTargets(*(jnp.asarray(x) for x in (r, c, valid)))
    got = observed_returns(windows, jnp.asarray(v), chains, discount, lam)
    np.testing.assert_allclose(got.returns, expected, rtol=1e-5)
    np.testing.assert_array_equal(got.known, known)
    assert 0 < known.sum() < n - chains


def test_observed_returns_at_lambda_1_are_the_discounted_rewards_of_the_steps() -> None:
    """Windows of 4 at every phase, an episode that ends by time limit: rewards, then the value."""
    rng = np.random.default_rng(3)
    reward = rng.normal(size=13).astype(np.float32)
    reward[0] = 0
    slots: list[Slot | None] = [None] * 3 + [Slot(0, i, 0) for i in range(16)]
    batch = {k: v[None] for k, v in arrays(Row(slots, [Episode(reward, False)])).items()}
    windows = jax.tree.map(lambda x: x[0, 3:], targets_of(batch, 4))
    value = rng.normal(size=16).astype(np.float32)
    got = observed_returns(windows, jnp.asarray(value), 4, GAMMA**4, 1.0)
    for t in range(9):
        end = t + (12 - t) // 4 * 4
        steps = sum(GAMMA ** (i - t - 1) * float(reward[i]) for i in range(t + 1, end + 1))
        expected = steps + GAMMA ** (end - t) * float(value[end])
        np.testing.assert_allclose(got.returns[t], expected, rtol=1e-4)
    np.testing.assert_array_equal(got.known, [1] * 9 + [0] * 7)
