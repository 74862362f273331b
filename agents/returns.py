"""Rewards, continuations and returns over windows of the top clock. docs/design.md, Imagination.

With K = 1, everything here is Dreamer's, line for line (``tests/agents/test_returns.py``).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from worldmodel import clock


class WindowTargets(NamedTuple):
    """Targets of the heads on the top state, for the window that ends at each time."""

    reward: Array  # [T] R
    cont: Array  # [T] C
    valid: Array  # [T] 1 where the window is known in full


def window_targets(
    reward: Float[Array, " T"],
    terminal: Bool[Array, " T"],
    is_first: Bool[Array, " T"],
    mask: Float[Array, " T"],
    stride: int,
    discount: float,
) -> WindowTargets:
    """Window reward and continuation at every time t, for the transition from t-K to t.

    R_t = Σ_{i=1..K} γ^{i-1} (Π_{m=1..i-1} c_{t-K+m}) r_{t-K+i},   C_t = Π_{i=1..K} c_{t-K+i},
    c = 1 - terminal

    A window is valid if its first record is real, no episode starts in it, and every record is real
    or follows a terminal inside it. A time limit is not a terminal: c stays 1, and a window that
    it cuts short is not valid.

    Args:
      reward: r_t received on arriving at t, environment units.
      terminal: False at a time limit.
      is_first: True at the first record of an episode.
      mask: 1 real, 0 padding.
      stride: K, environment steps.
      discount: γ per environment step.
    """
    segment = clock.segments(is_first)

    def windows(x: Array) -> Float[Array, "T K"]:
        return clock.window_stack(x.astype(jnp.float32)[:, None], segment, stride)

    cont = 1.0 - windows(terminal & (mask > 0))
    alive = jnp.cumprod(
        jnp.concatenate([jnp.ones_like(cont[:, :1]), cont[:, :-1]], axis=1), axis=1
    )  # Π_{m<i} c
    powers = discount ** jnp.arange(stride, dtype=jnp.float32)
    real = windows(mask)
    known = (
        jnp.all((real > 0) | (alive == 0), axis=1)
        & (real[:, 0] > 0)
        & (windows(is_first).sum(1) == 0)
    )
    total = jnp.sum(powers[None] * alive * windows(reward), axis=1)
    return WindowTargets(total, jnp.prod(cont, axis=1), known.astype(jnp.float32))


def lambda_returns(
    reward: Float[Array, " H"],
    cont: Float[Array, " H"],
    value: Float[Array, " H1"],
    discount: float,
    lam: float,
) -> Float[Array, " H"]:
    """λ-returns of one imagined trajectory at the top clock. Source: DreamerV2 eq. 4, over windows.

    G_j = R_{j+1} + γ^K C_{j+1} [(1-λ) v_{j+1} + λ G_{j+1}],   G_H = v_H

    Args:
      reward: window rewards R_{j+1}, environment units, already discounted inside the window.
      cont: window continuation C_{j+1} in [0, 1]; 1 at a time limit.
      value: [H+1] the critic's v_j, same units as reward.
      discount: γ^K, per window.
      lam: λ in [0, 1], per window.
    Returns:
      [H] G_j.
    """

    def back(later: Array, step: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        r, c, v = step
        now = r + discount * c * ((1 - lam) * v + lam * later)
        return now, now

    _, returns = jax.lax.scan(back, value[-1], (reward, cont, value[1:]), reverse=True)
    return returns


class ObservedReturns(NamedTuple):
    """λ-returns at every tick of a recorded sequence."""

    returns: Array  # [n] G; the critic's value where the next window is unknown
    known: Array  # [n] 1 where it is known


def observed_returns(
    windows: WindowTargets, value: Float[Array, " n"], chains: int, discount: float, lam: float
) -> ObservedReturns:
    """λ-returns along recorded windows, under the actions that were taken.

    G_t = R_{t+K} + γ^K C_{t+K} [(1-λ) v_{t+K} + λ G_{t+K}],   v_t where that window is unknown

    Args:
      windows: of every tick, [n].
      value: the critic's v_t.
      chains: ticks between a window's start and its end: K where every phase ticks, else 1; n is a
        multiple of it.
      discount: γ^K, per window.
      lam: λ in [0, 1], per window.
    """
    later = jax.tree.map(lambda x: jnp.pad(x[chains:], (0, chains)), (*windows, value))

    def back(after: Array, step: tuple[Array, ...]) -> tuple[Array, Array]:
        r, c, known, v_next, v = step
        now = jnp.where(known > 0, r + discount * c * ((1 - lam) * v_next + lam * after), v)
        return now, now

    steps = jax.tree.map(lambda x: x.reshape(-1, chains), (*later, value))
    _, returns = jax.lax.scan(back, steps[-1][-1], steps, reverse=True)
    return ObservedReturns(returns.reshape(-1), later[2])


def path_weights(
    alive: Float[Array, ""], cont: Float[Array, " H"], discount: float
) -> Float[Array, " H"]:
    """Weight of each imagined state: the discounted probability that the path is still going there.

    w_j = alive · Π_{i=1..j} γ^K C_i,  j = 0 … H-1

    Args:
      alive: 1 where the start is a state to act in, 0 at a terminal one.
    """
    return alive * jnp.cumprod(jnp.concatenate([jnp.ones_like(cont[:1]), discount * cont[:-1]]))
