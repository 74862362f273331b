"""One episode as the agent holds it: what each level stores, what the heads and the critic say.

Everything stands at the time that it belongs to, in environment steps since the episode's first
record; nan where nothing is known. Read next: ``what_if.py``, futures from one of these times;
``analysis/levels.py``, what KL along an episode means.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from agents.agent import Agent
from agents.dreamer import foresee_reward, known_windows
from analysis.levels import LevelTicks, level_ticks
from worldmodel.level import Belief
from worldmodel.records import Records


class Trace(NamedTuple):
    """Along episodes; [B, n] are at the top's ticks, that is at every step.

    A tick after a terminal that closes the window in which it fell is data as well.
    """

    levels: tuple[LevelTicks, ...]  # level 1 first
    time: Array  # [n] of the top's ticks
    value: Array  # [B, n] the critic's, environment units; nan at padding and terminals
    observed: Array  # [B, n] reward R of the window that ends at the tick, environment units
    believed: Array  # [B, n] the reward head's R from the belief, which has seen the window
    foreseen: Array  # [B, n] the same from the prior's mode: as imagination would, one tick ahead


def observe_episodes(
    agent: Agent, records: Records, key: PRNGKeyArray
) -> tuple[tuple[Belief, ...], Trace]:
    """Filters whole episodes with every level, and reads what the agent makes of them.

    R_t is known (else all three are nan) where its window is: see ``dreamer.known_windows``.

    Args:
      records: [B, lead+T, ...], each row one episode from its first record at the lead-in's end,
        padded to whole windows. Give the tail as training sees it (``dreamer.fill_absorbing``).
    Returns:
      Beliefs as of ``ClockworkVAE.observe``, and the trace.
    """
    model = agent.model
    batch, length = records.mask.shape[0], records.mask.shape[1] - model.lead
    beliefs = model.observe(records, model.draw_noise(key, batch, length))
    levels = level_ticks(model, records, beliefs)
    targets = known_windows(agent, records)
    main = records.after(model.lead)
    alive = main.mask * (1.0 - main.terminal)
    features = beliefs[-1].state.features

    def known(x: Array) -> Array:
        return jnp.where(targets.valid > 0, x, jnp.nan)

    return beliefs, Trace(
        levels,
        levels[-1].time,
        jnp.where(alive > 0, agent.predict_value(features), jnp.nan),
        known(targets.reward),
        known(agent.predict_reward(features)),
        known(foresee_reward(agent, beliefs[-1])),
    )
