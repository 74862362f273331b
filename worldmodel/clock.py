"""Clocks and time alignment: which frames and actions a tick of a level has seen. DESIGN §2; CW-VAE §2, eq. 4.

Arrival convention: record ``t`` holds the observation ``x_t``, the action ``a_t`` that led to it, the reward
``r_t`` and ``terminal_t`` received on arriving at it. Level ``l`` ticks at ``t = j·K_l``. With ``K = 4``::

    time                 -3  -2  -1 | 0   1   2   3   4   5   6   7   8
    ticks of level 1                | *   *   *   *   *   *   *   *   *
    ticks of the top                | *               *               *
    causal    window of tick 4:           [a   a   a   a]               (x_1..x_4: nothing later than the tick)
    lookahead window of tick 4:                       [a   a   a   a]   (x_4..x_7: the block that it explains)
    lead-in              [.   .   .]                                    (fills the window of tick 0 where it exists)

A causal sequence therefore carries ``K-1`` earlier records, the *lead-in*, before its ``T`` own. A *segment* is one
episode inside a sequence; ``is_first`` starts one. Windows never cross segments.

Axes, here and in every docstring of the package: ``B`` batch, ``T`` time, ``H`` imagined ticks, ``L`` levels,
``K`` stride of the top level, ``A`` action, ``E`` embedding, ``D`` deterministic, ``S`` stochastic, ``N`` any batch.

Read next: ``level.py``, the recurrence that ticks.
"""

from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

Window = Literal["causal", "lookahead"]


def check_strides(strides: Sequence[int]) -> tuple[int, ...]:
    """Returns ``strides`` as a tuple of environment steps per tick, level 1 first.

    Raises:
      ValueError: unless K_1 = 1, all are positive, and each divides the next.
    """
    strides = tuple(int(k) for k in strides)
    good = bool(strides) and strides[0] == 1 and all(k > 0 for k in strides)
    good = good and all(
        upper % lower == 0 for lower, upper in zip(strides, strides[1:], strict=False)
    )
    if not good:
        shown = " ".join(map(str, strides)) or "none"
        raise ValueError(
            f"strides: expected 1 first and each dividing the next (such as 1 4 16), received {shown}; "
            "give --strides in environment steps per tick, lowest level first"
        )
    return strides


def lead_in(strides: Sequence[int], window: Window) -> int:
    """Records that a sequence carries before its own first one: K-1 when causal, none when looking ahead."""
    return strides[-1] - 1 if window == "causal" else 0


def segments(is_first: Bool[Array, " T"]) -> Int[Array, " T"]:
    """Number of the episode that each record belongs to, counted from the sequence's start."""
    return jnp.cumsum(is_first.astype(jnp.int32))


def last_real(mask: Float[Array, " T"]) -> Int[Array, " T"]:
    """Index of the newest real record at or before each time (0 before the first): padding repeats it."""
    index = jnp.arange(mask.shape[0])
    return jnp.maximum(jax.lax.cummax(jnp.where(mask > 0, index, -1)), 0)


def shift(x: Array, steps: int, fill: float) -> Array:
    """``y_t = x_{t-steps}``, ``fill`` where that lies before the sequence. x: [T, ...]."""
    if steps == 0:
        return x
    pad = jnp.full((min(steps, x.shape[0]), *x.shape[1:]), fill, x.dtype)
    return jnp.concatenate([pad, x[: max(x.shape[0] - steps, 0)]])


def window_sum(
    x: Float[Array, "T E"], segment: Int[Array, " T"], width: int
) -> Float[Array, "T E"]:
    """Sum over the causal window of every time, inside its segment. Source: CW-VAE eq. 4, at every phase.

    y_t = Σ_{i=0..width-1} [segment_{t-i} = segment_t] x_{t-i}

    DEVIATION(adr-1): by doubling, not by differences of a cumulative sum, whose rounding would let a frame touch
    windows that do not hold it. Costs log2(width) additions.
    """

    def earlier(y: Array, steps: int) -> Array:
        same = shift(segment, steps, -1) == segment
        return jnp.where(same[:, None], shift(y, steps, 0.0), 0.0)

    total, offset = jnp.zeros_like(x), 0
    power, size = x, 1  # power_t sums the `size` records that end at t
    while True:
        if width & size:
            total, offset = total + earlier(power, offset), offset + size
        if 2 * size > width:
            return total
        power, size = power + earlier(power, size), 2 * size


def window_stack(
    x: Float[Array, "T A"], segment: Int[Array, " T"], width: int
) -> Float[Array, "T W"]:
    """The causal window of every time, in order and flattened: ``[x_{t-width+1} … x_t]``, W = width·A.

    Records of other segments, or before the sequence, are zeros.
    """

    def at(steps: int) -> Array:
        same = shift(segment, steps, -1) == segment
        return jnp.where(same[:, None], shift(x, steps, 0.0), 0.0)

    return jnp.concatenate([at(steps) for steps in reversed(range(width))], axis=-1)


def ticks(x: Array, stride: int, lead: int, window: Window) -> Array:
    """Picks from causal windows of every time, [T', ...], the ones of a level's ticks, [T/K_l, ...].

    T' = lead + T. Looking ahead, the window of tick t is the causal window that ends at t+K_l-1; a last window that
    the sequence cuts short is closed by ``pad_end`` first.
    """
    return x[lead::stride] if window == "causal" else x[stride - 1 :: stride]


def pad_end(x: Array, stride: int) -> Array:
    """Zeros after the end up to a multiple of ``stride``. x: [T, ...]."""
    pad = -x.shape[0] % stride
    return jnp.concatenate([x, jnp.zeros((pad, *x.shape[1:]), x.dtype)]) if pad else x


def restarts(segment: Int[Array, " T"], stride: int, lead: int) -> Bool[Array, " n"]:
    """True at every main time whose tick starts anew: no record of its segment ``stride`` earlier. [T] of T' = lead+T."""
    return (shift(segment, stride, -1) != segment)[lead:]


def to_phases(x: Array, stride: int) -> Array:
    """[T, ...] to the chains of all phases, [K, T/K, ...]: chain p ticks at p, p+K, p+2K, …"""
    return jnp.moveaxis(x.reshape(-1, stride, *x.shape[1:]), 0, 1)


def from_phases(x: Array) -> Array:
    """Inverse of ``to_phases``: [K, T/K, ...] to [T, ...]."""
    return jnp.moveaxis(x, 0, 1).reshape(-1, *x.shape[2:])


def check_alignment(is_first: Bool[Array, "B T"], stride: int, lead: int) -> None:
    """Checks, on concrete arrays, that no episode starts inside a top-level window of the sequence's own records.

    Raises:
      ValueError: where ``is_first`` is set at a time after the lead-in that is no multiple of the top stride.
    """
    rows, times = jnp.nonzero(is_first[:, lead:])
    bad = [(int(b), int(t)) for b, t in zip(rows, times, strict=True) if t % stride]
    if bad:
        raise ValueError(
            f"is_first: expected episodes to start at multiples of the top stride {stride} after the lead-in of {lead}, "
            f"received (row, time) {bad[:4]}; pad the episode before to a multiple of {stride} with mask 0"
        )


def ended(terminal: Bool[Array, " T"], segment: Int[Array, " T"]) -> Bool[Array, " T"]:
    """True after a terminal record of the same segment: the absorbing steps, where nothing more is received."""
    count = jnp.cumsum(terminal.astype(jnp.int32))
    start = jnp.where(
        shift(segment, 1, -1) != segment, count - terminal, 0
    )  # terminals before the segment
    return count - terminal - jax.lax.cummax(start) > 0


def tick_mask(
    mask: Float[Array, " T"], terminal: Bool[Array, " T"], is_first: Bool[Array, " T"], stride: int
) -> Float[Array, " T"]:
    """1 where a tick at that time is data: its record is real, or it closes the window in which a terminal fell.

    The absorbing steps that complete a terminal's window are known (no reward, no continuation), so the tick that ends
    it is learned from; padding after a time limit is not known, and never counts. Equals ``mask`` at stride 1.
    """
    segment = segments(is_first)
    begins_real = (shift(mask, stride - 1, 0.0) > 0) & (shift(segment, stride - 1, -1) == segment)
    return jnp.maximum(mask, (ended(terminal, segment) & begins_real).astype(mask.dtype))
