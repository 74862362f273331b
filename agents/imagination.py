"""Latent imagination at the top clock: s_{j+1} ~ p(s | s_j, u_j), u_j ~ π(u | s_j).

H ticks cost H transitions of one level and cover H·K environment steps; no lower level, decoder
or frame is involved.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from agents.actions import ActionSample
from worldmodel.clockwork import ClockworkVAE
from worldmodel.level import State

Policy = Callable[[Array, PRNGKeyArray], ActionSample]
Head = Callable[[Array], Array]


class Trajectory(NamedTuple):
    """Imagined paths from N starts."""

    features: Array  # [N, H+1, F] of s_0 … s_H
    action: Array  # [N, H, K·A] u_0 … u_{H-1}
    log_prob: Array  # [N, H]
    entropy: Array  # [N, H, K·F] of every factor of every slot
    reward: Array  # [N, H] R_{j+1}
    cont: Array  # [N, H] C_{j+1}
    alive: Array  # [N] 1 where the start is a state to act in


def imagine_path(
    model: ClockworkVAE,
    policy: Policy,
    reward: Head,
    cont: Head,
    start: State,
    alive: Array,
    horizon: int,
    ticks: int,
    discount: float,
    key: PRNGKeyArray,
) -> Trajectory:
    """Roll out the top level alone under a policy.

    A plan u takes n ticks (1 unless ``AgentConfig.plan`` says otherwise), each of W environment
    steps. Its reward and continuation are those of its ticks taken together as one window:

    R = Σ_{i=1..n} γ^{W(i-1)} (Π_{m<i} C_m) R_i,   C = Π_{i=1..n} C_i

    DEVIATION(adr-4): the policy reads states with their gradient, which Dreamer stops.

    Args:
      model: only its top level is used.
      policy: maps (features [N, F], key) to an abstract action.
      reward: maps features to window rewards, environment units.
      cont: maps features to window continuations in [0, 1].
      start: [N, ·] states of the top level.
      alive: [N] 1 where the start is a state to act in.
      horizon: H, number of plans.
      ticks: n, ticks per plan.
      discount: γ per environment step.
    """
    count = start.h.shape[0]

    def tick(state: State, step: tuple[Array, Array]) -> tuple[State, Array]:
        state = model.imagine_top(state, *step)
        return state, state.features

    def act(state: State, step_key: PRNGKeyArray) -> tuple[State, tuple[Array, ActionSample]]:
        act_key, noise_key = jax.random.split(step_key)
        sample = policy(state.features, act_key)
        noise = model.latent.noise(noise_key, (ticks, count))
        parts = jnp.swapaxes(sample.flat.reshape(count, ticks, -1), 0, 1)
        state, found = jax.lax.scan(tick, state, (parts, noise))
        return state, (found, sample)

    _, (found, samples) = jax.lax.scan(act, start, jax.random.split(key, horizon))
    features = jnp.concatenate([start.features[None], found[:, -1]])
    features, flat, log_prob, entropy = (jnp.swapaxes(x, 0, 1) for x in (features, *samples))
    gains, goes_on = (head(jnp.moveaxis(found, 2, 0)) for head in (reward, cont))  # [N, H, n]
    first = jnp.ones_like(goes_on[..., :1])
    before = jnp.cumprod(jnp.concatenate([first, goes_on[..., :-1]], axis=-1), axis=-1)
    total = (before * gains) @ discount ** (model.stride * jnp.arange(ticks))
    return Trajectory(features, flat, log_prob, entropy, total, jnp.prod(goes_on, axis=-1), alive)
