"""The auxiliary decoders' targets and likelihood, by hand."""

import jax
import jax.numpy as jnp
import numpy as np

from agents.coarse import GRID, coarse, coarse_nll, seen_recently
from worldmodel.records import Records


def test_images_are_averaged_over_blocks_and_vectors_stay():
    image = np.zeros((1, 1, 64, 64, 1), np.uint8)
    image[0, 0, 4:8, :4] = 255  # the block below the first one
    image[0, 0, 0, 0] = 255  # one of the 16 pixels of the first
    target, kind = coarse({"b": jnp.asarray(image), "a": jnp.asarray([[[0.5]]])})
    assert target.shape == (1, 1, 1 + GRID * GRID) and kind.tolist() == [0.0] + [1.0] * GRID * GRID
    assert float(target[0, 0, 0]) == 0.5
    np.testing.assert_allclose(target[0, 0, 1], 1 / 16, rtol=1e-6)
    np.testing.assert_allclose(target[0, 0, 1 + GRID], 1.0, rtol=1e-6)
    assert float(target.sum()) == 0.5 + 1 / 16 + 1.0


def records_of(mask, is_first):
    """As much of one row of Records as windows read."""
    none = jnp.zeros((1, len(mask)))
    first = jnp.asarray([is_first], bool)
    return Records({}, none[..., None], none, none, first > 1, first, jnp.asarray([mask], float))


def test_seen_recently_sums_frames_over_the_root_of_their_number():
    """y_t = Σ_{i<W} [t-i real, of t's episode] x_{t-i} / √W, W = 8; known from the eighth frame, or
    from an episode's first."""
    x = 2.0 ** np.arange(10)
    sums = np.cumsum(x)
    sums[8:] -= np.cumsum(x)[:2]
    got, known = seen_recently(jnp.asarray(x)[None, :, None], records_of([1] * 10, [0] * 10))
    np.testing.assert_allclose(got[0, :, 0], sums / 8**0.5, rtol=1e-6)
    assert known[0].tolist() == [0] * 7 + [1] * 3
    first = [0, 0, 1] + [0] * 7
    got, known = seen_recently(jnp.asarray(x)[None, :, None], records_of([1] * 10, first))
    np.testing.assert_allclose(got[0, 2:, 0], np.cumsum(x[2:]) / 8**0.5, rtol=1e-6)
    assert known[0].tolist() == [0] * 2 + [1] * 8
    mask = [1, 1, 1, 0] + [1] * 6
    got, _ = seen_recently(jnp.asarray(x)[None, :, None], records_of(mask, first))
    np.testing.assert_allclose(got[0, 2:, 0], np.cumsum((x * mask)[2:]) / 8**0.5, rtol=1e-6)


def test_frames_that_vary_independently_keep_their_deviation_in_the_sum():
    x = jax.random.normal(jax.random.key(0), (1, 4096, 1))
    y, known = seen_recently(x, records_of([1] * 4096, [0] * 4096))
    assert 0.85 < float(y[known > 0].std()) < 1.15


def nll_of(mean, x):
    """-log p(x | mean) of one float of a vector."""
    x = jnp.full((1, 1, 1), x)
    return coarse_nll(mean, x, jnp.zeros(1), image_std=9.0, vector_std=0.5)


def test_coarse_nll_equals_the_normal_density():
    """x = 2 around 1 with deviation 0.5: log 0.5 + ½log 2π + ½·2²."""
    value = nll_of(jnp.ones((1, 1, 1)), 2.0)
    expected = np.log(0.5) + 0.5 * np.log(2 * np.pi) + 2.0
    np.testing.assert_allclose(value, [[expected]], rtol=1e-5)


def test_its_gradient_reaches_the_means():
    grad = jax.grad(lambda m: nll_of(m, 3.0).sum())(jnp.zeros((1, 1, 1)))
    np.testing.assert_allclose(grad, [[[-12.0]]], rtol=1e-6)
