"""Latent imagination at the top clock: s_{j+1} ~ p(s | s_j, u_j), u_j ~ π(u | s_j).

H ticks cost H transitions of one level and cover H·K environment steps; no lower level, decoder
or frame is touched.
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
    """Imagined paths of N starts."""

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
    key: PRNGKeyArray,
) -> Trajectory:
    """Rolls the top level alone under a policy.

    Args:
      model: only its top level is used.
      policy: of (features [N, F], key) to an abstract action.
      reward: of features to window rewards, environment units.
      cont: of features to window continuations in [0, 1].
      start: [N, ·] states of the top level.
      alive: [N] 1 where the start is a state to act in.
      horizon: H, ticks.
    """

    def tick(state: State, step_key: PRNGKeyArray) -> tuple[State, tuple[State, ActionSample]]:
        act_key, noise_key = jax.random.split(step_key)
        sample = policy(state.features, act_key)
        noise = model.latent.noise(noise_key, state.h.shape[:1])
        state = model.imagine_top(state, sample.flat, noise)
        return state, (state, sample)

    _, (states, samples) = jax.lax.scan(tick, start, jax.random.split(key, horizon))
    features = jnp.concatenate([start.features[None], states.features])
    features, flat, log_prob, entropy = (jnp.swapaxes(x, 0, 1) for x in (features, *samples))
    return Trajectory(
        features, flat, log_prob, entropy, reward(features[:, 1:]), cont(features[:, 1:]), alive
    )
