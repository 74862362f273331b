"""CW-VAE as a model of video: a blind level follows its prior, and nobody else notices; a future is
of what was seen; entropies and ticks stand at their frames; streams go on from clip to clip."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from worldmodel.networks import symexp
from worldmodel.openloop import predict_video
from worldmodel.records import Records
from worldmodel.video_model import open_loop

VIDEO = {"strides": (1, 2, 4), "window": "lookahead"}
TWO = {"strides": (1, 4), "window": "lookahead"}


def bare(model, records: Records) -> Records:
    """Without the lead-in."""
    return records.after(model.lead)


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


def test_a_prediction_is_reconstructed_and_then_imagined(cases):
    model = cases.video(actions=0, **TWO)
    records = cases.records(model, 2, 16, seed=0, firsts=(0,))

    @jax.jit
    def run(r, k):
        filtered, rolled = open_loop(model, r, 8, 7, k)
        return filtered.features, rolled, predict_video(model, cut(r, 15), 8, jax.random.clone(k))

    def cut(r, length):
        return jax.tree.map(lambda x: x[:, :length], r)

    seen, rolled, loop = run(records, jax.random.key(0))
    assert seen.shape[:2] == (2, 8) and rolled.features.shape[:2] == (2, 7) and loop.context == 8
    features = jnp.concatenate([seen, rolled.features], axis=1)
    drawn = symexp(model.decode(features)["vector"])
    np.testing.assert_allclose(drawn, loop.predicted["vector"], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(loop.true["vector"], records.obs["vector"][:, :15])


def test_what_a_causal_model_sees_as_its_lead_in_is_not_shown(cases):
    """After 6 frames of a top stride of 4 the newest 5 have features: the first is lead-in."""
    model = cases.video(actions=0, strides=(1, 4))
    records = bare(model, cases.records(model, 1, 10, seed=0, firsts=(0,)))
    loop = jax.eval_shape(lambda r: predict_video(model, r, 6, jax.random.key(0)), records)
    assert loop.predicted["vector"].shape == loop.true["vector"].shape == (1, 9, 3)


@pytest.mark.parametrize("context", [0, 10])
def test_a_prediction_needs_frames_before_and_after(cases, context):
    model = cases.video(actions=0, **TWO)
    records = cases.records(model, 1, 10, seed=0, firsts=(0,))
    with pytest.raises(ValueError, match=f"context of 1 to 9 frames .* received {context}; short"):
        predict_video(model, records, context, jax.random.key(0))


@pytest.mark.parametrize("settings", [TWO, {"strides": (1, 4)}])
def test_the_future_is_of_what_was_seen_by_whom(cases, settings):
    model = cases.video(actions=0, **settings)
    records = bare(model, cases.records(model, 1, 16, seed=0, firsts=(0,)))

    @partial(jax.jit, static_argnums=1)
    def run(r, blind):
        return open_loop(model, r, 8, 8, jax.random.key(0), blind)[1].features

    def changed(time, blind):
        obs = records.obs["vector"].at[:, time].add(1.0)
        moved = run(records._replace(obs={"vector": obs}), blind)
        return not np.array_equal(moved, run(records, blind))

    assert changed(7, ()) and not changed(8, ())
    assert not changed(7, (0, 1)) and not changed(0, (0, 1))
    assert changed(7, (0,)) and changed(7, (1,))


@pytest.mark.parametrize("context", [1, 2, 5, 8])
def test_a_causal_model_starts_after_any_context(cases, context):
    """As with its clock laid by hand: the first frames are its lead-in."""
    model = cases.video(strides=(1, 4))
    records = bare(model, cases.records(model, 2, 14, 0, firsts=(0,)))
    early = (context - 1) % 4

    @jax.jit
    def plain(records, key):
        length = context - early + 3
        padded = jax.tree.map(
            lambda x: jnp.pad(x[:, :context], [(0, 0), (3 - early, 3), *[(0, 0)] * (x.ndim - 2)]),
            records,
        )
        assert padded.mask.shape[1] == 3 + length and length % 4 == 0
        beliefs = model.observe(padded, model.draw_noise(key, 2, length))
        features = beliefs[0].state.features[:, : context - early]
        return features, model.states_at(beliefs, context - 1 - early)

    want = plain(records, jax.random.key(0))
    seen = jax.tree.map(lambda x: x[:, :context], records)
    cases.close(tuple(jax.jit(model.filter)(seen, jax.random.key(0))), want, 1e-6)


@pytest.mark.parametrize("window", ["lookahead", "causal"])
def test_entropy_is_held_between_ticks_and_ticks_stand_at_their_frames(cases, window):
    """Stds are what the prior says: ½ log(2πe) + log σ per dimension. Causal ticks end their
    windows, and before its first one a level has the state that it was given."""
    model = cases.video(actions=0, strides=(1, 2, 4), window=window)
    causal = window == "causal"
    records = cases.records(model, 2, 4, seed=0, firsts=(0,))

    @jax.jit
    def run(r, k):
        state = model.filter(r, k).state
        roll_key = jax.random.key(1)
        nothing = jnp.zeros((2, 6, 0)), jnp.zeros((2, 6))
        rolled = model.roll(state, *nothing, roll_key)
        noise = model.imagination_noise(jax.random.clone(roll_key), 2, 8)
        states = model.imagine(state, jnp.zeros((2, 8, 0)), jnp.zeros((2, 8)), noise)
        if causal:
            states = jax.tree.map(lambda s, x: jnp.concatenate([s[:, None], x], 1), state, states)
        stds = [level.prior(s.h)["std"] for level, s in zip(model.levels, states, strict=True)]
        return rolled, stds

    rolled, stds = run(records, jax.random.key(0))
    assert rolled.entropy.shape == rolled.ticks.shape == (2, 6, 3)
    for level, stride in enumerate(model.strides):
        std = np.asarray(stds[level], float)
        for frame in range(6):
            by_hand = (
                0.5 * np.log(2 * np.pi * np.e) + np.log(std[:, (frame + causal) // stride])
            ).sum(-1)
            np.testing.assert_allclose(rolled.entropy[:, frame, level], by_hand, rtol=1e-4)
    first = [[1] * 6, [1, 0] * 3, [1, 0, 0, 0, 1, 0]]
    last = [[1] * 6, [0, 1] * 3, [0, 0, 0, 1, 0, 0]]
    assert rolled.ticks[0].T.tolist() == (last if causal else first)
    assert model.clocks == ("every frame", "every 2 frames", "every 4 frames")


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"horizon": 0}, "horizon: expected 1 frame"), ({"blind": (3,)}, "levels 0 to 2")],
)
def test_what_cannot_be_rolled_is_refused(cases, changes, words):
    model = cases.video(actions=0, **VIDEO)
    records = cases.records(model, 1, 8, seed=0, firsts=(0,))
    given = {"context": 4, "horizon": 4, "key": jax.random.key(0)} | changes
    with pytest.raises(ValueError, match=words):
        open_loop(model, records, **given)
