"""SVG-LP's image networks: DCGAN's, with skip connections from each encoder map to the decoder.

    64 → 32 → 16 → 8 → 4 → a vector, and back in reverse; d, 2d, 4d, 8d channels

Denton and Fergus 2018, from their code (github.com/edenton/svg). Edges follow ``halving.edges``, so
other sizes have more or fewer maps. DEVIATION(adr-28): RMS norm where they use batch norm.
"""

from itertools import pairwise

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array

from worldmodel.baselines.halving import KERNEL, edges
from worldmodel.convolutions import strided_conv, strided_conv_transpose
from worldmodel.networks import ConvKernel
from worldmodel.precision import RMSNorm


def widths(size: int, depth: int) -> list[int]:
    """Channels of the encoder's maps: ``depth``·(1, 2, 4, 8, 8, …)."""
    return [depth * min(2**n, 8) for n in range(len(edges(size)) - 1)]


class SkipEncoder(nnx.Module):
    """Images in [0, 1] to vectors of ``width`` in [-1, 1], and the maps on the way."""

    def __init__(
        self, size: int, channels: int, depth: int, width: int, dtype: DTypeLike, rngs: nnx.Rngs
    ):
        maps, last = widths(size, depth), edges(size)[-1]
        shapes = [(KERNEL, KERNEL, a, b) for a, b in pairwise((channels, *maps))]
        shapes.append((last, last, maps[-1], width))
        self.layers = nnx.List(
            [ConvKernel(s, fan_in=s[0] * s[1] * s[2], rngs=rngs) for s in shapes]
        )
        self.norms = nnx.List([RMSNorm(s[3], dtype=dtype, rngs=rngs) for s in shapes])
        self.dtype = dtype

    def __call__(self, x: Array) -> tuple[Array, tuple[Array, ...]]:
        """[N, S, S, C] to [N, G] and the maps, the largest first."""
        x, maps = x.astype(self.dtype), []
        for layer, norm in zip(list(self.layers)[:-1], list(self.norms)[:-1], strict=True):
            x = jnp.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
            x = jax.nn.leaky_relu(norm(strided_conv(x, *layer())), 0.2)
            maps.append(x)
        x = jnp.tanh(self.norms[-1](strided_conv(x, *self.layers[-1]())))
        return x.reshape(x.shape[0], -1).astype(jnp.float32), tuple(maps)


class SkipDecoder(nnx.Module):
    """Vectors of ``width`` and an encoder's maps to images in [0, 1]."""

    def __init__(
        self, size: int, channels: int, depth: int, width: int, dtype: DTypeLike, rngs: nnx.Rngs
    ):
        maps, last = widths(size, depth)[::-1], edges(size)[-1]
        shapes = [(last, last, width, maps[0])]
        shapes += [(KERNEL, KERNEL, 2 * a, b) for a, b in pairwise((*maps, channels))]
        self.layers = nnx.List(
            [ConvKernel(s, fan_in=max(1, s[0] * s[1] * s[2] // 4), rngs=rngs) for s in shapes]
        )
        self.norms = nnx.List([RMSNorm(s[3], dtype=dtype, rngs=rngs) for s in shapes[:-1]])
        self.dtype = dtype

    def __call__(self, x: Array, maps: tuple[Array, ...]) -> Array:
        """[N, G] and the maps [N, ...] to [N, S, S, C]."""
        x = strided_conv_transpose(x.astype(self.dtype)[:, None, None, :], *self.layers[0]())
        for index, skip in enumerate(reversed(maps)):
            x = jax.nn.leaky_relu(self.norms[index](x), 0.2)
            x = jnp.concatenate([x, skip.astype(x.dtype)], axis=-1)
            x = strided_conv_transpose(x, *self.layers[index + 1]())[:, 1:-1, 1:-1]
        return jax.nn.sigmoid(x.astype(jnp.float32))
