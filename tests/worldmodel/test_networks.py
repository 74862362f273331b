"""Convolutions as matrix products agree with JAX's own, values and gradients; and small parts."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from worldmodel.networks import (
    ConvDecoder,
    ConvEncoder,
    activation,
    check_image,
    strided_conv,
    strided_conv_transpose,
    symexp,
    symlog,
)

AXES = ("NHWC", "HWIO", "NHWC")
Conv = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


def library_conv(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    y = jax.lax.conv_general_dilated(x, kernel, (2, 2), "VALID", dimension_numbers=AXES)
    return y + bias.reshape(1, 1, 1, -1)


def library_conv_transpose(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    flipped = kernel[::-1, ::-1]  # the library correlates
    y = jax.lax.conv_transpose(x, flipped, (2, 2), "VALID", dimension_numbers=AXES)
    return y + bias.reshape(1, 1, 1, -1)


@pytest.mark.parametrize(
    ("ours", "library", "size", "kernel"),
    [
        (strided_conv, library_conv, 14, 4),
        (strided_conv, library_conv, 31, 4),
        (strided_conv, library_conv, 10, 2),
        (strided_conv_transpose, library_conv_transpose, 1, 5),
        (strided_conv_transpose, library_conv_transpose, 5, 5),
        (strided_conv_transpose, library_conv_transpose, 13, 6),
    ],
)
def test_convolutions(ours: Conv, library: Conv, size: int, kernel: int) -> None:
    keys = jax.random.split(jax.random.key(size), 3)
    arrays = (
        jax.random.normal(keys[0], (2, size, size, 3)),
        jax.random.normal(keys[1], (kernel, kernel, 3, 4)),
        jax.random.normal(keys[2], (4,)),
    )

    def value_and_grads(conv: Conv) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        def total(*arrays: jax.Array) -> tuple[jax.Array, jax.Array]:
            y = conv(*arrays)
            return jnp.sum(jnp.sin(y)), y

        grads, y = jax.jit(jax.grad(total, argnums=(0, 1, 2), has_aux=True))(*arrays)
        return y, grads

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5 * float(jnp.abs(b).max())),
        value_and_grads(ours),
        value_and_grads(library),
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
