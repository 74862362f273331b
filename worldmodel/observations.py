"""Observations in and out: frames to embeddings, level 1's beliefs to means of observations.

Any dict of images [64, 64, C] and vectors [n]; there are no skip connections round the latents.
DESIGN §3.
"""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array

from worldmodel.config import ClockworkConfig, ObsShapes, make_latent
from worldmodel.networks import MLP, ConvDecoder, ConvEncoder, symlog


class Encoder(nnx.Module):
    """Frame embedding: every observation's features side by side, in the order of their names.

    Images are uint8, or floats in [0, 1]; vectors enter by symlog.
    """

    def __init__(self, config: ClockworkConfig, obs_shapes: ObsShapes, rngs: nnx.Rngs):
        dtype, width = jnp.dtype(config.dtype), 0
        parts: dict[str, ConvEncoder | MLP] = {}
        for name, shape in sorted(obs_shapes.items()):
            if len(shape) == 3:
                image = ConvEncoder(shape[-1], config.conv_depth, dtype, rngs)
                parts[name], width = image, width + image.width
            else:
                parts[name] = make_mlp(config, shape[0], config.hidden, layers=1, rngs=rngs)
                width += config.hidden
        self.parts, self.width = nnx.Dict(parts), width

    def __call__(self, obs: dict[str, Array]) -> Array:
        """[..., 64, 64, C] and [..., n] to [..., F].

        Raises:
          ValueError: if an observation is missing.
        """
        missing = sorted(set(self.parts) - set(obs))
        if missing:
            raise ValueError(
                f"obs: expected {sorted(self.parts)}, received {sorted(obs)}; add {missing}"
            )
        return jnp.concatenate([self._part(name, obs[name]) for name in sorted(self.parts)], -1)

    def _part(self, name: str, x: Array) -> Array:
        part = self.parts[name]
        if isinstance(part, ConvEncoder):
            return part(pixels(x).reshape(-1, *x.shape[-3:])).reshape(*x.shape[:-3], -1)
        return part(symlog(x))


class Decoder(nnx.Module):
    """Means of every observation from [h, z] of level 1."""

    def __init__(self, config: ClockworkConfig, obs_shapes: ObsShapes, rngs: nnx.Rngs):
        dtype = jnp.dtype(config.dtype)
        inputs = config.deter + make_latent(config).width
        parts: dict[str, ConvDecoder | MLP] = {}
        for name, shape in sorted(obs_shapes.items()):
            if len(shape) == 3:
                parts[name] = ConvDecoder(
                    inputs, shape[-1], config.conv_depth, config.image_final, dtype, rngs
                )
            else:
                parts[name] = make_mlp(config, inputs, shape[0], layers=2, rngs=rngs)
        self.parts = nnx.Dict(parts)

    def __call__(self, features: Array) -> dict[str, Array]:
        """[..., D+S] to images [..., 64, 64, C] and vectors [..., n] in symlog units."""
        return {name: self._part(name, features) for name in sorted(self.parts)}

    def _part(self, name: str, features: Array) -> Array:
        part = self.parts[name]
        if isinstance(part, ConvDecoder):
            images = part(features.reshape(-1, features.shape[-1]))
            return images.reshape(*features.shape[:-1], *images.shape[1:])
        return part(features)


def pixels(x: Array) -> Array:
    """Images as floats in [0, 1]."""
    return x.astype(jnp.float32) / 255 if x.dtype == jnp.uint8 else x


def make_mlp(
    config: ClockworkConfig,
    inputs: int,
    outputs: int,
    *,
    layers: int,
    rngs: nnx.Rngs,
    hidden: int = 0,
) -> MLP:
    """An MLP in the style of ``config``; ``hidden`` 0 takes its width too."""
    return MLP(
        inputs,
        hidden or config.hidden,
        outputs,
        layers=layers,
        act=config.act,
        norm=config.norm,
        dtype=jnp.dtype(config.dtype),
        rngs=rngs,
    )
