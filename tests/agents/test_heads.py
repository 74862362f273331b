"""Two-hot regression: exact, symmetric, unbiased."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from agents.heads import (
    BINS,
    Bernoulli,
    TwoHot,
    bernoulli_loss,
    bins,
    two_hot,
    two_hot_loss,
    two_hot_mean,
)

LARGEST = float(np.expm1(12.0))
VALUES = [0.0, 1e-6, 0.03, 0.5, 1.0, 9.9, 250.0, 4e4, 0.999 * LARGEST, LARGEST]
BOTH = jnp.array([*VALUES, *[-x for x in VALUES]])
twohot, mean, loss = jax.jit(two_hot), jax.jit(two_hot_mean), jax.jit(two_hot_loss)


def test_bins_are_symmetric_about_0() -> None:
    centres = np.asarray(bins())
    assert centres.shape == (BINS,) and centres[BINS // 2] == 0
    np.testing.assert_array_equal(centres, -centres[::-1])
    assert np.all(np.diff(centres) > 0) and centres[-1] == pytest.approx(LARGEST, rel=1e-5)


def test_two_neighbours_carry_the_value() -> None:
    weights = np.asarray(twohot(BOTH))
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-6)
    assert weights.min() >= 0 and (weights > 0).sum(-1).max() <= 2
    exact = weights.astype(np.float64) @ np.asarray(bins(), np.float64)
    np.testing.assert_allclose(exact, BOTH, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(mean(jnp.log(weights)), BOTH, rtol=1e-5, atol=1e-6)


def test_mirror_image() -> None:
    np.testing.assert_allclose(twohot(-BOTH), twohot(BOTH)[:, ::-1], atol=1e-6)


def test_beyond_the_last_bin_is_clipped() -> None:
    far = jnp.array([3.0, -3.0]) * LARGEST
    np.testing.assert_allclose(mean(jnp.log(twohot(far))), far / 3, rtol=1e-5)


def test_large_bins_cancel() -> None:
    """The mean of anything even is 0, whatever the rounding of 162 754; of the uniform exactly."""
    half = jax.random.normal(jax.random.key(0), (20, BINS // 2))
    logits = jnp.concatenate([half, jnp.zeros((20, 1)), half[:, ::-1]], axis=-1)
    np.testing.assert_allclose(mean(logits), np.zeros(20), atol=1e-3)
    np.testing.assert_array_equal(mean(jnp.full(BINS, 0.7)), 0)


def test_unbiased_for_random_targets() -> None:
    """What minimises the expected loss has the expected target as its mean, however skewed."""
    targets, share = jnp.array([0.0, 100.0, -3.0]), jnp.array([0.88, 0.1, 0.02])

    def expected_loss(logits: jax.Array) -> jax.Array:
        each = two_hot_loss(jnp.broadcast_to(logits, (3, BINS)), targets)
        return jnp.sum(share * each)

    best = jnp.log(jnp.sum(share[:, None] * two_hot(targets), axis=0))
    np.testing.assert_allclose(jax.grad(expected_loss)(best), np.zeros(BINS), atol=1e-6)
    np.testing.assert_allclose(mean(best), jnp.sum(share * targets), rtol=1e-5)


def test_gradient_is_softmax_minus_target() -> None:
    logits = jax.random.normal(jax.random.key(0), (BINS,))
    target = jnp.array(7.3)
    expected = jax.nn.softmax(logits) - twohot(target)
    np.testing.assert_allclose(jax.grad(loss)(logits, target), expected, atol=1e-6)


def test_gradient_of_the_mean_against_differences() -> None:
    """What the actor climbs: d mean / d logits = p (bin - mean)."""
    logits = 3 * jax.random.normal(jax.random.key(0), (BINS,)) - 0.01 * bins() ** 2
    probs = np.asarray(jax.nn.softmax(logits), np.float64)
    centres = np.asarray(bins(), np.float64)
    expected = probs * (centres - probs @ centres)
    np.testing.assert_allclose(jax.grad(mean)(logits), expected, rtol=1e-3, atol=1e-4)


def test_heads_start_neutral() -> None:
    kind = {"layers": 1, "act": "silu", "norm": True, "dtype": "float32"}
    features = jax.random.normal(jax.random.key(0), (5, 3, 7))
    value = two_hot_mean(TwoHot(7, 8, rngs=nnx.Rngs(0), **kind)(features))
    np.testing.assert_array_equal(value, np.zeros((5, 3)))
    np.testing.assert_array_equal(
        Bernoulli(7, 8, rngs=nnx.Rngs(0), **kind)(features), np.zeros((5, 3))
    )


def test_bernoulli_loss_by_hand() -> None:
    got = bernoulli_loss(jnp.array([0.0, 2.0, 2.0]), jnp.array([1.0, 0.0, 1.0]))
    expected = [np.log(2), np.log1p(np.exp(2.0)), np.log1p(np.exp(-2.0))]
    np.testing.assert_allclose(got, expected, rtol=1e-5)
