"""Latent distributions: diagonal Gaussian (CW-VAE §2) and categorical (DreamerV2/V3).

A distribution is a static object; its parameters are passed as ``Stats``, a dict of arrays.
Sampling takes explicit noise, so that the online filter and the training scan can be given the same
noise.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

Stats = dict[str, Array]

UNIMIX = 0.01  # share of the uniform in every choice and categorical. Source: Hafner et al. 2023


@dataclass(frozen=True)
class Gaussian:
    """Diagonal Gaussian. Stats: mean [..., S], std [..., S]."""

    size: int
    min_std: float

    @property
    def width(self) -> int:
        """S: floats of one sample."""
        return self.size

    @property
    def outputs(self) -> tuple[int, ...]:
        """Widths of the output layers that feed ``stats``."""
        return (self.size, self.size)

    def stats(self, mean: Float[Array, "*N S"], raw_std: Float[Array, "*N S"]) -> Stats:
        """std = softplus(raw) + min_std."""
        return {"mean": mean, "std": jax.nn.softplus(raw_std) + self.min_std}

    def noise(self, key: PRNGKeyArray, shape: tuple[int, ...]) -> Array:
        """Standard normal, [*shape, S]."""
        return jax.random.normal(key, (*shape, self.size))

    def sample(self, stats: Stats, noise: Array) -> Array:
        """z = mean + std·noise."""
        return stats["mean"] + stats["std"] * noise

    def mode(self, stats: Stats) -> Array:
        """The mean."""
        return stats["mean"]

    def kl(self, q: Stats, p: Stats) -> Array:
        """KL[q‖p] in nats, summed over S.

        KL = Σ log(σ_p/σ_q) + (σ_q² + (μ_q-μ_p)²) / (2σ_p²) - 1/2
        """
        ratio = q["std"] / p["std"]
        gap = (q["mean"] - p["mean"]) / p["std"]
        return jnp.sum(0.5 * (ratio**2 + gap**2 - 1.0) - jnp.log(ratio), axis=-1)

    def entropy(self, p: Stats) -> Array:
        """Differential entropy in nats, Σ ½ log(2πe σ²)."""
        return jnp.sum(0.5 * jnp.log(2 * jnp.pi * jnp.e) + jnp.log(p["std"]), axis=-1)


@dataclass(frozen=True)
class Categorical:
    """``groups`` one-hot vectors over ``classes``, mixed with a share ``unimix`` of the uniform.

    Stats: logits [..., groups, classes], normalised. Source: Hafner et al. 2023 (DreamerV3),
    §"World model learning".
    """

    groups: int
    classes: int
    unimix: float

    @property
    def width(self) -> int:
        """S: floats of one sample."""
        return self.groups * self.classes

    @property
    def outputs(self) -> tuple[int, ...]:
        """Widths of the output layers that feed ``stats``."""
        return (self.width,)

    def stats(self, raw: Float[Array, "*N S"]) -> Stats:
        """p = (1-unimix) softmax(raw) + unimix/classes."""
        raw = raw.reshape(*raw.shape[:-1], self.groups, self.classes)
        probs = (1 - self.unimix) * jax.nn.softmax(raw) + self.unimix / self.classes
        return {"logits": jnp.log(probs)}

    def noise(self, key: PRNGKeyArray, shape: tuple[int, ...]) -> Array:
        """Gumbel noise, [*shape, groups, classes]."""
        return jax.random.gumbel(key, (*shape, self.groups, self.classes))

    def sample(self, stats: Stats, noise: Array) -> Array:
        """One-hot of argmax(logits + noise), with the gradient of the probabilities."""
        return self._straight_through(stats["logits"], stats["logits"] + noise)

    def mode(self, stats: Stats) -> Array:
        """One-hot of the likeliest class, straight-through."""
        return self._straight_through(stats["logits"], stats["logits"])

    def _straight_through(self, logits: Array, scores: Array) -> Array:
        onehot = jax.nn.one_hot(jnp.argmax(scores, axis=-1), self.classes)
        probs = jnp.exp(logits)
        z = onehot + (probs - jax.lax.stop_gradient(probs))  # exactly one-hot: the rest is 0
        return z.reshape(*z.shape[:-2], self.width)

    def kl(self, q: Stats, p: Stats) -> Array:
        """KL[q‖p] in nats, Σ_groups Σ_classes q (log q - log p)."""
        return jnp.sum(jnp.exp(q["logits"]) * (q["logits"] - p["logits"]), axis=(-2, -1))

    def entropy(self, p: Stats) -> Array:
        """Entropy in nats, summed over groups."""
        return -jnp.sum(jnp.exp(p["logits"]) * p["logits"], axis=(-2, -1))


Latent = Gaussian | Categorical
