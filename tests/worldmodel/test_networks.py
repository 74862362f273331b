"""Sizes of images, symlog, and names and shapes that are refused."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from worldmodel.networks import (
    ConvDecoder,
    ConvEncoder,
    activation,
    check_image,
    symexp,
    symlog,
)


def test_image_sizes() -> None:
    """64 → 31 → 14 → 6 → 2 on the way in, 1 → 5 → 13 → 30 → 64 on the way out."""
    encoder = ConvEncoder(3, 2, jnp.float32, nnx.Rngs(0))
    assert encoder(jnp.zeros((5, 64, 64, 3))).shape == (5, encoder.width) == (5, 64)
    decoder = ConvDecoder(7, 3, 2, "sigmoid", jnp.float32, nnx.Rngs(0))
    assert decoder(jnp.zeros((5, 7))).shape == (5, 64, 64, 3)


def test_symlog() -> None:
    x = jnp.array([-1000.0, -1.0, 0.0, 0.5, 3e4])
    assert symlog(jnp.array([np.e - 1]))[0] == pytest.approx(1.0)
    np.testing.assert_allclose(symexp(symlog(x)), x, rtol=1e-5)


def test_bad_names_and_shapes() -> None:
    with pytest.raises(ValueError, match="activation: expected one of"):
        activation("gelu")
    with pytest.raises(ValueError, match="expected an image of 64x64 pixels, received"):
        check_image("pov", (32, 64, 3))
