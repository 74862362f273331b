"""The world model's objective. CW-VAE eq. 5; KL balance and free nats from DreamerV2/V3.

``elbo``:      -[Σ_t log p(x_t | s¹_t) - Σ_l Σ_{ticks of l} KL[q ‖ p]] over the whole batch,
               divided by its real frames; for a level at all phases, the mean over its chains.
``balanced``:  mean over real steps of -log p(x_t) + Σ_l mean over level l's real ticks of
               0.5 max(free, KL[sg(q) ‖ p]) + 0.1 max(free, KL[q ‖ sg(p)]).

Read next: ``learner.py``, the jitted update that minimises it.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from common import NonNegative
from worldmodel import clock
from worldmodel.clockwork import ClockworkVAE
from worldmodel.level import Belief
from worldmodel.networks import symlog
from worldmodel.observations import Observing, pixels
from worldmodel.records import Records

Metrics = dict[str, Array]

DYN = 0.5  # weight of KL[sg(q) ‖ p], which trains the prior. Source: Hafner et al. 2023
REP = 0.1  # weight of KL[q ‖ sg(p)], which trains the posterior. Source: the same


@dataclass(frozen=True)
class ObjectiveConfig:
    """Settings of the objective."""

    kl: Literal["balanced", "elbo"] = "balanced"
    """KL term: `balanced` for agents (DreamerV3), `elbo` as in the paper (CW-VAE eq. 5)."""
    free_nats: NonNegative = 1.0
    """Nats per tick below which the KL costs nothing; `balanced` only."""


def normal_log_prob(x: Array, mean: Array, std: float | Array) -> Array:
    """log N(x; mean, std²), elementwise, constants included."""
    return -0.5 * ((x - mean) / std) ** 2 - jnp.log(std) - 0.5 * jnp.log(2 * jnp.pi)


def log_likelihood(
    model: Observing, obs: dict[str, Array], means: dict[str, Array]
) -> dict[str, Array]:
    """log p(x_t | s¹_t) per observation, summed over its own dimensions: [B, T] nats."""
    result = {}
    for name, mean in means.items():
        image = mean.ndim == 5
        target = pixels(obs[name]) if image else symlog(obs[name])
        std = model.config.image_std if image else model.vector_std(name, mean.ndim)
        result[name] = jnp.sum(normal_log_prob(target, mean, std), axis=tuple(range(2, mean.ndim)))
    return result


def tick_masks(model: ClockworkVAE, records: Records) -> tuple[Float[Array, "B n"], ...]:
    """Weights of each level's ticks, in the layout of ``observe`` (``clock.tick_mask``)."""
    masks = []
    for index, stride in enumerate(model.strides):
        mask = records.mask
        if model.config.window == "causal":  # lookahead: ticks after a terminal contain no frame
            count = partial(clock.tick_mask, stride=stride)
            mask = jax.vmap(count)(mask, records.terminal, records.is_first)
        masks.append(mask[:, model.lead :: model.alignment(index).every])
    return tuple(masks)


def masked_sum(x: Array, mask: Array) -> Array:
    """Sum of ``x·mask``; ``x`` may be anything, even nan, where ``mask`` is 0."""
    return jnp.sum(jnp.where(mask > 0, x * mask, 0.0))


def masked_mean(x: Array, mask: Array) -> Array:
    """Mean of ``x`` weighted by ``mask``; 0 if the mask is all zeros."""
    return masked_sum(x, mask) / jnp.maximum(jnp.sum(mask), 1.0)


def model_loss(
    model: ClockworkVAE, records: Records, beliefs: tuple[Belief, ...], config: ObjectiveConfig
) -> tuple[Array, Metrics]:
    """The world model's loss over a batch.

    Args:
      model: the model that made the beliefs.
      records: [B, lead+T, ...].
      beliefs: from ``model.observe(records, …)``.
    Returns:
      Scalar; metrics ``nll/<obs>`` per real step, ``kl/level<l>`` and ``prior_entropy/level<l>``
      per real tick, nats.
    """
    main = records.after(model.lead)
    means = model.decode(beliefs[0].state.features)
    metrics = {
        f"nll/{name}": -masked_mean(value, main.mask)
        for name, value in log_likelihood(model, main.obs, means).items()
    }
    loss = jnp.sum(jnp.stack(list(metrics.values())))
    steps = jnp.maximum(jnp.sum(main.mask), 1.0)
    for index, mask in enumerate(tick_masks(model, records)):
        belief, level = beliefs[index], index + 1
        kl = model.latent.kl(belief.post, belief.prior)
        entropy = model.latent.entropy(belief.prior)
        metrics[f"kl/level{level}"] = masked_mean(kl, mask)
        metrics[f"prior_entropy/level{level}"] = masked_mean(entropy, mask)
        if config.kl == "elbo":
            chains = model.stride if model.phased(index) else 1  # each chain is a complete filter
            loss = loss + masked_sum(kl, mask) / (steps * chains)
        else:
            loss = loss + masked_mean(balanced_kl(model, belief, config), mask)
    metrics["loss/model"] = loss
    return loss, metrics


def balanced_kl(model: ClockworkVAE, belief: Belief, config: ObjectiveConfig) -> Array:
    """DYN max(free, KL[sg(q) ‖ p]) + REP max(free, KL[q ‖ sg(p)]) per tick.

    Source: DreamerV3 (Hafner et al. 2023), KL balance and free bits.
    """
    stop = jax.lax.stop_gradient
    dyn = model.latent.kl(stop(belief.post), belief.prior)
    rep = model.latent.kl(belief.post, stop(belief.prior))
    dyn, rep = (jnp.maximum(kl, config.free_nats) for kl in (dyn, rep))
    return DYN * dyn + REP * rep


def sequence_kl(
    model: ClockworkVAE, records: Records, beliefs: tuple[Belief, ...]
) -> Float[Array, "B L"]:
    """KL of every level in nats per sequence, summed over its active ticks. CW-VAE Table 1.

    KL_l = Σ_{real ticks j of level l} KL[q_j ‖ p_j]; for a level at all phases, the mean over its K
    chains, each of which is a complete filter.

    Args:
      records: [B, lead+T, ...].
      beliefs: from ``model.observe(records, …)``.
    """
    columns = []
    for index, (belief, mask) in enumerate(zip(beliefs, tick_masks(model, records), strict=True)):
        kl = model.latent.kl(belief.post, belief.prior)
        chains = model.stride if model.phased(index) else 1
        columns.append(jax.vmap(masked_sum)(kl, mask) / chains)
    return jnp.stack(columns, axis=1)
