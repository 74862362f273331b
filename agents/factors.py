"""A Gymnasium action space as a list of factors, and its actions as flat vectors.

Each Box is one continuous factor scaled to [-1, 1]; each Discrete, each entry of a MultiDiscrete
and each bit of a MultiBinary is a one-hot factor. Dict (nested, keys sorted as Gymnasium sorts
them) and Tuple are concatenated. Read next: ``actions.py``, distributions over them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gymnasium
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jaxtyping import Array

from common import UserError
from envs.spaces import one_hots


@dataclass(frozen=True)
class Factor:
    """One independent part of a primitive action."""

    size: int  # floats in the flat action: dimensions (continuous) or classes (discrete)
    discrete: bool

    @property
    def outputs(self) -> int:
        """Number of parameters of its distribution: mean and spread, or logits."""
        return self.size if self.discrete else 2 * self.size

    @property
    def primitives(self) -> int:
        """Independent random numbers in it: dimensions, or one choice."""
        return 1 if self.discrete else self.size


def factors(space: gymnasium.Space[Any]) -> Iterator[Factor]:
    """The factors of a space, in the order of its flat vector.

    Raises:
      UserError: on a Box without finite bounds or a space of an unsupported kind.
    """
    match space:
        case spaces.Box():
            yield Factor(len(_bounds(space)[0]), discrete=False)
        case spaces.Discrete():
            yield Factor(int(space.n), discrete=True)
        case spaces.MultiDiscrete():
            yield from (Factor(int(n), discrete=True) for n in space.nvec.ravel())
        case spaces.MultiBinary():
            yield from (Factor(2, discrete=True) for _ in range(int(np.prod(space.shape))))
        case spaces.Dict():
            for part in space.spaces.values():
                yield from factors(part)
        case spaces.Tuple():
            for part in space.spaces:
                yield from factors(part)
        case _:
            raise _unknown(space)


def flatten(space: gymnasium.Space[Any], action: Any) -> np.ndarray:
    """Actions of a space as flat vectors, float32 [..., A]; those outside a Box are clipped to it.

    Args:
      action: one action or a series of them: arrays nested like the space; axes before the space's
        own, such as time, are kept.
    Raises:
      UserError: on a choice that is not in the space.
    """
    return np.concatenate(list(_encode(space, action)), axis=-1, dtype=np.float32)


def _encode(space: gymnasium.Space[Any], action: Any) -> Iterator[np.ndarray]:
    """Pieces [..., n] of the flat vector, in the order of ``factors``."""
    match space:
        case spaces.Box():
            low, width = _bounds(space)
            value = np.asarray(action, np.float64)
            value = value.reshape(*_lead(space, value), len(low))
            yield 2 * (np.clip(value, low, space.high.ravel()) - low) / width - 1
        case spaces.Discrete() | spaces.MultiDiscrete():
            value = np.asarray(action)
            start, sizes = np.ravel(space.start), np.ravel(_classes(space))
            yield one_hots(value, start, sizes, _lead(space, value))
        case spaces.MultiBinary():
            value = np.asarray(action).astype(np.int64)
            sizes = np.full(int(np.prod(space.shape)), 2)
            yield one_hots(value, np.zeros_like(sizes), sizes, _lead(space, value))
        case spaces.Dict():
            for name, part in space.spaces.items():
                yield from _encode(part, action[name])
        case spaces.Tuple():
            for part, value in zip(space.spaces, action, strict=True):
                yield from _encode(part, value)
        case _:
            raise _unknown(space)


def _lead(space: gymnasium.Space[Any], value: np.ndarray) -> tuple[int, ...]:
    """Axes of a value before those of its space."""
    return value.shape[: value.ndim - len(space.shape or ())]


def _classes(space: spaces.Discrete | spaces.MultiDiscrete) -> np.ndarray:
    """Number of classes of each choice."""
    return np.asarray(space.n if isinstance(space, spaces.Discrete) else space.nvec)


def decode(space: gymnasium.Space[Any], flat: np.ndarray) -> tuple[Any, int]:
    """The action at the start of ``flat``, and the number of floats it takes."""
    match space:
        case spaces.Box():
            size = int(np.prod(space.shape))
            return _decode_box(space, flat[:size]), size
        case spaces.Discrete():
            return space.start + np.argmax(flat[: space.n]).astype(space.dtype), int(space.n)
        case spaces.MultiDiscrete():
            ends = np.cumsum(space.nvec.ravel())
            picks = [np.argmax(piece) for piece in np.split(flat[: ends[-1]], ends[:-1])]
            value = np.reshape(picks, space.nvec.shape) + space.start
            return value.astype(space.dtype), int(ends[-1])
        case spaces.MultiBinary():
            size = 2 * int(np.prod(space.shape))
            bits = np.argmax(flat[:size].reshape(-1, 2), axis=-1)
            return bits.reshape(space.shape).astype(space.dtype), size
        case spaces.Dict():
            parts, used = _decode_all(list(space.spaces.values()), flat)
            return dict(zip(space.spaces, parts, strict=True)), used
        case spaces.Tuple():
            parts, used = _decode_all(list(space.spaces), flat)
            return tuple(parts), used
        case _:
            raise _unknown(space)


def decode_array(space: gymnasium.Space[Any], flat: Array) -> Array:
    """Actions of a space from flat vectors [..., A], as ``decode``, in JAX.

    Raises:
      UserError: for a space that is neither a Box of floats nor Discrete.
    """
    if isinstance(space, spaces.Discrete):
        return int(space.start) + jnp.argmax(flat[..., : int(space.n)], axis=-1)
    if not isinstance(space, spaces.Box) or not np.issubdtype(space.dtype, np.floating):
        raise UserError(
            f"action space: expected a Box of floats or Discrete for an environment in pure JAX, "
            f"received {space}"
        )
    part = flat[..., : int(np.prod(space.shape))]
    low, width = (jnp.broadcast_to(x.astype(np.float32), part.shape) for x in _bounds(space))
    value = low + (jnp.clip(part, -1.0, 1.0) + 1) / 2 * width
    return value.reshape(*flat.shape[:-1], *space.shape)


def _decode_all(parts: list[gymnasium.Space[Any]], flat: np.ndarray) -> tuple[list[Any], int]:
    values, used = [], 0
    for part in parts:
        value, size = decode(part, flat[used:])
        values.append(value)
        used += size
    return values, used


def _decode_box(space: spaces.Box, flat: np.ndarray) -> np.ndarray:
    """An action of a Box: clipped to the space, rounded if its numbers are integers."""
    low, width = _bounds(space)
    value = (low + (np.clip(flat.astype(np.float64), -1, 1) + 1) / 2 * width).reshape(space.shape)
    if np.issubdtype(space.dtype, np.integer):
        value = np.rint(value)
    return np.asarray(np.clip(value, space.low, space.high), space.dtype)


def _bounds(space: spaces.Box) -> tuple[np.ndarray, np.ndarray]:
    """Lowest value, and width (1 where there is only one value), float64, flattened.

    Raises:
      UserError: if a bound is not finite.
    """
    if not (np.all(np.isfinite(space.low)) and np.all(np.isfinite(space.high))):
        raise UserError(
            f"action space: expected a Box with finite bounds, received {space}; declare the "
            "bounds of what is useful, or have the environment made wrapped: gymnasium.wrappers."
            f"TransformAction(env, lambda action: action, gymnasium.spaces.Box(-1.0, 1.0, "
            f"{space.shape}))"
        )
    low, high = space.low.ravel().astype(np.float64), space.high.ravel().astype(np.float64)
    return low, np.where(high > low, high - low, 1.0)


def _unknown(space: gymnasium.Space[Any]) -> UserError:
    return UserError(
        "action space: expected Box, Discrete, MultiDiscrete, MultiBinary, Dict or Tuple, "
        f"received {space}; wrap the environment so that its actions are one of these"
    )
