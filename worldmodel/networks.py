"""Feed-forward parts: dense layers, and the DCGAN-like image encoder and decoder.

Shapes follow the original CW-VAE code: kernel 4, stride 2, VALID on the way in (64→31→14→6→2);
kernels 5, 5, 6, 6, stride 2, VALID on the way out (1→5→13→30→64). How the convolutions are computed
stands in `convolutions.py`.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from common import UserError
from worldmodel.convolutions import strided_conv, strided_conv_transpose
from worldmodel.precision import Linear

ENCODER_KERNELS = (4, 4, 4, 4)
DECODER_KERNELS = (5, 5, 6, 6)
IMAGE_SIZE = 64  # pixels; what the kernels above fit


def symlog(x: Array) -> Array:
    """sign(x) log(1+|x|). Source: Hafner et al. 2023, eq. 9."""
    return jnp.sign(x) * jnp.log1p(jnp.abs(x))


def symexp(x: Array) -> Array:
    """sign(x) (exp|x| - 1), the inverse of ``symlog``."""
    return jnp.sign(x) * jnp.expm1(jnp.abs(x))


class Dense(nnx.Module):
    """Linear, optional RMS norm, activation. Parameters float32, products in ``dtype``."""

    def __init__(
        self, inputs: int, outputs: int, act: str, norm: bool, dtype: DTypeLike, rngs: nnx.Rngs
    ):
        self.linear = Linear(inputs, outputs, dtype=dtype, rngs=rngs)
        self.norm = nnx.RMSNorm(outputs, dtype=dtype, rngs=rngs) if norm else None
        self.act = act

    def __call__(self, x: Array) -> Array:
        return self.finish(self.linear(x))

    def finish(self, x: Array) -> Array:
        """Norm and activation of a pre-activation that was summed elsewhere."""
        return activation(self.act)(x if self.norm is None else self.norm(x))


class MLP(nnx.Module):
    """``layers`` dense layers of ``hidden`` units, then a linear output in float32.

    ``zero`` starts that output at 0.
    """

    def __init__(
        self,
        inputs: int,
        hidden: int,
        outputs: int,
        *,
        layers: int,
        act: str,
        norm: bool,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
        zero: bool = False,
    ):
        widths = (inputs, *([hidden] * layers))
        self.hidden = nnx.List(
            [Dense(a, b, act, norm, dtype, rngs) for a, b in zip(widths, widths[1:], strict=False)]
        )
        init = nnx.initializers.zeros_init() if zero else nnx.initializers.lecun_normal()
        self.output = Linear(widths[-1], outputs, kernel_init=init, dtype=jnp.float32, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        for layer in self.hidden:
            x = layer(x)
        return self.output(x.astype(jnp.float32))


class ConvEncoder(nnx.Module):
    """Image in [0, 1] to a vector: four convolutions of ``depth``·(1, 2, 4, 8) channels.

    Flattened in HWC order.
    """

    def __init__(self, channels: int, depth: int, dtype: DTypeLike, rngs: nnx.Rngs):
        widths = (channels, depth, 2 * depth, 4 * depth, 8 * depth)
        self.layers = nnx.List(
            [
                ConvKernel((k, k, a, b), fan_in=k * k * a, rngs=rngs)
                for k, a, b in zip(ENCODER_KERNELS, widths, widths[1:], strict=False)
            ]
        )
        self.width, self.dtype = 2 * 2 * 8 * depth, dtype

    def __call__(self, x: Float[Array, "N 64 64 C"]) -> Float[Array, "N F"]:
        x = x.astype(self.dtype)
        for layer in self.layers:
            x = jax.nn.leaky_relu(strided_conv(x, *layer()), 0.2)
        return x.reshape(x.shape[0], -1).astype(jnp.float32)


class ConvDecoder(nnx.Module):
    """Belief features to an image: dense to 1×1×32·depth, then four transposed convolutions."""

    def __init__(
        self, inputs: int, channels: int, depth: int, final: str, dtype: DTypeLike, rngs: nnx.Rngs
    ):
        widths = (32 * depth, 4 * depth, 2 * depth, depth, channels)
        self.dense = Linear(inputs, widths[0], dtype=dtype, rngs=rngs)
        self.layers = nnx.List(
            [
                ConvKernel((k, k, a, b), fan_in=k * k * a // 4, rngs=rngs)
                for k, a, b in zip(DECODER_KERNELS, widths, widths[1:], strict=False)
            ]
        )
        self.final, self.dtype = final, dtype

    def __call__(self, x: Float[Array, "N F"]) -> Float[Array, "N 64 64 C"]:
        x = self.dense(x.astype(self.dtype))[:, None, None, :]
        for layer in self.layers[:-1]:
            x = jax.nn.leaky_relu(strided_conv_transpose(x, *layer()), 0.2)
        x = strided_conv_transpose(x, *self.layers[-1]()).astype(jnp.float32)
        return activation(self.final)(x)


class ConvKernel(nnx.Module):
    """Kernel [k, k, in, out] and bias [out] of one convolution."""

    def __init__(self, shape: tuple[int, int, int, int], fan_in: int, rngs: nnx.Rngs):
        self.kernel = nnx.Param(jax.random.normal(rngs.params(), shape) * fan_in**-0.5)
        self.bias = nnx.Param(jnp.zeros(shape[-1]))

    def __call__(self) -> tuple[Array, Array]:
        """Both arrays, float32."""
        return self.kernel[...], self.bias[...]


def activation(name: str) -> Callable[[Array], Array]:
    """Activation by name: relu, silu, tanh, sigmoid, linear.

    Raises:
      UserError: on any other name.
    """
    table = {
        "relu": jax.nn.relu,
        "silu": jax.nn.silu,
        "tanh": jnp.tanh,
        "sigmoid": jax.nn.sigmoid,
        "linear": identity,
    }
    if name not in table:
        raise UserError(f"activation: expected one of {sorted(table)}, received {name!r}")
    return table[name]


def identity(x: Array) -> Array:
    """x."""
    return x


def check_image(name: str, shape: Sequence[int]) -> None:
    """Raises UserError unless an image observation is 64×64×channels."""
    if tuple(shape[:2]) != (IMAGE_SIZE, IMAGE_SIZE):
        raise UserError(
            f"observation {name!r}: expected an image of {IMAGE_SIZE}x{IMAGE_SIZE} pixels, "
            f"received {tuple(shape)}; set --env.image-size 64 (the environment wrapper resizes)"
        )
