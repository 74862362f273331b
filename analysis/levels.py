"""What each level takes from what it sees: its KL, and its prior's entropy, tick by tick.

KL is the nats that the level takes from the frames of a sequence, an upper bound on what it stores
there; summed over a sequence: ``worldmodel.objective.sequence_kl``. Read next:
`analysis/agent/trace.py`, levels along an agent's episode.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array

from worldmodel.clockwork import ClockworkVAE
from worldmodel.level import Belief
from worldmodel.objective import tick_masks
from worldmodel.records import Records


class LevelTicks(NamedTuple):
    """What one level did at each of its ticks."""

    time: Array  # [n] main times of the ticks, in records after the lead-in; 0 is the first
    kl: Array  # [B, n] KL[q ‖ p] in nats; nan where the tick is no data
    prior_entropy: Array  # [B, n] H[p(z | h)] in nats, differential; nan likewise


def level_ticks(
    model: ClockworkVAE, records: Records, beliefs: tuple[Belief, ...]
) -> tuple[LevelTicks, ...]:
    """KL and prior entropy of every level, level 1 first, at the times of its own ticks.

    Tick n of level l lies at main time n·K_l, of a level at all phases at n. Their mean over ticks
    that are data is ``model_loss``'s `kl/level<l>` and `prior_entropy/level<l>`.

    Args:
      records: [B, lead+T, ...].
      beliefs: of ``model.observe(records, …)``.
    """
    found = []
    for index, (belief, mask) in enumerate(zip(beliefs, tick_masks(model, records), strict=True)):
        measures = (model.latent.kl(belief.post, belief.prior), model.latent.entropy(belief.prior))
        kl, entropy = (jnp.where(mask > 0, x, jnp.nan) for x in measures)
        time = model.alignment(index).every * jnp.arange(mask.shape[1])
        found.append(LevelTicks(time, kl, entropy))
    return tuple(found)
