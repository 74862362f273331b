"""Heads on the top state: window reward, value (two-hot), continuation (Bernoulli). DreamerV3."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Float

from worldmodel.networks import MLP, symexp

BINS = 255
LIMIT = 12.0  # symlog units: values beyond symexp(12) = 162 754 are clipped


class TwoHot(nnx.Module):
    """Scalar regression as classification over bins evenly spaced in symlog units (DreamerV3).

    Initially 0 everywhere.
    """

    def __init__(self, inputs: int, hidden: int, *, dtype: str, **kind: Any) -> None:
        self.mlp = MLP(inputs, hidden, BINS, zero=True, dtype=jnp.dtype(dtype), **kind)

    def __call__(self, features: Float[Array, "*N F"]) -> Float[Array, "*N B"]:
        """Logits over the bins."""
        return self.mlp(features)


class Bernoulli(nnx.Module):
    """Probability as one logit; initially 1/2 everywhere."""

    def __init__(self, inputs: int, hidden: int, *, dtype: str, **kind: Any) -> None:
        self.mlp = MLP(inputs, hidden, 1, zero=True, dtype=jnp.dtype(dtype), **kind)

    def __call__(self, features: Float[Array, "*N F"]) -> Float[Array, "*N"]:
        """Logits."""
        return self.mlp(features)[..., 0]


def bins() -> Float[Array, " B"]:
    """Bin centres in the target's units, symexp(-LIMIT … LIMIT); symmetric, 0 in the middle."""
    upper = symexp(jnp.linspace(0.0, LIMIT, BINS // 2 + 1))
    return jnp.concatenate([-upper[:0:-1], upper])


def two_hot(x: Float[Array, "*N"]) -> Float[Array, "*N B"]:
    """Weights on the two bins around x, with mean x: unbiased if the target is random."""
    centres = bins()
    x = jnp.clip(x, centres[0], centres[-1])
    low = jnp.clip(jnp.searchsorted(centres, x, side="right") - 1, 0, BINS - 2)
    share = ((x - centres[low]) / (centres[low + 1] - centres[low]))[..., None]
    return (1 - share) * jax.nn.one_hot(low, BINS) + share * jax.nn.one_hot(low + 1, BINS)


def two_hot_mean(logits: Float[Array, "*N B"]) -> Float[Array, "*N"]:
    """Expected value Σ_b p_b bin_b in the target's units.

    Mirrored bins are paired, so that large ones cancel instead of rounding.
    """
    probs, half = jax.nn.softmax(logits), BINS // 2
    lean = probs[..., half + 1 :] - probs[..., :half][..., ::-1]
    return jnp.matmul(lean, bins()[half + 1 :], precision="highest")


def two_hot_loss(logits: Float[Array, "*N B"], target: Float[Array, "*N"]) -> Float[Array, "*N"]:
    """Cross-entropy to the two-hot target, nats."""
    return -jnp.sum(two_hot(target) * jax.nn.log_softmax(logits), axis=-1)


def bernoulli_loss(logits: Float[Array, "*N"], target: Float[Array, "*N"]) -> Float[Array, "*N"]:
    """Cross-entropy, nats."""
    return optax.sigmoid_binary_cross_entropy(logits, target)
