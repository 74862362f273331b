"""The online filter: the trained top level, one observation at a time, for many environments.

To plan again every ``r ≤ K`` steps, an agent filters the top level in ``C = K/r`` interleaved
chains. Chain ``t/r mod C`` advances at step t from its own state K steps ago, with the K actions
and frames since then. Each chain is the trained stride-K filter at another phase, so nothing is
learned here. Between its ticks a chain only accumulates sums: no frame is kept.
docs/design.md, Plans.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from common import UserError
from worldmodel.clockwork import ClockworkVAE
from worldmodel.level import State


class FilterCarry(NamedTuple):
    """Memory per environment, each with its own clock."""

    time: Array  # [N] time of the next observation: steps since the episode's first
    sums: Array  # [N, C, E] frame embeddings since each chain's last tick
    actions: Array  # [N, K, A] the last K, oldest first; zeros before the episode
    chains: State  # [N, C, ·] state of each chain at its last tick
    belief: State  # [N, ·] state of the chain that ticked last


def check_replan(stride: int, replan: int) -> int:
    """Return C = K/r, the number of interleaved chains.

    Raises:
      UserError: unless r divides K.
    """
    if replan < 1 or stride % replan:
        raise UserError(
            f"replan: expected a divisor of the top stride {stride} (environment steps), received "
            f"{replan}; 1 plans at every step, {stride} once per window"
        )
    return stride // replan


def initial_carry(model: ClockworkVAE, batch: int, replan: int) -> FilterCarry:
    """Carry of ``batch`` environments before their first observation."""
    if model.config.window != "causal":
        raise UserError(
            "filter: expected a model with window 'causal', received 'lookahead', whose frames are "
            "yet to come when acting; train with window causal"
        )
    chains = check_replan(model.stride, replan)
    embed = model.top.inputs.embed // (2 if model.stride > 1 else 1)
    return FilterCarry(
        time=jnp.zeros(batch, jnp.int32),
        sums=jnp.zeros((batch, chains, embed)),
        actions=jnp.zeros((batch, model.stride, model.action_width)),
        chains=model.top.initial((batch, chains)),
        belief=model.top.initial((batch,)),
    )


def filter_step(
    model: ClockworkVAE,
    carry: FilterCarry,
    obs: dict[str, Array],
    action: Float[Array, "N A"],
    is_first: Bool[Array, " N"],
    noise: Array,
    replan: int,
) -> tuple[FilterCarry, Bool[Array, " N"]]:
    """Update the carry with one observation per environment.

    Args:
      obs: [N, ...].
      action: the action that led to the observation; ignored where ``is_first``.
      is_first: resets the environment's carry and clock.
      noise: of the latent, [N, ...].
      replan: r, environment steps between ticks of successive chains.
    Returns:
      The carry, whose ``belief`` is that of the chain that ticked last, and whether a chain has
      just ticked (then it is time to plan).
    """
    carry = jax.tree.map(
        lambda x: jnp.where(is_first.reshape(-1, *[1] * (x.ndim - 1)), jnp.zeros_like(x), x), carry
    )
    frame = model.frame_embeddings(obs)[-1]  # [N, E]
    sums = carry.sums + frame[:, None]
    action = jnp.where(is_first[:, None], 0.0, action)
    actions = jnp.concatenate([carry.actions[:, 1:], action[:, None]], axis=1)

    due = carry.time % replan == 0
    rows, chain = jnp.arange(frame.shape[0]), carry.time // replan % carry.sums.shape[1]
    before = jax.tree.map(lambda x: x[rows, chain], carry.chains)
    embed = frame if model.stride == 1 else jnp.concatenate([frame, sums[rows, chain]], axis=-1)
    chunk = actions.reshape(frame.shape[0], -1)
    drive = model.top.drive(None, model.interval(chunk) if model.action_width else None)
    after = model.top.filter_step(before, drive, embed, noise)

    def keep(new: Array, old: Array) -> Array:
        return jnp.where(due[:, None], new, old)

    return (
        FilterCarry(
            time=carry.time + 1,
            sums=sums.at[rows, chain].set(keep(jnp.zeros_like(frame), sums[rows, chain])),
            actions=actions,
            chains=jax.tree.map(
                lambda x, a, b: x.at[rows, chain].set(keep(a, b)), carry.chains, after, before
            ),
            belief=jax.tree.map(keep, after, carry.belief),
        ),
        due,
    )
