"""The world model's objective. CW-VAE eq. 5; KL balance and free nats from DreamerV2/V3.

``elbo``:      Σ_t log p(x_t | s¹_t) - Σ_l Σ_{ticks of l} KL[q ‖ p], per frame (divided by T), mean over the batch.
``balanced``:  mean over real steps of -log p(x_t) + Σ_l mean over level l's real ticks of
               dyn·max(free, KL[sg(q) ‖ p]) + rep·max(free, KL[q ‖ sg(p)]).

Read next: ``learner.py``, the jitted update that descends it.
"""

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from worldmodel import clock
from worldmodel.clockwork import ClockworkVAE, pixels
from worldmodel.level import Belief
from worldmodel.networks import symlog
from worldmodel.records import Records

Metrics = dict[str, Array]


@dataclass(frozen=True)
class ObjectiveConfig:
    """Settings of the objective."""

    kl: Literal["balanced", "elbo"] = "balanced"
    """`balanced` for agents (DreamerV3), `elbo` as the paper (CW-VAE eq. 5)."""
    dyn: float = 0.5
    """Weight of KL[sg(q) ‖ p], which trains the prior; balanced only."""
    rep: float = 0.1
    """Weight of KL[q ‖ sg(p)], which trains the posterior; balanced only."""
    free_nats: float = 1.0
    """Nats per tick below which KL costs nothing; balanced only."""


def normal_log_prob(x: Array, mean: Array, std: float) -> Array:
    """log N(x; mean, std²), elementwise, constants included."""
    return -0.5 * ((x - mean) / std) ** 2 - jnp.log(std) - 0.5 * jnp.log(2 * jnp.pi)


def log_likelihood(
    model: ClockworkVAE, obs: dict[str, Array], means: dict[str, Array]
) -> dict[str, Array]:
    """log p(x_t | s¹_t) per observation, summed over its own dimensions: [B, T] nats."""
    result = {}
    for name, mean in means.items():
        image = mean.ndim == 5
        target = pixels(obs[name]) if image else symlog(obs[name])
        std = model.config.image_std if image else model.config.vector_std
        result[name] = jnp.sum(normal_log_prob(target, mean, std), axis=tuple(range(2, mean.ndim)))
    return result


def tick_masks(model: ClockworkVAE, records: Records) -> tuple[Float[Array, "B n"], ...]:
    """Weights of every level's ticks, as ``observe`` arranges them (``clock.tick_mask``)."""
    masks = []
    for index, stride in enumerate(model.strides):
        fields = (records.mask, records.terminal, records.is_first)
        all_times = jax.vmap(lambda m, t, f, s=stride: clock.tick_mask(m, t, f, s))(*fields)
        cut = 1 if model.phased(index) else stride
        masks.append(all_times[:, model.lead :: cut])
    return tuple(masks)


def masked_mean(x: Array, mask: Array) -> Array:
    """Mean of ``x`` where ``mask``; 0 where nothing counts."""
    return jnp.sum(x * mask) / jnp.maximum(jnp.sum(mask), 1.0)


def model_loss(
    model: ClockworkVAE, records: Records, beliefs: tuple[Belief, ...], config: ObjectiveConfig
) -> tuple[Array, Metrics]:
    """Loss to descend, and its parts in nats.

    Args:
      records: [B, lead+T, ...].
      beliefs: of ``model.observe(records, …)``.
    Returns:
      Scalar; metrics ``nll/<obs>`` per real step, ``kl/level<l>`` and ``prior_entropy/level<l>`` per real tick.
    """
    main = records.after(model.lead)
    length = main.mask.shape[1]
    means = model.decode(beliefs[0].state.features)
    nll = {name: -value for name, value in log_likelihood(model, main.obs, means).items()}
    masks = tick_masks(model, records)
    total_nll = jnp.sum(jnp.stack(list(nll.values())), axis=0) * main.mask
    metrics = {f"nll/{name}": masked_mean(value, main.mask) for name, value in nll.items()}
    elbo = config.kl == "elbo"
    loss = (
        jnp.mean(jnp.sum(total_nll, axis=1)) / length if elbo else masked_mean(total_nll, main.mask)
    )
    for index, (belief, mask) in enumerate(zip(beliefs, masks, strict=True)):
        kl = model.latent.kl(belief.post, belief.prior)
        metrics[f"kl/level{index + 1}"] = masked_mean(kl, mask)
        metrics[f"prior_entropy/level{index + 1}"] = masked_mean(
            model.latent.entropy(belief.prior), mask
        )
        if elbo:
            loss = loss + jnp.mean(jnp.sum(kl * mask, axis=1)) / length
        else:
            loss = loss + masked_mean(balanced_kl(model, belief, config), mask)
    metrics["loss/model"] = loss
    return loss, metrics


def balanced_kl(model: ClockworkVAE, belief: Belief, config: ObjectiveConfig) -> Array:
    """dyn·max(free, KL[sg(q) ‖ p]) + rep·max(free, KL[q ‖ sg(p)]) per tick. Source: Hafner et al. 2023, eq. 5."""
    stop = jax.lax.stop_gradient
    dyn = model.latent.kl(stop(belief.post), belief.prior)
    rep = model.latent.kl(belief.post, stop(belief.prior))
    return config.dyn * jnp.maximum(dyn, config.free_nats) + config.rep * jnp.maximum(
        rep, config.free_nats
    )
