"""What if: rows differ by what is done alone, actions are named, returns are counted by hand."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from analysis.agent.what_if import (
    apart,
    decode_futures,
    imagine_futures,
    return_that_followed,
)
from worldmodel.learner import join, split
from worldmodel.level import State

BOX = spaces.Box(-1, 1, (2,))
SAMPLES, TICKS = 3, 4


def start_of(agent: Any) -> tuple[State, ...]:
    """Some state of every level, [1, ·]."""
    model = agent.model

    def random(key: jax.Array) -> State:
        h, z = jax.random.split(key)
        width = model.features - model.config.deter
        return State(
            jax.random.normal(h, (1, model.config.deter)), jax.random.normal(z, (1, width))
        )

    return tuple(map(random, jax.random.split(jax.random.key(1), len(model.levels))))


def futures(agent: Any, actions: np.ndarray, seed: int = 0) -> Any:
    noise = agent.model.latent.noise(jax.random.key(seed), (SAMPLES, TICKS))
    chunks = agent.codec.hold(jnp.asarray(actions, jnp.float32))
    return imagined(*split(agent), start_of(agent)[-1], chunks, noise)


@partial(jax.jit, static_argnums=0)  # compiled once for all tests with the same agent
def imagined(graph: Any, params: Any, start: State, chunks: jax.Array, noise: jax.Array) -> Any:
    return imagine_futures(join(graph, params), start, chunks, noise)


def test_the_same_action_gives_the_same_future_in_every_row(make_agent):
    agent = make_agent(BOX, (1, 4))
    found = futures(agent, np.array([[0.5, -1.0], [0.5, -1.0], [-1.0, 1.0]]))
    features = np.asarray(found.states.features)
    np.testing.assert_array_equal(features[1], features[2])
    assert np.abs(features[1, 0] - features[3, 0]).max() > 1e-3
    assert np.abs(features[1, 0] - features[1, 1]).max() > 1e-3  # noises do differ
    np.testing.assert_array_equal(found.returns[1], found.returns[2])


def test_every_row_is_the_top_level_stepped_by_hand(make_agent):
    agent = make_agent(BOX, (1, 4))
    held = np.array([[0.5, -1.0], [0.0, 1.0]])
    found = futures(agent, held)
    assert found.states.h.shape[:3] == (3, SAMPLES, TICKS)
    noise = agent.model.latent.noise(jax.random.key(0), (SAMPLES, TICKS))
    for row in range(3):
        for sample in range(SAMPLES):
            state = start_of(agent)[-1]
            for tick in range(TICKS):
                own = agent.codec.mode(agent.actor(state.features))
                chunk = own if row == 0 else jnp.asarray(np.tile(held[row - 1], 4)[None])
                np.testing.assert_allclose(
                    found.chunk[row, sample, tick], chunk[0], rtol=1e-4, atol=1e-5
                )
                state = agent.model.imagine_top(state, chunk, noise[sample, tick][None])
                there = jax.tree.map(lambda x, i=(row, sample, tick): x[i], found.states)
                np.testing.assert_allclose(there.features, state.features[0], rtol=1e-3, atol=1e-4)


def test_the_return_is_that_of_the_windows_and_the_value_at_the_end(make_agent):
    agent = make_agent(BOX, (1, 4))
    found = futures(agent, np.zeros((1, 2)))
    gamma = agent.config.behaviour.discount**4
    cont = np.asarray(agent.predict_cont(found.states.features))
    for row, sample in np.ndindex(2, SAMPLES):
        alive, total = 1.0, 0.0
        for tick in range(TICKS):
            total += gamma**tick * alive * float(found.reward[row, sample, tick])
            alive *= cont[row, sample, tick]
        total += gamma**TICKS * alive * float(found.value[row, sample, -1])
        np.testing.assert_allclose(found.returns[row, sample], total, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "strides",
    [
        pytest.param((1,), marks=pytest.mark.slow),
        (1, 4),
        pytest.param((1, 2, 8), marks=pytest.mark.slow),
    ],
)
def test_decoded_futures_share_the_noise_of_all_levels(make_agent, strides):
    agent = make_agent(BOX, strides)
    found = futures(agent, np.array([[1.0, 1.0], [1.0, 1.0], [-1.0, 0.0]]))
    top, chunk = jax.tree.map(lambda x: x[:, 0], (found.states, found.chunk))
    obs = decode_futures(agent, start_of(agent), top, chunk, jax.random.key(4))["x"]
    assert obs.shape == (4, TICKS * strides[-1], 4)
    np.testing.assert_array_equal(obs[1], obs[2])
    assert np.abs(obs[1] - obs[3]).max() > 1e-4


def test_a_held_action_is_one_plan(make_agent):
    codec = make_agent(BOX, (1, 4), keep_plan=0.5).codec
    plan = codec.hold(jnp.array([[0.5, -1.0]]))
    assert plan.tolist() == [[0.5, -1, 1, 0.5, -1, 0, 0.5, -1, 0, 0.5, -1, 0]]


def test_rows_that_differ_most_are_chosen():
    paths = np.array([[0.0], [1.0], [1.1], [9.0], [5.0], [0.2]])
    assert apart(paths, 4) == [0, 1, 3, 4]  # 9 is farthest from 0 and 1, then 5
    assert apart(paths, 1) == [0] and apart(paths, 9) == [0, 1, 2, 3, 4, 5]
    same = np.zeros((3, 2))
    assert sorted(apart(same, 3)) == [0, 1, 2]


def test_what_really_followed_is_counted_by_hand():
    reward = np.array([0, 1, 2, 3, 4], np.float32)
    # from time 1: r_2 + γ r_3, then γ² v
    assert return_that_followed(reward, False, 10.0, 1, 2, 0.5) == 2 + 1.5 + 2.5
    assert return_that_followed(reward, False, 10.0, 2, 2, 0.5) == 3 + 2 + 2.5  # ends at the last
    assert np.isnan(
        return_that_followed(reward, False, np.nan, 3, 2, 0.5)
    )  # cut by a limit of time
    assert (
        return_that_followed(reward, True, np.nan, 2, 2, 0.5) == 3 + 2
    )  # a terminal: nothing follows
    assert return_that_followed(reward, True, np.nan, 2, 8, 0.5) == 3 + 2
