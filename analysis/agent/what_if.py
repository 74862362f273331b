"""What if: the top level imagined from one start under each of several abstract actions.

A primitive action held for all K steps of every tick is an abstract action with a name
(``held_actions.py``). These are imagined alongside the actor's own choice under the same noise, so
that futures differ only by the action. Read next: `agents/imagination.py`, which the actor learns
from.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from agents.agent import Agent
from agents.config import AgentConfig
from agents.returns import lambda_returns
from common import UserError
from worldmodel.level import State


class Futures(NamedTuple):
    """R futures, the actor's own first, under S noise samples, over H ticks of the top clock."""

    states: State  # [R, S, H, ·] of the top level
    chunk: Array  # [R, S, H, K·A]
    reward: Array  # [R, S, H] window rewards, environment units
    value: Array  # [R, S, H] critic's value
    returns: Array  # [R, S] discounted window rewards plus the value at the end


def check_plans(config: AgentConfig) -> None:
    """Raise UserError for plans of several ticks, which this module cannot roll out."""
    if config.plan_ticks > 1:
        raise UserError(
            f"expected plans of one tick, received --agent.plan {config.plan} with strides "
            f"{config.model.strides}: rollouts of such an agent cannot be drawn; leave it out"
        )


def imagine_futures(
    agent: Agent, start: State, chunks: Float[Array, "C W"], noise: Array
) -> Futures:
    """Imagine the top level from one start under the actor, and under each chunk held at all ticks.

    returns = Σ_{j<H} γ^{Kj} (Π_{i≤j} C_i) R_{j+1} + γ^{KH} (Π_{i≤H} C_i) v_H,  which is the
    λ-return at λ = 1.

    Args:
      start: [1, ·] of the top level.
      chunks: abstract actions, one per row; the actor's row, its mode at every tick, is put first.
      noise: [S, H, ...] latent noise, the same for every row.
    Raises:
      UserError: for plans of several ticks.
    """
    check_plans(agent.config)
    model, behaviour = agent.model, agent.config.behaviour
    samples, horizon = noise.shape[:2]
    rows = chunks.shape[0] + 1
    padded = jnp.concatenate([jnp.zeros_like(chunks[:1]), chunks])
    given = jnp.repeat(padded, samples, axis=0)
    own = (jnp.arange(rows * samples) < samples)[:, None]

    def tick(state: State, drawn: Array) -> tuple[State, tuple[State, Array]]:
        chosen = agent.codec.mode(agent.actor(state.features))
        chunk = jnp.where(own, chosen, given)
        drawn = jnp.tile(drawn, (rows, *[1] * (drawn.ndim - 1)))
        state = model.imagine_top(state, chunk, drawn)
        return state, (state, chunk)

    first = jax.tree.map(lambda x: jnp.repeat(x, rows * samples, axis=0), start)
    _, found = jax.lax.scan(tick, first, jnp.swapaxes(noise, 0, 1))
    states, chunk = jax.tree.map(
        lambda x: jnp.swapaxes(x, 0, 1).reshape(rows, samples, horizon, -1), found
    )
    reward, cont, value = (
        head(states.features)
        for head in (agent.predict_reward, agent.predict_cont, agent.predict_value)
    )
    gamma = behaviour.discount**model.stride

    def total(r: Array, c: Array, v: Array) -> Array:
        return lambda_returns(r, c, jnp.concatenate([v[:1], v]), gamma, 1.0)[0]  # v_0 is not read

    return Futures(states, chunk, reward, value, jax.vmap(jax.vmap(total))(reward, cont, value))


def decode_futures(
    agent: Agent, starts: tuple[State, ...], top: State, chunk: Array, key: PRNGKeyArray
) -> dict[str, Array]:
    """Decode observations at every step of imagined futures; lower levels are imagined as well.

    Args:
      starts: [1, ·] state of each level, from ``ClockworkVAE.states_at``.
      top: [R, H, ·] states from ``imagine_futures`` under one noise sample.
      chunk: [R, H, K·A].
    Returns:
      [R, H·K, ...], images uint8, vectors in their units; the noise is the same in every row.
    """
    model = agent.model
    rows, steps = chunk.shape[0], chunk.shape[1] * model.stride
    action = chunk.reshape(rows, steps, -1)
    noise, starts = jax.tree.map(
        lambda x: jnp.repeat(x, rows, axis=0), (model.imagination_noise(key, 1, steps), starts)
    )
    states = model.imagine(starts, action, jnp.ones((rows, steps)), noise, top)
    return model.to_observations(model.decode(states[0].features))


def apart(paths: Float[np.ndarray, "R D"], count: int) -> list[int]:
    """Indices of the rows that differ most: the first two, then always the farthest; sorted.

    Source: farthest-point traversal, Gonzalez 1985.
    """
    chosen = list(range(min(2, len(paths))))
    while len(chosen) < min(count, len(paths)):
        distance = np.linalg.norm(paths[:, None] - paths[chosen][None], axis=-1).min(axis=1)
        distance[chosen] = -1.0
        chosen.append(int(np.argmax(distance)))
    return sorted(chosen[:count])


def return_that_followed(
    reward: Float[np.ndarray, " T"],
    terminal: bool,
    value_there: float,
    start: int,
    steps: int,
    discount: float,
) -> float:
    """Return that actually followed, as in ``Futures.returns``: Σ_{i=1..n} γ^{i-1} r_{start+i},
    plus γ^n v if the episode continues.

    Args:
      reward: r_t of the whole episode.
      terminal: whether its last record is terminal.
      value_there: the critic's value at start + steps; nan if that is not in the episode.
      steps: n.
    Returns:
      The return; nan if the episode was cut before start + n.
    """
    after = reward[start + 1 : start + steps + 1].astype(np.float64)
    total = float(np.sum(after * discount ** np.arange(len(after))))
    if start + steps + 1 > len(reward) - terminal:
        return total if terminal else float("nan")
    return total + discount**steps * value_there
