"""Observations in and out: frames to embeddings, level 1's beliefs to means of observations.

Observations are any dict of images [S, S, C] and vectors [n]; no skip connection bypasses the
latents.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from common import UserError
from worldmodel.config import ClockworkConfig, ObsShapes, check_config
from worldmodel.networks import MLP, ConvDecoder, ConvEncoder, symexp, symlog

SMALLEST_SCALE = 0.1  # symlog units: a dimension that has hardly moved is not blown up once it does
SCALE_MEMORY = 1000  # batches over which the scale is estimated


class Scale(nnx.Module):
    """Mean and deviation of every vector observation, per dimension, in symlog units.

    These are parameters that get no gradient: ``estimate_scale`` moves them at every update.
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
          ndim: number of axes of the result: the last of size n, those before it of size 1.
        """
        shape = (*[1] * (ndim - 1), -1)
        parts = (self.mean[name][...], self.square[name][...])
        mean, square = (jax.lax.stop_gradient(x).reshape(shape) for x in parts)
        return mean, jnp.sqrt(jnp.maximum(square - mean**2, SMALLEST_SCALE**2))


def estimate_scale(model: Any, obs: dict[str, Array], mask: Float[Array, "B T"]) -> Any:
    """A model's parameters with those of its ``Scale``, if any, moved towards a batch's moments.

    m' = m + max(1/(n+1), 1/1000) (m_batch - m),   n batches before: at first a plain mean.

    Args:
      model: parameters of an ``Observing`` model, a nested dict.
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
    """Frame embedding: the features of all observations, concatenated in the order of their names.

    Images are uint8 or floats in [0, 1]; vectors are in ``Observing.units``. ``image`` makes the
    network for an image from (pixels along an edge, channels); the network has a ``width``.
    """

    def __init__(
        self,
        config: ClockworkConfig,
        obs_shapes: ObsShapes,
        rngs: nnx.Rngs,
        image: Callable[[int, int], Any] | None = None,
    ):
        dtype, width = jnp.dtype(config.dtype), 0

        def convolutions(size: int, channels: int) -> ConvEncoder:
            return ConvEncoder(size, channels, config.conv_depth, dtype, rngs)

        parts: dict[str, Any] = {}
        for name, shape in sorted(obs_shapes.items()):
            if len(shape) == 3:
                parts[name] = (image or convolutions)(*shape[1:])
                width += parts[name].width
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
        if not isinstance(part, MLP):
            return part(pixels(x).reshape(-1, *x.shape[-3:])).reshape(*x.shape[:-3], -1)
        return part(x)


class Decoder(nnx.Module):
    """Means of observations from one frame's features, ``features`` floats; ``image`` as in
    ``Encoder``."""

    def __init__(
        self,
        config: ClockworkConfig,
        obs_shapes: ObsShapes,
        features: int,
        rngs: nnx.Rngs,
        image: Callable[[int, int], Any] | None = None,
    ):
        dtype, final = jnp.dtype(config.dtype), config.networks.image_final

        def convolutions(size: int, channels: int) -> ConvDecoder:
            return ConvDecoder(features, size, channels, config.conv_depth, final, dtype, rngs)

        parts: dict[str, Any] = {}
        for name, shape in sorted(obs_shapes.items()):
            if len(shape) == 3:
                parts[name] = (image or convolutions)(*shape[1:])
            else:
                parts[name] = make_mlp(config, features, shape[0], layers=2, rngs=rngs)
        self.parts = nnx.Dict(parts)

    def __call__(self, features: Array) -> dict[str, Array]:
        """[..., F] to images [..., S, S, C] and vectors [..., n], in ``Observing.units``."""
        return {name: self._part(name, features) for name in sorted(self.parts)}

    def _part(self, name: str, features: Array) -> Array:
        part = self.parts[name]
        if not isinstance(part, MLP):
            images = part(features.reshape(-1, features.shape[-1]))
            return images.reshape(*features.shape[:-1], *images.shape[1:])
        return part(features)


class Observing(nnx.Module):
    """Base class of world models: how they read observations and predict them.

    A subclass first calls ``observes``, then makes its encoder and its decoder.
    """

    config: ClockworkConfig
    predicted: tuple[str, ...]  # observations that are decoded; the others are only read
    vectors: tuple[str, ...]
    scale: Scale | None
    encoder: Encoder
    decoder: Decoder

    def observes(
        self,
        config: ClockworkConfig,
        obs_shapes: ObsShapes,
        action_width: int = 0,
        predicted: Sequence[str] | None = None,
    ) -> None:
        """Check the settings and store what is observed and what is ``predicted`` (None: all).

        Raises:
          UserError: on settings that cannot be built.
        """
        self.predicted = tuple(obs_shapes if predicted is None else predicted)
        check_config(config, obs_shapes, action_width, self.predicted)
        self.config = config
        self.vectors = tuple(name for name, shape in obs_shapes.items() if len(shape) == 1)
        self.scale = Scale(obs_shapes) if config.scale_vectors and self.vectors else None

    @property
    @abstractmethod
    def features(self) -> int:
        """Floats that ``decode`` reads."""

    def shown(self, obs_shapes: ObsShapes) -> ObsShapes:
        """Shapes of the observations that are ``predicted``."""
        return {name: obs_shapes[name] for name in self.predicted}

    def units(self, obs: dict[str, Array]) -> dict[str, Array]:
        """Observations as the model reads and predicts them: images unchanged, vectors x [..., n]
        as symlog x or, with ``scale_vectors``, as (symlog x - μ) / σ of every dimension."""
        result = dict(obs)
        for name in set(self.vectors) & obs.keys():
            result[name] = symlog(obs[name])
            if self.scale is not None:
                mean, std = self.scale.moments(name, result[name].ndim)
                result[name] = (result[name] - mean) / std
        return result

    def vector_std(self, name: str, ndim: int) -> float | Array:
        """Deviation of a vector's likelihood in symlog units: `vector_std` or, with
        ``scale_vectors``, `vector_std`·σ of every dimension, with ``ndim`` axes."""
        base = self.config.vector_std
        return base if self.scale is None else base * self.scale.moments(name, ndim)[1]

    def decode(self, features: Float[Array, "*N F"]) -> dict[str, Array]:
        """Means of the ``predicted`` observations: images in [0, 1], vectors in symlog units, even
        with ``scale_vectors``. ``to_observations`` converts them to the units of observations.

        Raises:
          UserError: if ``features`` have another width.
        """
        if features.shape[-1] != self.features:
            raise UserError(
                f"decode: expected features of {self.features} floats, received "
                f"{features.shape[-1]}; give those of level 1"
            )
        means = self.decoder(features)
        if self.scale is None:
            return means
        vectors = [name for name in self.vectors if name in means]
        scaled = {name: self.scale.moments(name, features.ndim) for name in vectors}
        return means | {name: mean + std * means[name] for name, (mean, std) in scaled.items()}

    def to_observations(self, means: dict[str, Array]) -> dict[str, Array]:
        """Convert ``decode``'s output to observations: images uint8, vectors in their own units."""
        return {
            name: symexp(x)
            if name in self.vectors
            else jnp.round(jnp.clip(x, 0, 1) * 255).astype(jnp.uint8)
            for name, x in means.items()
        }


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
    """An MLP in the style of ``config``; ``hidden`` 0 takes its width as well."""
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
