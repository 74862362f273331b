"""Actor and critic losses over one batch of imagined trajectories. DreamerV3.

Read next: ``imagination.py``, which rolls out the trajectories; ``returns.py``, the targets.
"""

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import tyro
from jaxtyping import Array, Float

from agents.heads import two_hot_loss, two_hot_mean
from agents.imagination import Trajectory
from agents.returns import lambda_returns, path_weights
from common import Count, Share


@dataclass(frozen=True)
class ActorCriticConfig:
    """Settings of behaviour learning."""

    horizon: Annotated[Count, tyro.conf.arg(aliases=("--horizon",))] = 16
    """H: imagined environment steps, rounded up to whole windows, at least one: ⌈H/K⌉ ticks. Source
    of the default: the trial's tuning chose 16 over 32 for every stack with a slow clock and for
    the flat one (`docs/protocol.md`); DreamerV3 uses 15."""
    discount: Share = 0.99
    """γ: discount per environment step; γ^K per tick."""
    lam: Share = 0.95
    """λ of the λ-returns, per environment step; λ^K per tick. Source: DreamerV3."""
    entropy_target: Share = 0.3
    """Target entropy of each factor of each slot, as a share, averaged over states: 0 is the
    smallest deviation or a single class, 1 the largest deviation or a uniform choice."""
    starts: Count = 1024
    """Maximum number of imagination starts per update, drawn from the replayed top states. The
    default depends on the size."""


SLOW_RATE = 0.02  # share by which the slow critic moves at every update. Source: DreamerV3
SLOW_WEIGHT = 1.0  # weight of the critic's regulariser towards the slow critic. Source: DreamerV3
SCALE_RATE = 0.02  # rate of the running return percentiles, per update (DreamerV3: 0.01)
ENTROPY_RATE = 0.05  # log-units per update and unit of error from the entropy target


class BehaviourState(NamedTuple):
    """State of behaviour learning that is carried between updates without gradient descent."""

    slow_critic: dict[str, Any]  # parameters of the slow copy
    low: Array  # [] running 5th percentile of returns
    high: Array  # [] running 95th percentile of returns
    log_entropy_scale: Array  # [K·F] log weight of the entropy bonus, per factor of each slot


ENTROPY_SCALE = 3e-3  # initial entropy bonus per nat of a primitive action
LOG_SCALE_RANGE = (-7.0, 1.0)  # entropy bonus between 9e-4 and 2.7 per nat of a primitive


def return_scale(state: BehaviourState) -> Array:
    """max(1, P95 - P5): returns are scaled down, never up. Source: DreamerV3 (Hafner et al. 2023),
    return normalisation."""
    return jnp.maximum(1.0, state.high - state.low)


def update_range(
    state: BehaviourState, returns: Float[Array, "N H"], weight: Array
) -> BehaviourState:
    """Move the running percentiles towards those of the returns of states with nonzero weight."""
    counted = jnp.where(weight > 0, returns, jnp.nan)
    low, high = jnp.nanpercentile(counted, 5), jnp.nanpercentile(counted, 95)
    low, high = (
        jnp.where(jnp.isnan(x), old, x) for x, old in ((low, state.low), (high, state.high))
    )
    return state._replace(
        low=state.low + SCALE_RATE * (low - state.low),
        high=state.high + SCALE_RATE * (high - state.high),
    )


def update_entropy_scale(
    state: BehaviourState, spread: Array, config: ActorCriticConfig
) -> BehaviourState:
    """Raise a factor's entropy bonus while the factor is below the target; lower it otherwise.

    Each factor of each slot has its own bonus. Under a shared one, factors that do not matter (a
    late slot, an unused key), whose entropy costs nothing, would meet the target for those that do.

    Args:
      spread: [K·F] entropy as a share of its range, mean over states.
    """
    scale = state.log_entropy_scale + ENTROPY_RATE * (config.entropy_target - spread)
    return state._replace(log_entropy_scale=jnp.clip(scale, *LOG_SCALE_RANGE))


class BehaviourTargets(NamedTuple):
    """Targets of a batch of trajectories, all [N, H]."""

    returns: Array
    weight: Array
    advantage: Array


def behaviour_targets(
    path: Trajectory, value: Float[Array, "N H1"], stride: int, config: ActorCriticConfig
) -> BehaviourTargets:
    """λ-returns, path weights and advantages G_j - v_j; stride: environment steps per plan."""
    gamma, lam = config.discount**stride, config.lam**stride
    returns = jax.vmap(lambda r, c, v: lambda_returns(r, c, v, gamma, lam))(
        path.reward, path.cont, value
    )
    weight = jax.vmap(lambda a, c: path_weights(a, c, gamma))(path.alive, path.cont)
    return BehaviourTargets(returns, jax.lax.stop_gradient(weight), returns - value[:, :-1])


def actor_loss(
    path: Trajectory,
    targets: BehaviourTargets,
    state: BehaviourState,
    primitives: int,
) -> Array:
    """-E_w[ G/scale  +  log π(u) sg(G - v)/scale  +  Σ_f η_f H[π_f]/primitives ].

    The first term is the gradient through the dynamics, for continuous actions; the second covers
    the rest: log_prob contains only the factors that the first term does not reach. The entropy is
    per primitive action. For a learned code it is relative to the prior, -KL[π ‖ p], as one factor.

    Args:
      primitives: random numbers in one u, K times those of a primitive action; 1 for a code.
    """
    scale = return_scale(state)
    stop = jax.lax.stop_gradient
    score = path.log_prob * stop(targets.advantage) / scale
    eta = jnp.broadcast_to(jnp.exp(state.log_entropy_scale), path.entropy.shape)
    bonus = jnp.sum(eta * path.entropy, axis=-1) / primitives
    return -weighted_mean(targets.returns / scale + score + bonus, targets.weight)


def critic_loss(logits: Array, slow_logits: Array, targets: BehaviourTargets) -> Array:
    """E_w[ two-hot cross-entropy to G + SLOW_WEIGHT · the same to the slow critic's value ].

    Args:
      logits: [N, H, bins] of the critic on s_0 … s_{H-1}, with gradients of the features stopped.
      slow_logits: those of the slow critic.
    """
    stop = jax.lax.stop_gradient
    loss = two_hot_loss(logits, stop(targets.returns))
    loss = loss + SLOW_WEIGHT * two_hot_loss(logits, stop(two_hot_mean(slow_logits)))
    return weighted_mean(loss, targets.weight)


def weighted_mean(x: Array, weight: Array) -> Array:
    """Σ w x / (paths that count · H): later steps weigh less, as their path may have ended."""
    alive = jnp.maximum(jnp.sum(weight[:, 0]), 1.0) * weight.shape[1]
    return jnp.sum(weight * x) / alive
