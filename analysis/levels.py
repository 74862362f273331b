"""What each level takes from its observations: KL and prior entropy, tick by tick.

KL is the information, in nats, that a level takes from the frames, an upper bound on what it stores
of them; ``worldmodel.objective.sequence_kl`` sums it over a sequence. Read next:
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
    """KL and prior entropy of one level at each of its ticks."""

    time: Array  # [n] main times of the ticks, in records after the lead-in; 0 is the first
    kl: Array  # [B, n] KL[q ‖ p] in nats; nan where the tick is not data
    prior_entropy: Array  # [B, n] differential entropy H[p(z | h)] in nats; nan where kl is


def level_ticks(
    model: ClockworkVAE, records: Records, beliefs: tuple[Belief, ...]
) -> tuple[LevelTicks, ...]:
    """KL and prior entropy of every level, level 1 first, at the times of its own ticks.

    Tick n of level l is at main time n·K_l, or at n if the level is filtered in all phases. The
    means over ticks that are data are ``model_loss``'s `kl/level<l>` and `prior_entropy/level<l>`.

    Args:
      records: [B, lead+T, ...].
      beliefs: from ``model.observe(records, …)``.
    """
    found = []
    for index, (belief, mask) in enumerate(zip(beliefs, tick_masks(model, records), strict=True)):
        measures = (model.latent.kl(belief.post, belief.prior), model.latent.entropy(belief.prior))
        kl, entropy = (jnp.where(mask > 0, x, jnp.nan) for x in measures)
        time = model.alignment(index).every * jnp.arange(mask.shape[1])
        found.append(LevelTicks(time, kl, entropy))
    return tuple(found)
