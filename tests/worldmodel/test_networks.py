"""Sizes of images, symlog, and names and shapes that are refused."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from common.images import SIZES
from worldmodel.convolutions import strided_conv, strided_conv_transpose
from worldmodel.networks import (
    ConvDecoder,
    ConvEncoder,
    activation,
    check_image,
    edges_in,
    kernels_out,
    symexp,
    symlog,
)


@pytest.mark.parametrize("size", SIZES)
def test_networks_follow_the_size_of_an_image(size: int) -> None:
    """On the way in 2 to 5 pixels are left along an edge, on the way out there are as many as
    there were, by one convolution more or less for twice or half the size."""
    encoder = nnx.eval_shape(lambda: ConvEncoder(size, 3, 2, jnp.float32, nnx.Rngs(0)))
    decoder = nnx.eval_shape(lambda: ConvDecoder(7, size, 3, 2, "tanh", jnp.float32, nnx.Rngs(0)))
    read = nnx.eval_shape(lambda m: m(jnp.zeros((5, size, size, 3))), encoder)
    drawn = nnx.eval_shape(lambda m: m(jnp.zeros((5, 7))), decoder)
    edge, layers = edges_in(size)[-1], len(edges_in(size)) - 1
    assert read.shape == (5, encoder.width) == (5, edge**2 * 2**layers) and 2 <= edge <= 5
    assert drawn.shape == (5, size, size, 3) and len(kernels_out(size)) - layers in (0, 1)


def test_how_each_size_is_reached() -> None:
    assert [edges_in(size) for size in (32, 48, 64, 96, 128)] == [
        [32, 15, 6, 2],
        [48, 23, 10, 4],
        [64, 31, 14, 6, 2],
        [96, 47, 22, 10, 4],
        [128, 63, 30, 14, 6, 2],
    ]
    assert [kernels_out(size) for size in (32, 48, 64, 96, 128)] == [
        [5, 6, 6],
        [3, 5, 6, 6],
        [5, 5, 6, 6],
        [3, 5, 5, 6, 6],
        [5, 5, 5, 6, 6],
    ]


def test_at_64_pixels_parameters_and_outputs_are_the_originals_bit_for_bit() -> None:
    """Kernels 4, 4, 4, 4 in and 5, 5, 6, 6 out, of channels C, d, 2d, 4d, 8d and 32d, 4d, 2d, d, C,
    written out; weights drawn in that order, by a quarter of the kernel on the way out."""
    encoder = ConvEncoder(64, 3, 2, jnp.float32, nnx.Rngs(0))
    decoder = ConvDecoder(7, 64, 3, 2, "sigmoid", jnp.float32, nnx.Rngs(0))
    rngs, x = nnx.Rngs(0), jax.random.uniform(jax.random.key(1), (2, 64, 64, 3))
    image = x
    for layer, (a, b) in zip(encoder.layers, pairwise((3, 2, 4, 8, 16)), strict=True):
        kernel = jax.random.normal(rngs.params(), (4, 4, a, b)) * (16 * a) ** -0.5
        np.testing.assert_array_equal(layer.kernel[...], kernel)
        x = jax.nn.leaky_relu(strided_conv(x, kernel, jnp.zeros(b)), 0.2)
    np.testing.assert_array_equal(encoder(image), x.reshape(2, 2 * 2 * 16))
    rngs, features = nnx.Rngs(0), x.reshape(2, -1)[:, :7]
    dense = nnx.Linear(7, 64, rngs=rngs)
    np.testing.assert_array_equal(decoder.dense.kernel[...], dense.kernel[...])
    y = decoder.dense(features)[:, None, None]
    layers = zip(decoder.layers, (5, 5, 6, 6), pairwise((64, 8, 4, 2, 3)), strict=True)
    for n, (layer, k, (a, b)) in enumerate(layers):
        kernel = jax.random.normal(rngs.params(), (k, k, a, b)) * (k * k * a // 4) ** -0.5
        np.testing.assert_array_equal(layer.kernel[...], kernel)
        y = strided_conv_transpose(y, kernel, jnp.zeros(b))
        y = jax.nn.sigmoid(y) if n == 3 else jax.nn.leaky_relu(y, 0.2)
    np.testing.assert_array_equal(decoder(features), y)


def test_symlog() -> None:
    x = jnp.array([-1000.0, -1.0, 0.0, 0.5, 3e4])
    assert symlog(jnp.array([np.e - 1]))[0] == pytest.approx(1.0)
    np.testing.assert_allclose(symexp(symlog(x)), x, rtol=1e-5)


def test_bad_names_and_shapes() -> None:
    with pytest.raises(ValueError, match="activation: expected one of"):
        activation("gelu")
    for shape in ((32, 64, 3), (50, 50, 3), (16, 16, 3), (144, 144, 3)):
        with pytest.raises(
            ValueError, match=r"'pov': .*32, 48, .*128 pixels, received \(.*--env.im"
        ):
            check_image("pov", shape)
