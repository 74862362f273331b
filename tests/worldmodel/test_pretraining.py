"""The world model's own loss, and states carried from clip to clip."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.models import drawn
from flax import nnx

from worldmodel import ClockworkConfig, ObjectiveConfig, OptimizerConfig
from worldmodel.clockwork_video import ClockworkVideo, carried
from worldmodel.learner import initial_state, make_optimizer, make_update, split
from worldmodel.pretraining import initial_aux, make_loss
from worldmodel.records import Records, video
from worldmodel.video_model import Clips

STRIDES, B, T = (1, 2, 4), 2, 8


@pytest.fixture(scope="module")
def built() -> Any:
    config = ClockworkConfig(
        strides=STRIDES, window="lookahead", deter=6, hidden=8, stoch=3, embed=5
    )
    objective = ObjectiveConfig(kl="elbo")
    model = drawn(lambda: ClockworkVideo(config, {"x": (3,)}, 0, objective, nnx.Rngs(0)), 0.0)
    obs = np.random.default_rng(0).normal(size=(B, 2 * T, 3)).astype(np.float32)
    return model, video({"x": jnp.asarray(obs)})


def cut(records: Records, times: slice) -> Records:
    return jax.tree.map(lambda x: x[:, times], records)


def test_two_clips_with_carried_states_are_one_long_clip(built: Any) -> None:
    model, records = built
    noise = model.draw_noise(jax.random.key(1), B, 2 * T)
    halves = [
        tuple(n[:, i * T // s : (i + 1) * T // s] for n, s in zip(noise, STRIDES, strict=True))
        for i in range(2)
    ]

    @jax.jit
    def look() -> Any:
        whole = model.observe(records, noise)
        first = model.observe(cut(records, slice(0, T)), halves[0])
        carry = tuple(jax.tree.map(lambda x: x[:, -1], belief.state) for belief in first)
        return whole, first, model.observe(cut(records, slice(T, None)), halves[1], carry=carry)

    whole, first, second = look()
    for one, a, b in zip(whole, first, second, strict=True):
        parts = jax.tree.map(lambda x, y: jnp.concatenate([x, y], axis=1), a, b)
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-6), one, parts)


def test_an_episode_that_starts_anew_forgets_the_carry(built: Any) -> None:
    model, records = built
    clip = cut(records, slice(0, T))  # is_first at its start
    noise = model.draw_noise(jax.random.key(1), B, T)
    carry = tuple(jax.tree.map(jnp.ones_like, level.initial((B,))) for level in model.levels)
    observe = jax.jit(lambda carry: model.observe(clip, noise, carry=carry))
    nothing = tuple(jax.tree.map(jnp.zeros_like, state) for state in carry)
    fresh, kept = observe(nothing), observe(carry)
    jax.tree.map(np.testing.assert_array_equal, fresh, kept)


def test_rows_that_do_not_go_on_start_from_zeros(built: Any) -> None:
    model, _ = built
    carry = tuple(jax.tree.map(jnp.ones_like, level.initial((B,))) for level in model.levels)
    for leaf in jax.tree.leaves(carried(carry, jnp.array([True, False]))):
        np.testing.assert_array_equal(leaf[0], 1.0)
        np.testing.assert_array_equal(leaf[1], 0.0)


def test_a_carry_needs_whole_blocks(built: Any) -> None:
    model, records = built
    noise = model.draw_noise(jax.random.key(1), B, 6)
    carry = tuple(level.initial((B,)) for level in model.levels)
    with pytest.raises(ValueError, match="multiple of the top stride 4 records, received"):
        model.observe(cut(records, slice(0, 6)), noise, carry=carry)


@pytest.mark.learning
@pytest.mark.parametrize("streams", [pytest.param(False, marks=pytest.mark.slow), True])
def test_updates_descend_and_streams_carry_the_last_states(
    built: Any, streams: bool, seeds: list[int], margins: Callable[..., None]
) -> None:
    """Over 60 updates by half a nat and more, of which the margin is a share."""
    model, records = built
    graph, params = split(model)
    optimizer = make_optimizer(OptimizerConfig(lr=3e-3, warmup=0))
    update = make_update(make_loss(graph), optimizer)
    clips = [cut(records, slice(0, T)), cut(records, slice(T, None))]
    shares = []
    for seed in seeds:
        aux = initial_aux(model, B, streams)
        state = initial_state(jax.tree.map(jnp.array, params), aux, optimizer)
        assert len(aux.carry) == (len(STRIDES) if streams else 0)
        losses = []
        for step, key in enumerate(jax.random.split(jax.random.key(seed), 60)):
            batch = Clips(clips[step % 2], jnp.full(B, step % 2 == 1))
            state, metrics = update(state, batch, key)
            losses.append(float(metrics["loss/total"]))
        shares.append((np.mean(losses[:10]) - np.mean(losses[-10:])) / 0.5 - 1)
        for leaf in jax.tree.leaves(state.aux.carry):
            assert float(jnp.abs(leaf).max()) > 0
    margins(shares)


def test_rows_that_continue_go_on_from_their_last_ticks(built: Any) -> None:
    """And the others from zeros, in an update; no episode starts in the clip itself."""
    model, records = built
    clip, on = cut(records, slice(T, None)), jnp.array([True, False])
    carry = tuple(jax.tree.map(jnp.ones_like, level.initial((B,))) for level in model.levels)
    _, (after, _) = jax.jit(model.learn)(Clips(clip, on), carry, jax.random.key(1))
    noise = model.draw_noise(jax.random.key(1), B, T)
    beliefs = jax.jit(lambda c: model.observe(clip, noise, carry=c))(carried(carry, on))
    last = tuple(jax.tree.map(lambda x: x[:, -1], belief.state) for belief in beliefs)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), after, last)
