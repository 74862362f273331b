"""Where VTA's segments begin: posterior from frames, constrained prior, straight-through gradients.

Source: Kim, Ahn and Bengio 2019, and their code (github.com/taesupkim/vta, commit 4c23131). Read
next: ``vta.py``, the model.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from common import Count, Positive, Share, UserError, check_bounds
from worldmodel.precision import Linear, RMSNorm

COOLEST, HOTTEST, COOLING = 0.1, 1.0, 0.999  # temperature schedule. Their code.
CERTAIN = 13.8  # log-odds of a constrained prior: ±2 log(0.999 / 0.001). Their code.


@dataclass(frozen=True)
class VTAConfig:
    """Settings of VTA in addition to those shared with the other models. Defaults: its code."""

    max_length: Count = 8
    """l_max: frames after which a segment is all but certain to end, during training."""
    max_share: Share = 0.25
    """N_max / T: share of a sequence's frames that may begin segments, during training (5 of
    20)."""
    detector_layers: Count = 3
    """Hidden layers of the segment detector, each of which sees one more frame on either side."""
    anneal: Positive = 100.0
    """n₀: at update n, the temperature is 0.1 + 0.9 · 0.999^(n/n₀)."""


def check_settings(settings: VTAConfig) -> None:
    """Raise UserError on contradictory settings."""
    check_bounds(settings, "vta")
    length, share = settings.max_length, settings.max_share
    if length * share < 1:
        raise UserError(
            f"vta: expected segments that can fill a sequence, received at most {share:g} of its "
            f"frames to begin one, and at most {length} frames each; raise --vta.max-length or "
            "--vta.max-share"
        )


class Detector(nnx.Module):
    """Log-odds that a segment begins at each frame, from the surrounding frames: convolutions of
    width 3 over time, zero-padded at the ends."""

    def __init__(self, embed: int, layers: int, rngs: nnx.Rngs):
        self.layers = nnx.List([Linear(3 * embed, embed, rngs=rngs) for _ in range(layers)])
        self.norms = nnx.List([RMSNorm(embed, rngs=rngs) for _ in range(layers)])
        self.output = Linear(3 * embed, 1, rngs=rngs)

    def __call__(self, x: Float[Array, "B T E"]) -> Float[Array, "B T"]:
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = jax.nn.elu(norm(layer(about(x))))
        return self.output(about(x))[..., 0]


def about(x: Float[Array, "B T E"]) -> Float[Array, "B T E3"]:
    """Concatenate the frame before, the frame and the frame after; zeros beyond the ends."""
    padded = jnp.pad(x, [(0, 0), (1, 1), (0, 0)])
    return jnp.concatenate([padded[:, :-2], x, padded[:, 2:]], axis=-1)


def temperature(updates: Array, settings: VTAConfig) -> Array:
    """0.1 + 0.9 · 0.999^(n/n₀) at the n-th update, n from 1."""
    return COOLEST + (HOTTEST - COOLEST) * COOLING ** ((updates + 1.0) / settings.anneal)


def straight_through(odds: Array, noise: Array, temperature: Array | float) -> Array:
    """Bernoulli sample, 1 where log-odds + logistic noise > 0, else 0, with the gradient of
    σ((log-odds + noise) / temperature). Source: Jang et al. 2017; Maddison et al. 2017."""
    soft = jax.nn.sigmoid((odds + noise) / temperature)
    hard = (odds + noise > 0).astype(soft.dtype)
    return hard + (soft - jax.lax.stop_gradient(soft))


def held(
    odds: Float[Array, "B T"], begins: Float[Array, "B T"], length: int, count: int
) -> Float[Array, "B T"]:
    """Prior log-odds that a segment begins after each frame, constrained to at most ``count``
    segments and, with precedence, to segments of at most ``length`` frames."""
    hard = jax.lax.stop_gradient(begins) > 0.5
    time = jnp.broadcast_to(jnp.arange(hard.shape[1]), hard.shape)
    start = jax.lax.cummax(jnp.where(hard, time, 0), axis=1)
    odds = jnp.where(jnp.cumsum(hard, axis=1) >= count, -CERTAIN, odds)
    return jnp.where(time - start + 1 >= length, CERTAIN, odds)


def bernoulli_kl(q: Array, p: Array) -> Array:
    """KL[Bernoulli(σ(q)) ‖ Bernoulli(σ(p))] in nats, from log-odds."""
    on, off = jax.nn.log_sigmoid(q) - jax.nn.log_sigmoid(p), jax.nn.log_sigmoid(-q)
    return jax.nn.sigmoid(q) * on + jax.nn.sigmoid(-q) * (off - jax.nn.log_sigmoid(-p))
