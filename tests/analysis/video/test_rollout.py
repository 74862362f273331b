"""Many samples of a long future: each the plain open loop, none sees past the context."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from analysis.video.rollout import check_context, imagine_samples, usable_context
from worldmodel.records import Records


def bare(cases, model, length: int, seed: int = 0) -> Records:
    """Records of two videos without lead-in."""
    records = cases.records(model, 2, length, seed, firsts=(0,))
    return records.after(model.lead)


def roller(model, context, horizon, samples=1):
    """Features of ``samples`` futures, by records and seed; compiled once."""
    run = jax.jit(lambda r, k: imagine_samples(model, r, context, horizon, samples, k))
    return lambda records, seed=0: np.asarray(run(records, jax.random.key(seed)))


CASES = [
    {"strides": (1, 2, 4), "window": "lookahead"},
    pytest.param({"strides": (1,), "window": "lookahead"}, marks=pytest.mark.slow),
    pytest.param({"strides": (1, 4)}, marks=pytest.mark.slow),
    {"strides": (1, 2, 4)},
]


@pytest.mark.parametrize("settings", CASES)
def test_a_sample_is_the_plain_open_loop(cases, settings):
    """Whole windows of the top are rolled, and cut; actions after the horizon are unknown."""
    model = cases.video(**settings)
    records = bare(cases, model, 14)
    context, horizon, steps = 4, 7, 7 if model.stride == 1 else 8

    @jax.jit
    def plain(records, key):
        filter_key, imagine_key = jax.random.split(jax.random.split(key, 1)[0])
        seen = jax.tree.map(lambda x: x[:, :context], records)
        states = model.filter(seen, filter_key).state
        noise = model.imagination_noise(imagine_key, 2, steps)
        action, known = records.action[:, context:], records.action_mask[:, context:]
        known = jnp.where(jnp.arange(10) < horizon, known, 0.0)[:, :steps]
        return model.imagine(states, action[:, :steps], known, noise)[0].features

    want = plain(records, jax.random.key(0))
    got = roller(model, context, horizon)(records)
    assert got.shape == (1, 2, horizon, model.features)
    np.testing.assert_allclose(got[0], want[:, :horizon], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("settings", CASES)
def test_nothing_after_the_context_is_seen_and_all_before_is(cases, settings):
    model = cases.video(**settings)
    records = bare(cases, model, 14)
    roll = roller(model, 8, 6)
    before = roll(records)

    def changed(time):
        obs = {"vector": records.obs["vector"].at[:, time].add(1.0)}
        return (roll(records._replace(obs=obs)) != before).any()

    assert not changed(8) and not changed(9)
    assert changed(7) and changed(0)


def test_actions_of_the_future_are_followed(cases):
    model = cases.video(strides=(1, 4))
    records = bare(cases, model, 14)
    roll = roller(model, 8, 6)
    action = records.action.at[:, 12].add(1.0)  # in the second window imagined: times 12 … 15
    differs = (roll(records._replace(action=action)) != roll(records)).any(axis=(0, 1, 3))
    assert differs.tolist() == [False] * 4 + [True] * 2


def test_samples_differ_and_are_repeatable(cases):
    model = cases.video(strides=(1, 2, 4), window="lookahead")
    records = bare(cases, model, 14)
    roll = roller(model, 4, 5, samples=3)
    three = roll(records)
    assert (three[0] != three[1]).any() and (three[1] != three[2]).any()
    assert (three == roll(records)).all()
    assert (three != roll(records, seed=1)).any()


def test_a_context_off_the_clock_is_refused_with_the_remedy(cases):
    model = cases.video(strides=(1, 2, 4), window="lookahead")
    with pytest.raises(ValueError, match=r"multiple of the top stride 4 .*--context 4 or 8$"):
        check_context(model, 6)
    for context in (3, 0, -1):
        with pytest.raises(ValueError, match=r"--context 4$"):
            check_context(model, context)
    check_context(model, 8)
    causal = cases.video(strides=(1, 4))
    check_context(causal, 6)
    with pytest.raises(ValueError, match=r"1 or more frames, received 0; set --context 1$"):
        check_context(causal, 0)
    assert [usable_context(model, n) for n in (3, 4, 7, 8)] == [0, 4, 4, 8]
    assert usable_context(causal, 6) == 6
