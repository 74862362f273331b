"""Observations in and out: frames to embeddings, level 1's beliefs to means of observations.

Any dict of images [S, S, C] and vectors [n]; there are no skip connections round the latents.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from common import UserError
from worldmodel.config import ClockworkConfig, ObsShapes, make_latent
from worldmodel.networks import MLP, ConvDecoder, ConvEncoder, symlog

SMALLEST_SCALE = 0.1  # symlog units: what has hardly moved yet is not blown up when it does
SCALE_MEMORY = 1000  # batches over which the scale is estimated


class Scale(nnx.Module):
    """Mean and deviation of every vector observation, per dimension, in symlog units.

    Parameters that no gradient reaches: ``estimate_scale`` moves them at every update.
    docs/adr/0014.
    """

    def __init__(self, obs_shapes: ObsShapes):
        sizes = {name: shape for name, shape in obs_shapes.items() if len(shape) == 1}
        self.batches = nnx.Param(jnp.zeros(()))
        self.mean = nnx.Dict({name: nnx.Param(jnp.zeros(n)) for name, n in sizes.items()})
        self.square = nnx.Dict({name: nnx.Param(jnp.ones(n)) for name, n in sizes.items()})

    def moments(self, name: str, ndim: int = 1) -> tuple[Float[Array, "... n"], ...]:
        """Mean μ and deviation σ = max(√(E[x²] - μ²), 0.1), without gradient.

        Args:
          ndim: axes that they shall have, the last of n; those before are of 1.
        """
        shape = (*[1] * (ndim - 1), -1)
        parts = (self.mean[name][...], self.square[name][...])
        mean, square = (jax.lax.stop_gradient(x).reshape(shape) for x in parts)
        return mean, jnp.sqrt(jnp.maximum(square - mean**2, SMALLEST_SCALE**2))


def estimate_scale(model: Any, obs: dict[str, Array], mask: Float[Array, "B T"]) -> Any:
    """A model's parameters with those of its ``Scale``, if it has one, moved towards a batch's.

    m' = m + max(1/(n+1), 1/1000) (m_batch - m),   n batches before: at first their plain mean.

    Args:
      model: parameters of a ``ClockworkVAE``, a nested dict.
      obs: [B, T, ...].
      mask: 1 real, 0 padding, which does not count.
    """
    if "scale" not in model:
        return model
    scale = model["scale"]
    real, total = mask[..., None] > 0, jnp.maximum(jnp.sum(mask), 1.0)
    weight = jnp.maximum(1.0 / (scale["batches"] + 1.0), 1.0 / SCALE_MEMORY)
    weight = jnp.where(jnp.sum(mask) > 0, weight, 0.0)

    def moved(kept: dict[str, Array], power: int) -> dict[str, Array]:
        powers = {name: symlog(obs[name]) ** power for name in kept}
        means = {k: jnp.sum(jnp.where(real, x, 0.0), (0, 1)) / total for k, x in powers.items()}
        return {name: m + weight * (means[name] - m) for name, m in kept.items()}

    mean, square = moved(scale["mean"], 1), moved(scale["square"], 2)
    batches = scale["batches"] + (weight > 0)
    return {**model, "scale": {"batches": batches, "mean": mean, "square": square}}


class Encoder(nnx.Module):
    """Frame embedding: every observation's features side by side, in the order of their names.

    Images are uint8, or floats in [0, 1]; vectors as ``ClockworkVAE.units`` gives them.
    """

    def __init__(self, config: ClockworkConfig, obs_shapes: ObsShapes, rngs: nnx.Rngs):
        dtype, width = jnp.dtype(config.dtype), 0
        parts: dict[str, ConvEncoder | MLP] = {}
        for name, shape in sorted(obs_shapes.items()):
            if len(shape) == 3:
                image = ConvEncoder(*shape[1:], config.conv_depth, dtype, rngs)
                parts[name], width = image, width + image.width
            else:
                parts[name] = make_mlp(config, shape[0], config.hidden, layers=1, rngs=rngs)
                width += config.hidden
        self.parts, self.width = nnx.Dict(parts), width

    def __call__(self, obs: dict[str, Array]) -> Array:
        """[..., S, S, C] and [..., n] to [..., F].

        Raises:
          UserError: if an observation is missing.
        """
        missing = sorted(set(self.parts) - set(obs))
        if missing:
            raise UserError(
                f"obs: expected {sorted(self.parts)}, received {sorted(obs)}; add {missing}"
            )
        return jnp.concatenate([self._part(name, obs[name]) for name in sorted(self.parts)], -1)

    def _part(self, name: str, x: Array) -> Array:
        part = self.parts[name]
        if isinstance(part, ConvEncoder):
            return part(pixels(x).reshape(-1, *x.shape[-3:])).reshape(*x.shape[:-3], -1)
        return part(x)


class Decoder(nnx.Module):
    """Means of every observation from [h, z] of level 1."""

    def __init__(self, config: ClockworkConfig, obs_shapes: ObsShapes, rngs: nnx.Rngs):
        dtype = jnp.dtype(config.dtype)
        inputs = config.deter + make_latent(config).width
        parts: dict[str, ConvDecoder | MLP] = {}
        for name, shape in sorted(obs_shapes.items()):
            if len(shape) == 3:
                final = config.networks.image_final
                image = ConvDecoder(inputs, *shape[1:], config.conv_depth, final, dtype, rngs)
                parts[name] = image
            else:
                parts[name] = make_mlp(config, inputs, shape[0], layers=2, rngs=rngs)
        self.parts = nnx.Dict(parts)

    def __call__(self, features: Array) -> dict[str, Array]:
        """[..., D+S] to images [..., S, S, C] and vectors [..., n], in ``ClockworkVAE.units``."""
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
        act=config.networks.act,
        norm=config.networks.norm,
        dtype=jnp.dtype(config.dtype),
        rngs=rngs,
    )
