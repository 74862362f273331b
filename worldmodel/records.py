"""Records: a batch of sequences as the model reads it, one array per field. DESIGN §2 and §5."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class Records(NamedTuple):
    """Sequences in the arrival convention, [B, T', ...] with T' = lead-in + T (``clock.py``)."""

    obs: dict[str, Array]  # images uint8 [B, T', 64, 64, C]; vectors float32 [B, T', n]
    action: Array  # [B, T', A] that led to the observation; 0 at an episode's first record
    action_mask: Array  # [B, T'] 0 where the action is unknown (unlabelled video)
    reward: Array  # [B, T'] received on arrival, environment units
    terminal: Array  # [B, T'] bool; False at a time limit
    is_first: Array  # [B, T'] bool; resets every level
    mask: Array  # [B, T'] 1 real, 0 padding

    def after(self, lead: int) -> "Records":
        """Without the lead-in."""
        return jax.tree.map(lambda x: x[:, lead:], self)


def video(obs: dict[str, Array]) -> Records:
    """Records of unlabelled video that starts with its first frame: no actions, no rewards. obs: [B, T, ...]."""
    shape = next(iter(obs.values())).shape[:2]
    zeros: Float[Array, "B T"] = jnp.zeros(shape)
    first = jnp.zeros(shape, bool).at[:, 0].set(True)
    return Records(obs, zeros[..., None], zeros, zeros, zeros > 0, first, zeros + 1)
