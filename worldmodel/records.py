"""Records: a batch of sequences as the model reads it, one array per field."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class Records(NamedTuple):
    """Sequences in the arrival convention, [B, T', ...] with T' = lead-in + T (``clock.py``)."""

    obs: dict[str, Array]  # images uint8 [B, T', S, S, C]; vectors float32 [B, T', n]
    action: Array  # [B, T', A] that led to the observation; 0 at an episode's first record
    action_mask: Array  # [B, T'] 0 where the action is unknown (unlabelled video)
    reward: Array  # [B, T'] received on arrival, environment units
    terminal: Array  # [B, T'] bool; False at a time limit
    is_first: Array  # [B, T'] bool; resets every level
    mask: Array  # [B, T'] 1 real, 0 padding

    def after(self, lead: int) -> "Records":
        """Without the lead-in."""
        return jax.tree.map(lambda x: x[:, lead:], self)


def video(obs: dict[str, Array], action_width: int = 0, lead: int = 0) -> Records:
    """Records of unlabelled video that starts with its first frame: no rewards, unknown actions.

    Args:
      obs: [B, T, ...].
      action_width: A of the model that reads it, 0 for one without actions.
      lead: records of lead-in that the model wants, padding here (``ClockworkVAE.lead``).
    Returns:
      [B, lead+T, ...].
    """
    obs = jax.tree.map(lambda x: jnp.pad(x, [(0, 0), (lead, 0), *[(0, 0)] * (x.ndim - 2)]), obs)
    batch, length = next(iter(obs.values())).shape[:2]
    times = jnp.broadcast_to(jnp.arange(length), (batch, length))
    zeros: Float[Array, "B T"] = jnp.zeros((batch, length))
    return Records(
        obs=obs,
        action=jnp.zeros((batch, length, action_width)),
        action_mask=zeros,
        reward=zeros,
        terminal=zeros > 0,
        is_first=times == lead,
        mask=(times >= lead).astype(jnp.float32),
    )
