"""What each level holds: a blind level follows its prior, KL and entropy are the sums they say."""

import jax
import numpy as np
import pytest

VIDEO = {"strides": (1, 2, 4), "window": "lookahead"}


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
