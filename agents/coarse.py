"""Auxiliary decoders at the top: what a tick has seen, coarsely, from the top state alone.

The paper decodes from level 1 only, so what an agent must know about the present reaches the top
level only through rewards that depend on it, which is not enough (docs/adr/0005). What was seen
shortly before reaches the top even less, and a cue seen then is forgotten (docs/adr/0018). The
decoders train the top's beliefs and are used for nothing else. The targets are the same for any
strides.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from worldmodel import clock
from worldmodel.networks import MLP
from worldmodel.objective import normal_log_prob
from worldmodel.observations import ObsShapes, pixels
from worldmodel.records import Records

GRID = 16  # an image's target is its block means on a grid of GRID by GRID
RECENT = 8  # environment steps whose sum is decoded, whatever the clock


def coarse_width(obs_shapes: ObsShapes) -> int:
    """Floats of a coarse observation."""
    return sum(GRID * GRID * s[-1] if len(s) == 3 else s[0] for s in obs_shapes.values())


class CoarseDecoder(nnx.Module):
    """Means of coarse observations from the top's [h, z]."""

    def __init__(
        self, inputs: int, hidden: int, obs_shapes: ObsShapes, *, dtype: str, **kind: Any
    ) -> None:
        self.mlp = MLP(inputs, hidden, coarse_width(obs_shapes), dtype=jnp.dtype(dtype), **kind)

    def __call__(self, features: Float[Array, "*N F"]) -> Float[Array, "*N O"]:
        """Means in the units of ``coarse``."""
        return self.mlp(features)


def coarse(obs: dict[str, Array]) -> tuple[Float[Array, "B T O"], Float[Array, " O"]]:
    """Targets (vectors unchanged, images by blocks), and 1 for each that is from an image.

    Args:
      obs: [B, T, ...] in ``ClockworkVAE.units``; image edges are multiples of GRID pixels.
    """
    targets, kinds = [], []
    for name in sorted(obs):
        x = obs[name]
        if x.ndim == 5:
            blocks = pixels(x).reshape(*x.shape[:2], GRID, x.shape[2] // GRID, GRID, -1, x.shape[4])
            x = blocks.mean((3, 5)).reshape(*x.shape[:2], -1)
            kinds.append(jnp.ones(x.shape[-1]))
        else:
            kinds.append(jnp.zeros(x.shape[-1]))
        targets.append(x)
    return jnp.concatenate(targets, axis=-1), jnp.concatenate(kinds)


def seen_recently(
    target: Float[Array, "B T O"], records: Records
) -> tuple[Float[Array, "B T O"], Float[Array, "B T"]]:
    """Sum of what was seen in the last environment steps, equally weighted, and 1 where known.

    y_t = Σ_{i=0..W-1} [t-i real, of t's episode] x_{t-i} / √W,   W = RECENT

    Because of √W, y has the deviation of a single frame if frames vary independently. It is known
    where the sequence contains all W frames or the episode's first.
    """
    real = jnp.where(records.mask[..., None] > 0, target, 0.0)
    segment = jax.vmap(clock.segments)(records.is_first)
    total = jax.vmap(clock.window_sum, (0, 0, None))(real, segment, RECENT) / RECENT**0.5
    known = (segment > 0) | (jnp.arange(segment.shape[1])[None] >= RECENT - 1)
    return total, known.astype(jnp.float32)


def coarse_nll(
    means: Float[Array, "B T O"],
    target: Float[Array, "B T O"],
    image: Float[Array, " O"],
    image_std: float,
    vector_std: float,
) -> Float[Array, "B T"]:
    """-log p(target | top state at t), nats, summed over O."""
    std = jnp.where(image > 0, image_std, vector_std).reshape(1, 1, -1)
    nll = jnp.log(std) - normal_log_prob(target / std, means / std, 1.0)
    return jnp.sum(nll, axis=-1)
