"""The online filter of the levels below the top, alongside ``filter.py``. docs/design.md, Plans.

These levels tick as one plain chain on the episode's own clock, level l at multiples of K_l. The
first of the top's interleaved chains has the same clock and is their context, whatever the interval
between plans. Their beliefs are therefore those that ``observe`` forms from the episode's start.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from worldmodel.clockwork import ClockworkVAE
from worldmodel.filter import FilterCarry
from worldmodel.level import State


class LowerCarry(NamedTuple):
    """Memory per environment of levels 1 … L-1, level 1 first."""

    sums: tuple[Array, ...]  # [N, E_l] frame embeddings since the level's last tick
    states: tuple[State, ...]  # [N, ·] at the level's last tick


def initial_lower(model: ClockworkVAE, batch: int) -> LowerCarry:
    """Carry of ``batch`` environments before their first observation."""
    lower = list(zip(model.levels, model.strides, strict=True))[:-1]
    return LowerCarry(
        tuple(jnp.zeros((batch, x.inputs.embed // (2 if k > 1 else 1))) for x, k in lower),
        tuple(level.initial((batch,)) for level, _ in lower),
    )


def lower_step(
    model: ClockworkVAE,
    carry: LowerCarry,
    top: FilterCarry,
    obs: dict[str, Array],
    is_first: Bool[Array, " N"],
    noise: Array,
) -> LowerCarry:
    """Update the carry with one observation per environment.

    Args:
      carry: before the observation.
      top: the top's carry after it (``filter_step``), with the clock and the last K actions.
      obs: [N, ...].
      is_first: resets the environment's carry.
      noise: of the latents of levels 1 … L-1, [N, L-1, ...].
    """
    carry = jax.tree.map(lambda x: jnp.where(is_first[:, None], 0.0, x), carry)
    frames, time = model.frame_embeddings(obs), top.time - 1
    context = jax.tree.map(lambda x: x[:, 0], top.chains).features
    sums, states = list(carry.sums), list(carry.states)
    for index in reversed(range(model.upper)):
        level, stride, before = model.levels[index], model.strides[index], states[index]
        due = (time % stride == 0)[:, None]
        total = sums[index] + frames[index]
        embed = frames[index] if stride == 1 else jnp.concatenate([frames[index], total], axis=-1)
        action = top.actions[:, model.stride - stride :].reshape(total.shape[0], -1)
        drive = level.drive(context, action if model.action_width else None)
        after = level.filter_step(before, drive, embed, noise[:, index])
        sums[index] = jnp.where(due, 0.0, total)
        states[index] = jax.tree.map(lambda a, b, d=due: jnp.where(d, a, b), after, before)
        context = states[index].features
    return LowerCarry(tuple(sums), tuple(states))


def level1(carry: LowerCarry, top: FilterCarry) -> State:
    """Belief of level 1, [N, ·]: the top's if it is the only level."""
    return carry.states[0] if carry.states else top.belief
