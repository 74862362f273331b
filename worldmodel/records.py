"""Records: a batch of sequences as the model reads it, one array per field."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from common import UserError

Given = Array | np.ndarray


class Records(NamedTuple):
    """Sequences in the arrival convention, [B, T', ...] with T' = lead-in + T (``clock.py``)."""

    obs: dict[str, Array]  # images uint8 [B, T', S, S, C]; vectors float32 [B, T', n]
    action: Array  # [B, T', A] leading to the observation; 0 at an episode's first record
    action_mask: Array  # [B, T'] 0 where the action is unknown (unlabelled video)
    reward: Array  # [B, T'] received on arrival, environment units
    terminal: Array  # [B, T'] bool; False at a time limit
    is_first: Array  # [B, T'] bool; resets every level
    mask: Array  # [B, T'] 1 real, 0 padding

    def after(self, lead: int) -> "Records":
        """The records without the lead-in."""
        return jax.tree.map(lambda x: x[:, lead:], self)


def video(obs: dict[str, Array], action_width: int = 0, lead: int = 0) -> Records:
    """Records of unlabelled video from its first frame on: no rewards, unknown actions.

    Args:
      obs: [B, T, ...].
      action_width: A of the model that reads them; 0 for a model without actions.
      lead: records of the model's lead-in (``ClockworkVAE.lead``), filled with padding.
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


def episodes(
    obs: dict[str, Given],
    action: Given,
    reward: Given | None = None,
    terminal: Given | None = None,
    *,
    lead: int,
    stride: int,
) -> Records:
    """Records of whole episodes of equal length, from arrays as a user's loop collects them.

    In such a loop, ``action[t]`` is taken *at* ``obs[t]`` and ``reward[t]`` follows it. Both are
    shifted to the arrival convention, and the sequences are padded at both ends as the model
    requires.

    Args:
      obs: [B, T, ...], images uint8 (or floats in [0, 1]), vectors float32.
      action: [B, T-1, A] or [B, T, A], floats; the last of T actions has no successor and is
        dropped.
      reward: [B, T-1] or [B, T], likewise; None: 0.
      terminal: [B] bool, whether an episode's last observation is terminal; None: none is.
      lead: ``ClockworkVAE.lead`` of the model that reads the records.
      stride: its ``stride``, K.
    Returns:
      [B, lead+T', ...], where T' is the first multiple of K that is at least T + K - 1, so that the
      tick that closes the last record's window is included. Steps after T are padding.
    Raises:
      UserError: if the arrays' shapes do not agree, or an image has other numbers.
    """
    for name, x in obs.items():
        _check_pixels(name, x)
    batch, steps = next(iter(obs.values())).shape[:2]
    shapes = {f"obs[{name!r}]": x.shape[:2] for name, x in obs.items()} | {
        "action": action.shape[:2],
        "reward": action.shape[:2] if reward is None else reward.shape,
    }
    for name, shape in shapes.items():
        lengths = (steps,) if name.startswith("obs") else (steps - 1, steps)
        if shape not in [(batch, length) for length in lengths]:
            told = " or ".join(str((batch, length)) for length in lengths)
            raise UserError(f"{name}: expected [B, T] = {told} first, received {tuple(shape)}")
    behind = -(-(steps + stride - 1) // stride) * stride - steps

    def placed(x: Given, before: int = 0, mode: str = "constant") -> Array:
        end = steps - before
        rest = [(0, 0)] * (x.ndim - 2)
        return jnp.pad(jnp.asarray(x)[:, :end], [(0, 0), (lead + before, behind), *rest], mode=mode)

    times = jnp.broadcast_to(jnp.arange(-lead, steps + behind), (batch, lead + steps + behind))
    over = jnp.zeros(batch, bool) if terminal is None else jnp.asarray(terminal)
    gained = jnp.zeros((batch, steps - 1)) if reward is None else reward
    real = ((times >= 0) & (times < steps)).astype(jnp.float32)
    return Records(
        obs={name: placed(x, mode="edge") for name, x in obs.items()},
        action=placed(action, before=1),
        action_mask=real,
        reward=placed(gained, before=1),
        terminal=(times == steps - 1) & over[:, None],
        is_first=times == 0,
        mask=real,
    )


def _check_pixels(name: str, x: Given) -> None:
    """Raise UserError for images that the encoder would not read as pixels; within a trace, where
    there are no numbers yet, by their type alone."""
    if x.ndim != 5 or x.dtype == jnp.uint8:
        return
    received = str(x.dtype)
    if jnp.issubdtype(x.dtype, jnp.floating):
        if isinstance(x, jax.core.Tracer) or not x.size or (0 <= x.min() and x.max() <= 1):
            return
        received = f"floats from {float(x.min()):g} to {float(x.max()):g}"
    raise UserError(
        f"obs[{name!r}]: expected images of uint8, or of floats from 0 to 1, received {received}; "
        "convert pixels from 0 to 255 by .astype(np.uint8)"
    )
