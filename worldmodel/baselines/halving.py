"""VTA's image networks: convolutions of one width throughout, each halving the edge.

    64 → 32 → 16 → 8 → 4 → 1;   48 → 24 → 12 → 6 → 1

The last kernel covers the whole remaining map, 7 pixels at most. Kim et al. 2019, from their code
at 32 pixels. DEVIATION(adr-28): RMS norm over channels where they use batch norm, so that a frame's
features depend on no other frame and evaluation needs no running means.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from worldmodel.convolutions import strided_conv, strided_conv_transpose
from worldmodel.networks import ConvKernel, activation
from worldmodel.precision import Linear, RMSNorm

KERNEL = 4
LAST = 7  # maximum edge, in pixels, of the last map


def edges(size: int) -> list[int]:
    """Edges, in pixels, of an image and of the map after each halving."""
    found = [size]
    while found[-1] > LAST:
        found.append(found[-1] // 2)
    return found


class HalvingEncoder(nnx.Module):
    """Image in [0, 1] to a vector of ``width``."""

    def __init__(self, size: int, channels: int, width: int, dtype: DTypeLike, rngs: nnx.Rngs):
        *between, last = edges(size)
        kernels = [KERNEL] * len(between) + [last]
        inputs = [channels] + [width] * len(between)
        shapes = [(k, k, a, width) for k, a in zip(kernels, inputs, strict=True)]
        self.layers = nnx.List(
            [ConvKernel(s, fan_in=s[0] * s[1] * s[2], rngs=rngs) for s in shapes]
        )
        self.norms = nnx.List([RMSNorm(width, dtype=dtype, rngs=rngs) for _ in shapes])
        self.width, self.dtype = width, dtype

    def __call__(self, x: Float[Array, "N S S C"]) -> Float[Array, "N F"]:
        x = x.astype(self.dtype)
        for index, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            if index < len(self.layers) - 1:
                x = jnp.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
            x = jax.nn.elu(norm(strided_conv(x, *layer())))
        return x.reshape(x.shape[0], -1).astype(jnp.float32)


class HalvingDecoder(nnx.Module):
    """Features to an image, in reverse; begins with a linear layer if the widths differ."""

    def __init__(
        self,
        inputs: int,
        size: int,
        channels: int,
        width: int,
        final: str,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        *between, last = edges(size)
        self.linear = Linear(inputs, width, dtype=dtype, rngs=rngs) if inputs != width else None
        kernels, outputs = [last] + [KERNEL] * len(between), [width] * len(between) + [channels]
        self.layers = nnx.List(
            [
                ConvKernel((k, k, width, b), fan_in=k * k * width // 4, rngs=rngs)
                for k, b in zip(kernels, outputs, strict=True)
            ]
        )
        self.norms = nnx.List([RMSNorm(width, dtype=dtype, rngs=rngs) for _ in between])
        self.final, self.dtype = final, dtype

    def __call__(self, x: Float[Array, "N F"]) -> Float[Array, "N S S C"]:
        x = x.astype(self.dtype)
        x = (x if self.linear is None else self.linear(x))[:, None, None, :]
        for index, layer in enumerate(self.layers):
            x = strided_conv_transpose(x, *layer())
            x = x if index == 0 else x[:, 1:-1, 1:-1]
            if index < len(self.norms):
                x = jax.nn.elu(self.norms[index](x))
        return activation(self.final)(x.astype(jnp.float32))
