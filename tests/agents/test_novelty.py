"""Novelty by hand: what the ensemble learns, where it disagrees, what imagination gets for it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from agents.novelty import (
    MEMBERS,
    Ensemble,
    bonus,
    disagreement,
    ensemble_loss,
    variance_of,
)


def test_disagreement_is_the_root_of_the_members_variance_over_the_observations():
    """d = √( Σ_o Var_m[x̂_mo] / Σ_o Var[x_o] )."""
    predicted = np.array([[[1.0, 0.0], [5.0, 5.0]], [[3.0, 4.0], [5.0, 5.0]]])  # [M, N, O]
    d = disagreement(jnp.asarray(predicted.var(0).sum(-1)), jnp.asarray(20.0))
    np.testing.assert_allclose(d, [np.sqrt((1 + 4) / 20), 1e-4], rtol=1e-4)


@pytest.mark.parametrize("outputs", [3, 8, 9, 100])
def test_spread_is_the_members_variance_summed_over_outputs(outputs):
    """Σ_o Var_m[x̂_mo] = sᵀ G s, with four hidden units: from 9 outputs on by G; its gradient too,
    and where all members agree, never below 0."""
    ensemble = Ensemble(3, 4, outputs, nnx.Rngs(0))
    keys = iter(jax.random.split(jax.random.key(1), 3))
    for bias in (ensemble.hidden_bias, ensemble.output_bias):
        bias[...] = jax.random.normal(next(keys), bias.shape)
    h = jax.random.normal(next(keys), (6, 3))

    def plain(h):
        return sum(
            jnp.var(jnp.stack([ensemble(h[n : n + 1])[m, 0] for m in range(MEMBERS)]), axis=0).sum()
            * (n + 1)
            for n in range(6)
        )

    weights = jnp.arange(1.0, 7.0)
    got, slope = jax.value_and_grad(lambda h: jnp.sum(ensemble.spread(h) * weights))(h)
    expected, expected_slope = jax.value_and_grad(plain)(h)
    assert float(expected) > 1
    np.testing.assert_allclose(got, expected, rtol=1e-4)
    np.testing.assert_allclose(slope, expected_slope, rtol=1e-4, atol=1e-4)
    for part in (ensemble.input, ensemble.hidden_bias, ensemble.output, ensemble.output_bias):
        part[...] = jnp.broadcast_to(part[...][:1], part.shape)
    alike = np.asarray(ensemble.spread(h))
    size = jnp.sum(ensemble(h)[0] ** 2, axis=-1)
    assert (alike >= 0).all() and (alike < 1e-5 * size).all()


def test_variance_of_what_is_real():
    target = jnp.asarray([[1.0, 0.0], [3.0, 0.0], [100.0, 100.0]])
    assert float(variance_of(target, jnp.asarray([1.0, 1.0, 0.0]))) == pytest.approx(1.0)


def test_ensemble_loss_is_the_members_mean_squared_error_as_a_share():
    target = jnp.asarray([[1.0, 1.0], [9.0, 9.0]])
    predicted = jnp.stack([target, target + 2.0])
    got = ensemble_loss(predicted, target, jnp.asarray([1.0, 0.0]), jnp.asarray(16.0))
    assert float(got) == pytest.approx((0 + 8) / 2 / 16)


def test_bonus_is_novelty_from_its_mean_at_the_same_tick_for_every_step_of_a_window():
    """b_j = β W (d_j - d̄_j), d̄_j over the paths that are still going."""
    novel = jnp.asarray([[0.5, 0.1], [0.3, 0.5], [9.0, 9.0]])
    weight = jnp.asarray([[1.0, 0.5], [1.0, 1.0], [0.0, 0.0]])
    got = bonus(novel, weight, rate=2.0, steps=4)
    mean = (0.5 * 0.1 + 1.0 * 0.5) / 1.5
    expected = [[0.1, 0.1 - mean], [-0.1, 0.5 - mean]]
    np.testing.assert_allclose(got[:2], 2.0 * 4 * np.asarray(expected), rtol=1e-5)


def test_continuing_pays_nothing_on_average_though_later_states_are_less_known():
    """A plain loop: the bonus still to come, Σ_j b_j over the paths still going, is 0 at any tick.
    With one mean over all ticks, later ticks would pay and an end would cost them."""
    rng = np.random.default_rng(0)
    novel = rng.uniform(0, 1, (64, 8)) + np.arange(8)
    weight = np.cumprod(rng.uniform(0.5, 1, (64, 8)), axis=1)
    paid = np.asarray(bonus(jnp.asarray(novel), jnp.asarray(weight), rate=1.0, steps=2))
    for tick in range(8):
        came = sum(weight[n, j] * paid[n, j] for n in range(64) for j in range(tick, 8))
        assert abs(came) < 1e-3


def test_every_state_is_climbed_by_what_it_pays_whatever_the_others():
    """∂ Σ b / ∂ d = β W everywhere: d̄ carries no gradient, or there would be none in sum."""
    novel = jnp.asarray([[0.5, 0.1, 0.3], [9.0, 9.0, 9.0]])

    def total(novel):
        return bonus(novel, jnp.ones((2, 3)), rate=2.0, steps=4).sum()

    np.testing.assert_array_equal(jax.grad(total)(novel), np.full((2, 3), 8.0))


def test_members_agree_on_what_they_were_shown_though_it_is_random_and_on_nothing_else():
    """One input is followed by 1 or -1 at random, another was never shown."""
    ensemble = Ensemble(2, 32, 1, nnx.Rngs(0))
    graph, params = nnx.split(ensemble, nnx.Param)
    shown = jnp.tile(jnp.asarray([[1.0, 0.0]]), (64, 1))
    both = jnp.asarray([[1.0, 0.0], [0.0, 3.0]])
    ones, optimizer = jnp.ones(64), optax.adam(1e-2)

    @jax.jit
    def fit(carry, key):
        params, state = carry
        target = jnp.where(jax.random.bernoulli(key, 0.5, (64, 1)), 1.0, -1.0)

        def loss(params):
            return ensemble_loss(nnx.merge(graph, params)(shown), target, ones, jnp.asarray(1.0))

        updates, state = optimizer.update(jax.grad(loss)(params), state)
        return (optax.apply_updates(params, updates), state), None

    def apart(params):
        ensemble = nnx.merge(graph, params)
        assert ensemble(both).shape == (MEMBERS, 2, 1)
        return np.asarray(disagreement(ensemble.spread(both), jnp.asarray(1.0)))

    before = apart(params)
    keys = jax.random.split(jax.random.key(1), 400)
    (params, _), _ = jax.lax.scan(fit, (params, optimizer.init(params)), keys)
    after = apart(params)
    assert after[0] < 0.2 * before[0] and after[1] > 0.5 * before[1] and after[1] > 5 * after[0]
