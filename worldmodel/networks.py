"""Feed-forward parts: dense layers, and the DCGAN-like image encoder and decoder.

Shapes follow from the size of the image by a rule (``edges_in``, ``kernels_out``) that at 64 pixels
reproduces the original CW-VAE code: stride 2, VALID; kernel 4 on the way in (64→31→14→6→2),
kernels 5, 5, 6, 6 on the way out (1→5→13→30→64). The convolutions themselves are computed in
`convolutions.py`.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from common import UserError
from common.images import SIZES
from worldmodel.convolutions import strided_conv, strided_conv_transpose
from worldmodel.precision import Linear, RMSNorm

KERNEL_IN = 4
SMALL = 5  # maximum edge, in pixels, of the last map on the way in and the first on the way out


def symlog(x: Array) -> Array:
    """sign(x) log(1+|x|). Source: DreamerV3 (Hafner et al. 2023), symlog."""
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
        self.norm = RMSNorm(outputs, dtype=dtype, rngs=rngs) if norm else None
        self.act = act

    def __call__(self, x: Array) -> Array:
        return self.finish(self.linear(x))

    def finish(self, x: Array) -> Array:
        """Apply norm and activation to a pre-activation that was summed elsewhere."""
        return activation(self.act)(x if self.norm is None else self.norm(x))


class MLP(nnx.Module):
    """``layers`` dense layers of ``hidden`` units, then a linear output in float32.

    With ``zero``, the output starts at 0.
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


def edges_in(size: int) -> list[int]:
    """Edges, in pixels, of an image and of each map on the way in, down to one of 5 or fewer.

    32 → 15 → 6 → 2;  48 → 23 → 10 → 4;  64 → 31 → 14 → 6 → 2;  96 → 47 → 22 → 10 → 4
    """
    edges = [size]
    while edges[-1] > SMALL:
        edges.append((edges[-1] - KERNEL_IN) // 2 + 1)
    return edges


def kernels_out(size: int) -> list[int]:
    """Kernels of the transposed convolutions on the way out, from one pixel to an image: 6 for an
    output with an even edge, 5 for an odd one; the first makes the whole smallest map.

    1 → 5 → 14 → 32;  1 → 3 → 9 → 22 → 48;  1 → 5 → 13 → 30 → 64;  1 → 3 → 9 → 21 → 46 → 96
    """
    kernels: list[int] = []
    while size > SMALL:
        kernels.append(5 + (size + 1) % 2)
        size = (size + 2 - kernels[-1]) // 2
    return [size, *reversed(kernels)]


class ConvEncoder(nnx.Module):
    """Image in [0, 1] to a vector: convolutions of ``depth``·(1, 2, 4, …) channels (``edges_in``).

    Flattened in HWC order.
    """

    def __init__(self, size: int, channels: int, depth: int, dtype: DTypeLike, rngs: nnx.Rngs):
        *between, last = edges_in(size)
        widths = (channels, *(depth * 2**n for n in range(len(between))))
        shapes = [(KERNEL_IN, KERNEL_IN, a, b) for a, b in pairwise(widths)]
        self.layers = nnx.List([ConvKernel(x, fan_in=math.prod(x[:3]), rngs=rngs) for x in shapes])
        self.width, self.dtype = last**2 * widths[-1], dtype

    def __call__(self, x: Float[Array, "N S S C"]) -> Float[Array, "N F"]:
        x = x.astype(self.dtype)
        for layer in self.layers:
            x = jax.nn.leaky_relu(strided_conv(x, *layer()), 0.2)
        return x.reshape(x.shape[0], -1).astype(jnp.float32)


class ConvDecoder(nnx.Module):
    """Belief features to an image: dense to 1×1×32·depth, then transposed convolutions of
    ``depth``·(…, 4, 2, 1) channels, the last with the image's channels (``kernels_out``)."""

    def __init__(
        self,
        inputs: int,
        size: int,
        channels: int,
        depth: int,
        final: str,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        kernels = kernels_out(size)
        between = [depth * 2**n for n in reversed(range(len(kernels) - 1))]
        widths = (32 * depth, *between, channels)
        self.dense = Linear(inputs, widths[0], dtype=dtype, rngs=rngs)
        self.layers = nnx.List(
            [
                ConvKernel((k, k, a, b), fan_in=k * k * a // 4, rngs=rngs)
                for k, (a, b) in zip(kernels, pairwise(widths), strict=True)
            ]
        )
        self.final, self.dtype = final, dtype

    def __call__(self, x: Float[Array, "N F"]) -> Float[Array, "N S S C"]:
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
    """Activation by name: relu, silu, elu, tanh, sigmoid, linear.

    Raises:
      UserError: on any other name.
    """
    table = {
        "relu": jax.nn.relu,
        "silu": jax.nn.silu,
        "elu": jax.nn.elu,
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
    """Raise UserError unless an image observation is S×S×channels, S one of ``SIZES``."""
    height, width = shape[:2]
    if height != width or width not in SIZES:
        sizes = ", ".join(map(str, SIZES))
        raise UserError(
            f"observation {name!r}: expected an image as high as wide, of {sizes} pixels, received "
            f"{tuple(shape)}; environments and imports make it fit: --env.image-size, "
            "--data.image-size, python -m recordings FORMAT ... --size"
        )
