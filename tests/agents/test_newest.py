"""The auxiliary decoder's targets and likelihood, by hand."""

import jax
import jax.numpy as jnp
import numpy as np

from agents.newest import GRID, coarse, newest_nll


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


def test_newest_nll_equals_the_normal_density():
    """x = 2 around 1 with deviation 0.5: log 0.5 + ½log 2π + ½·2²."""
    obs = {"a": jnp.asarray([[[2.0]]])}
    value = newest_nll(jnp.ones((1, 1, 1)), obs, image_std=9.0, vector_std=0.5)
    expected = np.log(0.5) + 0.5 * np.log(2 * np.pi) + 2.0
    np.testing.assert_allclose(value, [[expected]], rtol=1e-5)


def test_its_gradient_reaches_the_means():
    obs = {"a": jnp.asarray([[[3.0]]])}
    grad = jax.grad(lambda m: newest_nll(m, obs, 1.0, 1.0).sum())(jnp.zeros((1, 1, 1)))
    np.testing.assert_allclose(grad, [[[-3.0]]], rtol=1e-6)
