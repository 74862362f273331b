"""The open loop with blind levels: a blind level follows its prior, and nobody else notices."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.models import drawn
from flax import nnx

from analysis.video.blindfold import open_loop, predicted_images, prior_entropy
from worldmodel import ClockworkVAE
from worldmodel.networks import symexp
from worldmodel.openloop import predict

VIDEO = {"strides": (1, 2, 4), "window": "lookahead"}
TWO = {"strides": (1, 4), "window": "lookahead"}


def test_no_blind_level_is_the_filter_itself(cases):
    model = cases.model(actions=0, **VIDEO)
    records = cases.records(model, 2, 8, seed=0, firsts=(0,))
    noise = model.draw_noise(jax.random.key(0), 2, 8)
    plain = jax.jit(model.observe)(records, noise)
    none = jax.jit(lambda r, n: model.observe(r, n, ()))(records, noise)
    jax.tree.map(np.testing.assert_array_equal, plain, none)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_blind_level_follows_its_prior(cases, level):
    """Slow twin: tick by tick, a level steps as in imagination, context from the level above."""
    model = cases.model(actions=0, **VIDEO)
    records = cases.records(model, 2, 8, seed=0, firsts=(0,))
    noise = model.draw_noise(jax.random.key(0), 2, 8)
    beliefs = jax.jit(lambda r, n: model.observe(r, n, (level,)))(records, noise)
    kl = model.latent.kl(beliefs[level].post, beliefs[level].prior)
    assert (kl == 0).all()  # by construction
    cell, stride = model.levels[level], model.strides[level]
    state = cell.initial((2,))
    for tick in range(8 // stride):
        context = None
        if level < 2:
            above = beliefs[level + 1].state
            context = cases.at(above, np.s_[:, tick * stride // model.strides[level + 1]]).features
        state = cell.imagine_step(state, cell.drive(context, None), noise[level][:, tick])
        cases.close(cases.at(beliefs[level].state, np.s_[:, tick]), state, 1e-5)


def test_levels_above_a_blind_one_do_not_notice(cases):
    model = cases.model(actions=0, **VIDEO)
    records = cases.records(model, 2, 8, seed=0, firsts=(0,))
    noise = model.draw_noise(jax.random.key(0), 2, 8)
    plain = jax.jit(model.observe)(records, noise)
    blind = jax.jit(lambda r, n: model.observe(r, n, (1,)))(records, noise)
    cases.close(blind[2], plain[2], 1e-6)
    assert not np.allclose(blind[1].state.z, plain[1].state.z)
    assert not np.allclose(blind[0].state.z, plain[0].state.z)  # through its context


def test_all_phases_may_be_blind(cases):
    model = cases.model(strides=(1, 4))
    records = cases.records(model, 1, 8, seed=0, firsts=(0,))
    noise = model.draw_noise(jax.random.key(0), 1, 8)
    top = jax.jit(lambda r, n: model.observe(r, n, (1,)))(records, noise)[1]
    assert (model.latent.kl(top.post, top.prior) == 0).all()


def test_the_open_loop_is_that_of_predict(cases):
    model = cases.model(actions=0, **TWO)
    records = cases.records(model, 2, 16, seed=0, firsts=(0,))
    key = jax.random.key(0)
    loop = jax.jit(lambda r, k: predict(model, r, 8, k).predicted)(records, key)
    states = jax.jit(lambda r, k: open_loop(model, r, 8, 7, k))(records, jax.random.clone(key))
    assert [s.h.shape[1] for s in states] == [8, 2]  # whole windows
    drawn = symexp(model.decode(states[0].features)["vector"])
    np.testing.assert_allclose(drawn, loop["vector"][:, 8:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("settings", [TWO, {"strides": (1, 4)}])
def test_the_future_is_of_what_was_seen_by_whom(cases, settings):
    model = cases.model(actions=0, **settings)
    records = cases.records(model, 1, 16, seed=0, firsts=(0,))
    records = jax.tree.map(lambda x: x[:, model.lead :], records)

    @partial(jax.jit, static_argnums=1)
    def run(r, blind):
        return open_loop(model, r, 8, 8, jax.random.key(0), blind)[0].features

    def changed(time, blind):
        obs = records.obs["vector"].at[:, time].add(1.0)
        moved = run(records._replace(obs={"vector": obs}), blind)
        return not np.array_equal(moved, run(records, blind))

    assert changed(7, ()) and not changed(8, ())
    assert not changed(7, (0, 1)) and not changed(0, (0, 1))
    assert changed(7, (0,)) and changed(7, (1,))


def test_entropy_is_held_between_ticks(cases):
    """Stds are what the prior says: ½ log(2πe) + log σ per dimension."""
    model = cases.model(actions=0, **VIDEO)
    records = cases.records(model, 2, 8, seed=0, firsts=(0,))
    states = jax.jit(lambda r: open_loop(model, r, 4, 6, jax.random.key(0)))(records)
    entropy = np.asarray(prior_entropy(model, states, 6))
    assert entropy.shape == (2, 6, 3)
    for level, stride in enumerate(model.strides):
        std = np.asarray(model.levels[level].prior(states[level].h)["std"], float)
        for frame in range(6):
            by_hand = (0.5 * np.log(2 * np.pi * np.e) + np.log(std[:, frame // stride])).sum(-1)
            np.testing.assert_allclose(entropy[:, frame, level], by_hand, rtol=1e-4)


def test_predicted_images_are_bytes(cases):
    config = cases.config(strides=(1, 2), window="lookahead")
    model = drawn(lambda: ClockworkVAE(config, {"image": (64, 64, 1)}, 0, nnx.Rngs(0)), 0.0)
    states = (model.levels[0].initial((2, 4)), model.levels[1].initial((2, 2)))
    images = predicted_images(model, states, 3, "image", 4)
    assert images.shape == (2, 3, 64, 64, 1) and images.dtype == jnp.uint8


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"horizon": 0}, "horizon: expected 1 frame"),
        ({"context": 3}, "multiple of the top stride 4 frames, received 3"),
        ({"blind": (3,)}, "levels 0 to 2"),
    ],
)
def test_what_cannot_be_rolled_is_refused(cases, changes, words):
    model = cases.model(actions=0, **VIDEO)
    records = cases.records(model, 1, 8, seed=0, firsts=(0,))
    given = {"context": 4, "horizon": 4, "key": jax.random.key(0)} | changes
    with pytest.raises(ValueError, match=words):
        open_loop(model, records, **given)
