"""A traced episode: every value at the time it belongs to, gaps where nothing is known."""

from functools import partial
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from analysis.agent.trace import Trace, observe_episodes
from worldmodel.learner import join, split
from worldmodel.level import State
from worldmodel.objective import ObjectiveConfig, model_loss
from worldmodel.records import Records

SPACE = gymnasium.spaces.Box(-1, 1, (2,))
STEPS = 10  # records of the episode: times 0 … 9
GAMMA = 0.99


def episode(model: Any, terminal: bool) -> Records:
    """One episode [1, lead+T', ...], padded so that the window of every phase is closed."""
    length = model.lead + -(-(STEPS + model.lead) // model.stride) * model.stride
    time = np.arange(length) - model.lead
    real = (time >= 0) & (time < STEPS)
    keys = jax.random.split(jax.random.key(3), 2)
    field = lambda x: jnp.asarray(x)[None]  # noqa: E731
    return Records(
        obs={"x": jax.random.normal(keys[0], (1, length, 4)) * field(real)[..., None]},
        action=jax.random.uniform(keys[1], (1, length, 2), minval=-1) * field(time > 0)[..., None],
        action_mask=field(real.astype(np.float32)),
        reward=field(np.where(real & (time > 0), time, 0).astype(np.float32)),  # r_t = t
        terminal=field(terminal & (time == STEPS - 1)),
        is_first=field(time == 0),
        mask=field(real.astype(np.float32)),
    )


def traced(agent: Any, records: Records) -> tuple[Any, Trace]:
    beliefs, trace = observed(*split(agent), records, jax.random.key(0))
    return beliefs, jax.device_get(trace)


@partial(jax.jit, static_argnums=0)  # compiled once for all tests with the same agent
def observed(graph: Any, params: Any, records: Records, key: Any) -> tuple[Any, Trace]:
    return observe_episodes(join(graph, params), records, key)


def window(time: int, stride: int) -> float:
    """R by hand: r_t = t, so the window of t is Σ γ^{i-1} (t-K+i)."""
    return sum(GAMMA**i * (time - stride + 1 + i) for i in range(stride))


@pytest.mark.parametrize("strides", [pytest.param((1,), marks=pytest.mark.slow), (1, 4)])
def test_window_rewards_stand_at_the_end_of_their_window(make_agent, strides):
    agent = make_agent(SPACE, strides)
    stride = strides[-1]
    _, trace = traced(agent, episode(agent.model, terminal=False))
    assert trace.time[:3].tolist() == [0, 1, 2]  # all phases: a tick at every step
    for name in ("observed", "believed", "foreseen"):
        known = trace.time[np.isfinite(getattr(trace, name)[0])]
        assert known.tolist() == list(range(stride, STEPS)), name  # else a gap
    for time in range(stride, STEPS):
        at = trace.time.tolist().index(time)
        np.testing.assert_allclose(trace.observed[0, at], window(time, stride), rtol=1e-6)


def test_a_terminal_closes_the_windows_that_it_falls_into(make_agent):
    agent = make_agent(SPACE, (1, 4))
    _, trace = traced(agent, episode(agent.model, terminal=True))
    known = trace.time[np.isfinite(trace.observed[0])]
    assert known.tolist() == [4, 5, 6, 7, 8, 9, 10, 11, 12]  # 9 falls into the windows up to 12
    at = {int(t): trace.observed[0, n] for n, t in enumerate(trace.time)}
    np.testing.assert_allclose(at[11], 8 + GAMMA * 9, rtol=1e-6)
    np.testing.assert_allclose(at[12], 9, rtol=1e-6)
    assert np.isfinite(trace.value[0]).tolist() == [t < 9 for t in trace.time]  # to act in
    top = trace.levels[-1]
    assert top.time[np.isfinite(top.kl[0])].tolist() == list(range(13))
    assert trace.levels[0].time[np.isfinite(trace.levels[0].kl[0])].tolist() == list(range(10))


def test_ticks_of_every_level_stand_at_multiples_of_its_stride(make_agent):
    """But of the top, whose chains are interleaved: at every step."""
    agent = make_agent(SPACE, (1, 2, 4))
    _, trace = traced(agent, episode(agent.model, terminal=False))
    seen = [level.time[np.isfinite(level.kl[0])].tolist() for level in trace.levels]
    assert seen == [list(range(10)), [0, 2, 4, 6, 8], list(range(10))]
    assert trace.time[np.isfinite(trace.value[0])].tolist() == list(range(10))


def test_a_surprise_raises_kl_from_the_tick_that_sees_it_on(make_agent):
    """Another observation at time 6: nothing before it changes, the first tick to see it does."""
    agent = make_agent(SPACE, (1, 2, 4))
    records = episode(agent.model, terminal=False)
    changed = records._replace(obs={"x": records.obs["x"].at[0, agent.model.lead + 6].add(3.0)})
    (_, before), (_, after) = traced(agent, records), traced(agent, changed)
    for level, first in enumerate((6, 6, 6)):
        a, b = before.levels[level], after.levels[level]
        moved = a.time[np.isfinite(a.kl[0]) & (a.kl[0] != b.kl[0])]
        assert moved[0] == first


@pytest.mark.parametrize("terminal", [True, False])
def test_its_mean_is_what_the_loss_logs(make_agent, terminal):
    agent = make_agent(SPACE, (1, 4))
    records = episode(agent.model, terminal)
    beliefs, trace = traced(agent, records)
    _, metrics = model_loss(agent.model, records, beliefs, ObjectiveConfig())
    for n, level in enumerate(trace.levels, 1):
        np.testing.assert_allclose(np.nanmean(level.kl), metrics[f"kl/level{n}"], rtol=1e-5)
        entropy = metrics[f"prior_entropy/level{n}"]
        np.testing.assert_allclose(np.nanmean(level.prior_entropy), entropy, rtol=1e-5)


def test_what_is_read_from_beliefs_is_the_heads_own(make_agent):
    agent = make_agent(SPACE, (1, 4))
    beliefs, trace = traced(agent, episode(agent.model, terminal=False))
    top: State = beliefs[-1].state
    known = np.isfinite(trace.believed[0])
    reward, value = agent.predict_reward(top.features), agent.predict_value(top.features)
    np.testing.assert_allclose(trace.believed[0][known], reward[0][known], rtol=1e-4, atol=1e-6)
    known = np.isfinite(trace.value[0])
    np.testing.assert_allclose(trace.value[0][known], value[0][known], rtol=1e-4, atol=1e-6)
