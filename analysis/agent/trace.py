"""One episode as seen by the agent: what each level stores, what heads and critic predict.

Every quantity is given at the time it belongs to, in environment steps since the episode's first
record; nan where it is unknown. Read next: ``what_if.py``, futures from one of these times;
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
    """Quantities along episodes; [B, n] are at the top level's ticks, that is, at every step.

    The tick after a terminal that closes the terminal's window counts as data, too.
    """

    levels: tuple[LevelTicks, ...]  # level 1 first
    time: Array  # [n] times of the top level's ticks
    value: Array  # [B, n] the critic's value, environment units; nan at padding and terminals
    observed: Array  # [B, n] reward R of the window that ends at the tick, environment units
    believed: Array  # [B, n] R predicted from the belief, which has seen the window
    foreseen: Array  # [B, n] R predicted from the prior's mode, as in imagination one tick ahead


def observe_episodes(
    agent: Agent, records: Records, key: PRNGKeyArray
) -> tuple[tuple[Belief, ...], Trace]:
    """Filter whole episodes with every level, and trace what the agent predicts along them.

    ``observed``, ``believed`` and ``foreseen`` are nan unless the window of R_t is known: see
    ``dreamer.known_windows``.

    Args:
      records: [B, lead+T, ...], each row one episode whose first record follows the lead-in, padded
        to whole windows, with its tail as in training (``dreamer.fill_absorbing``).
    Returns:
      Beliefs as from ``ClockworkVAE.observe``, and the trace.
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
