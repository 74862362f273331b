"""Clocks and time alignment: which frames and actions a tick has seen. CW-VAE §2, eq. 4.

In prose: docs/design.md, Clocks.

Arrival convention: record ``t`` holds the observation ``x_t``, the action ``a_t`` that led to
it, the reward ``r_t`` and ``terminal_t`` received on arriving at it. Level ``l`` ticks at
``t = j·K_l``. With ``K = 4``::

    time                 -3  -2  -1 | 0   1   2   3   4   5   6   7   8
    ticks of level 1                | *   *   *   *   *   *   *   *   *
    ticks of the top                | *               *               *
    causal    window of tick 4:           [a   a   a   a]               (x_1..x_4: up to the tick)
    lookahead window of tick 4:                       [a   a   a   a]   (x_4..x_7: the block ahead)
    lead-in              [.   .   .]                                    (fills the window of tick 0)

A causal sequence therefore carries ``K-1`` earlier records, the *lead-in*, before its own ``T``
records; times after the lead-in are *main* times. A *segment* is the part of one episode inside a
sequence and begins where ``is_first`` is set. Windows never cross segments.

Axes, here and in every docstring of the package: ``B`` batch, ``T`` time, ``H`` imagined ticks,
``L`` levels, ``K`` stride of the top level, ``A`` action, ``E`` embedding, ``D`` deterministic,
``S`` stochastic, ``N`` any batch.

Read next: ``level.py``, the recurrence that ticks.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from common import UserError

Window = Literal["causal", "lookahead"]


class Alignment(NamedTuple):
    """How one level's ticks lie in a sequence."""

    window: Window
    stride: int  # K_l, environment steps per tick
    lead: int  # records of the lead-in
    every: int  # main times from one tick to the next: K_l, or 1 for all phases (causal only)


class TickInputs(NamedTuple):
    """Inputs of one level's n ticks."""

    embed: Array  # [n, E]; causal with K_l > 1: [n, 2E], the newest frame and the window's sum
    action: Array  # [n, K_l·A] of one whole interval, in order
    restart: Array  # [n] bool: the level's state is reset to zeros before the tick


def check_strides(strides: Sequence[int]) -> tuple[int, ...]:
    """Return ``strides`` as a tuple of environment steps per tick, level 1 first.

    Raises:
      UserError: unless K_1 = 1, all strides are positive, and each divides the next.
    """
    strides = tuple(int(k) for k in strides)
    good = bool(strides) and strides[0] == 1 and all(k > 0 for k in strides)
    good = good and all(
        upper % lower == 0 for lower, upper in zip(strides, strides[1:], strict=False)
    )
    if not good:
        shown = " ".join(map(str, strides)) or "none"
        raise UserError(
            f"strides: expected 1 first and each dividing the next (such as 1 4 16), received "
            f"{shown}; give --strides in environment steps per tick, lowest level first"
        )
    return strides


def lead_in(strides: Sequence[int], window: Window) -> int:
    """Number of records before a sequence's own first one: K-1 if causal, 0 if looking ahead."""
    return strides[-1] - 1 if window == "causal" else 0


def segments(is_first: Bool[Array, " T"]) -> Int[Array, " T"]:
    """Number of the episode that each record belongs to, counted from the sequence's start."""
    return jnp.cumsum(is_first.astype(jnp.int32))


def last_real(mask: Float[Array, " T"]) -> Int[Array, " T"]:
    """Index of the newest real record at or before each time (0 before the first).

    Indexing with it makes padding repeat the last real record.
    """
    index = jnp.arange(mask.shape[0])
    return jnp.maximum(jax.lax.cummax(jnp.where(mask > 0, index, -1)), 0)


def begun(mask: Float[Array, " T"]) -> Bool[Array, " T"]:
    """True from the first real record on; everything before it is unknown and counts as zeros."""
    return jnp.cumsum(mask) > 0


def shift(x: Array, steps: int, fill: float) -> Array:
    """``y_t = x_{t-steps}``, or ``fill`` if t-steps lies before the sequence. x: [T, ...]."""
    if steps == 0:
        return x
    pad = jnp.full((min(steps, x.shape[0]), *x.shape[1:]), fill, x.dtype)
    return jnp.concatenate([pad, x[: max(x.shape[0] - steps, 0)]])


def earlier(x: Float[Array, "T E"], segment: Int[Array, " T"], steps: int) -> Float[Array, "T E"]:
    """``y_t = x_{t-steps}``, or zeros if t-steps is in another segment or before the sequence."""
    same = shift(segment, steps, -1) == segment
    return jnp.where(same[:, None], shift(x, steps, 0.0), 0.0)


def window_sum(
    x: Float[Array, "T E"], segment: Int[Array, " T"], width: int
) -> Float[Array, "T E"]:
    """Sum over the causal window of each time, within its segment. CW-VAE eq. 4, at every phase.

    y_t = Σ_{i=0..width-1} [segment_{t-i} = segment_t] x_{t-i}

    DEVIATION(adr-1): computed by doubling, not as differences of a cumulative sum, whose rounding
    would let a frame affect windows that do not contain it. Costs log2(width) additions.
    """
    total, offset = jnp.zeros_like(x), 0
    power, size = x, 1  # power_t sums the `size` records that end at t
    while True:
        if width & size:
            total, offset = total + earlier(power, segment, offset), offset + size
        if 2 * size > width:
            return total
        power, size = power + earlier(power, segment, size), 2 * size


def window_stack(
    x: Float[Array, "T A"], segment: Int[Array, " T"], width: int
) -> Float[Array, "T W"]:
    """The causal window of each time, in order: ``[x_{t-width+1} … x_t]``, flat, W = width·A.

    Records of other segments or before the sequence are zeros.
    """
    return jnp.concatenate(
        [earlier(x, segment, steps) for steps in reversed(range(width))], axis=-1
    )


def pad_end(x: Array, stride: int) -> Array:
    """Pad the end with zeros to a multiple of ``stride``. x: [T, ...]."""
    pad = -x.shape[0] % stride
    return jnp.concatenate([x, jnp.zeros((pad, *x.shape[1:]), x.dtype)]) if pad else x


def restarts(segment: Int[Array, " T"], stride: int, lead: int) -> Bool[Array, " n"]:
    """True at every main time whose tick restarts from zeros, [T' - lead].

    A tick restarts if no record of its segment lies ``stride`` steps earlier.
    """
    return (shift(segment, stride, -1) != segment)[lead:]


def tick_inputs(
    frame: Float[Array, "T E"],
    action: Float[Array, "T A"],
    is_first: Bool[Array, " T"],
    mask: Float[Array, " T"],
    alignment: Alignment,
) -> TickInputs:
    """Windows of one sequence (lead-in included) at the ticks of one level.

    Args:
      frame: embeddings of single frames.
      action: the action that led to each record; 0 at an episode's first record.
      is_first: starts of episodes, at multiples of the top stride after the lead-in.
      mask: 1 real, 0 padding. Padding adds no frame to any window; its actions count only if a
        causal window ends in it (adr-2).
      alignment: how the level's ticks lie in the sequence.
    """
    inputs = causal_inputs if alignment.window == "causal" else lookahead_inputs
    return inputs(frame, action, segments(is_first), mask, alignment)


def causal_inputs(
    frame: Array, action: Array, segment: Array, mask: Array, alignment: Alignment
) -> TickInputs:
    """Frames and actions t-K_l+1 … t; the newest frame also separately, as the sum has no order."""
    _, stride, lead, every = alignment
    embed = frame[last_real(mask)]
    if stride > 1:
        real = jnp.where(mask[:, None] > 0, frame, 0.0)
        embed = jnp.concatenate([embed, window_sum(real, segment, stride)], axis=-1)
    stacked = window_stack(jnp.where(begun(mask)[:, None], action, 0.0), segment, stride)
    restart = restarts(segment, stride, lead)
    return TickInputs(embed[lead::every], stacked[lead::every], restart[::every])


def lookahead_inputs(
    frame: Array, action: Array, segment: Array, mask: Array, alignment: Alignment
) -> TickInputs:
    """Frames and actions t … t+K_l-1; zeros after the end of the sequence and in padding."""
    stride = alignment.stride
    padded = jnp.pad(segment, (0, -len(segment) % stride), mode="edge").reshape(-1, stride)
    same = (padded == padded[:, -1:])[..., None]  # of the segment of the block's last record

    def blocks(x: Array) -> Array:
        x = pad_end(jnp.where(mask[:, None] > 0, x, 0.0), stride)
        return jnp.where(same, x.reshape(*padded.shape, x.shape[-1]), 0.0)

    stacked = blocks(action).reshape(len(padded), stride * action.shape[-1])
    return TickInputs(blocks(frame).sum(axis=1), stacked, restarts(segment, stride, 0)[::stride])


def to_phases(x: Array, stride: int) -> Array:
    """[T, ...] to the chains of all phases, [K, T/K, ...]: chain p ticks at p, p+K, p+2K, …"""
    return jnp.moveaxis(x.reshape(-1, stride, *x.shape[1:]), 0, 1)


def from_phases(x: Array) -> Array:
    """Inverse of ``to_phases``: [K, T/K, ...] to [T, ...]."""
    return jnp.moveaxis(x, 0, 1).reshape(-1, *x.shape[2:])


def check_alignment(is_first: Bool[np.ndarray, "B T"], stride: int, lead: int) -> None:
    """Check that no episode starts inside a top-level window; for concrete arrays, outside JAX.

    Raises:
      UserError: if ``is_first`` is set at a main time that is not a multiple of the top stride.
    """
    rows, times = np.nonzero(is_first[:, lead:])
    bad = [(int(b), int(t)) for b, t in zip(rows, times, strict=True) if t % stride]
    if bad:
        raise UserError(
            f"is_first: expected episodes to start at multiples of the top stride {stride} after "
            f"the lead-in of {lead}, received (row, time) {bad[:4]}; pad the episode before to a "
            f"multiple of {stride} with mask 0"
        )


def ended(terminal: Bool[Array, " T"], segment: Int[Array, " T"]) -> Bool[Array, " T"]:
    """True after a terminal record of the same segment: the absorbing steps."""
    before = jnp.cumsum(terminal.astype(jnp.int32)) - terminal  # terminals before each record
    starts = shift(segment, 1, -1) != segment
    return before > jax.lax.cummax(jnp.where(starts, before, 0))


def tick_mask(
    mask: Float[Array, " T"], terminal: Bool[Array, " T"], is_first: Bool[Array, " T"], stride: int
) -> Float[Array, " T"]:
    """1 where a causal tick at that time counts as data, [T].

    A tick counts if its own record is real or if its window contains a terminal. The absorbing
    steps that complete such a window are known (no reward, no continuation), so the model learns
    from the tick that ends it; padding after a time limit is unknown and never counts. Equals
    ``mask`` at stride 1. See adr-2.
    """
    segment, terminal = segments(is_first), terminal & (mask > 0)
    begins_real = (shift(mask, stride - 1, 0.0) > 0) & (shift(segment, stride - 1, -1) == segment)
    return jnp.maximum(mask, (ended(terminal, segment) & begins_real).astype(mask.dtype))
