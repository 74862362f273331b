"""A learned code of one interval's actions, which the top level reads in their place.

q(u | a_{t+1} … a_{t+K}) = N(mean, std²) depends on the actions alone and on no state, so the codes
of all ticks are computed at once outside the recurrence. Read next: ``clockwork.py``, which takes
such a code.
"""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from worldmodel.distributions import Gaussian, Stats
from worldmodel.networks import MLP


class ActionCode(nnx.Module):
    """Diagonal Gaussian over codes of ``latent.width`` floats, from chunks of ``chunk`` floats."""

    def __init__(
        self, chunk: int, latent: Gaussian, hidden: int, *, dtype: str, **kind: Any
    ) -> None:
        self.chunk, self.latent = chunk, latent
        self.mlp = MLP(chunk, hidden, sum(latent.outputs), dtype=jnp.dtype(dtype), **kind)

    def __call__(self, chunk: Float[Array, "*N W"]) -> Stats:
        """Stats [..., U] for the K actions of an interval, in order and flattened: W = K·A."""
        return self.latent.stats(*jnp.split(self.mlp(chunk), 2, axis=-1))

    def mean(self, chunk: Float[Array, "*N W"]) -> Float[Array, "*N U"]:
        """The mean code, which filtering reads; training samples a code instead."""
        return self.latent.mode(self(chunk))
