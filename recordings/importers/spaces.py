"""Gymnasium spaces of recorded data: actions as one flat vector, observations by name.

The same layout that the agent gives its own: actions as `agents/factors.py` encodes them (a Box
scaled to [-1, 1], a Discrete, each entry of a MultiDiscrete and each bit of a MultiBinary one-hot,
Dict and Tuple concatenated), observations as `envs/spaces.py` names and shapes them. This package
imports neither; `tests/recordings/test_recorded_spaces.py` holds them equal. Here everything
has a leading axis of time.
"""

from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from recordings.importers.images import Look, fit_images

_MIN_EDGE = 8  # pixels; smaller uint8 matrices are vectors


def flat_actions(space: gymnasium.Space[Any], values: Any) -> np.ndarray:
    """Actions of a space as float32 [T, A]; those outside a Box are clipped to it.

    Args:
      space: Box with finite bounds, Discrete, MultiDiscrete, MultiBinary, or Dict or Tuple of them.
      values: arrays [T, ...], nested as the space is.
    Raises:
      ValueError: on another space, or a value that the space does not contain.
    """
    return np.concatenate(list(_actions(space, values)), axis=1).astype(np.float32)


def flat_observations(
    space: gymnasium.Space[Any], values: Any, look: Look
) -> dict[str, np.ndarray]:
    """Observations by name: images uint8 [T, S, S, C], everything else float32 [T, n].

    Args:
      space: Box, Discrete, MultiDiscrete, MultiBinary, or Dict or Tuple of them.
      values: arrays [T, ...], nested as the space is.
      look: how images are made to fit.
    Raises:
      ValueError: on another space, or values of another shape.
    """
    found: dict[str, np.ndarray] = {}
    for path, leaf, value in _leaves(space, values, ()):
        array = _observation(leaf, np.asarray(value), look)
        bare = "image" if array.ndim == 4 else "observation"
        found[".".join(part.replace("/", ".") for part in path) or bare] = array
    return found


def one_hot(index: np.ndarray, size: int) -> np.ndarray:
    """Integers [T] from 0 to size-1 as float32 [T, size]; ValueError for another value."""
    if index.size and not (np.issubdtype(index.dtype, np.integer) or index.dtype == bool):
        raise ValueError(f"choices of {index.dtype}, expected integers")
    if index.size and not (0 <= index.min() and index.max() < size):
        raise ValueError(f"choices from {index.min()} to {index.max()}, expected 0 to {size - 1}")
    return np.eye(size, dtype=np.float32)[index.astype(np.int64)]


def _actions(space: gymnasium.Space[Any], values: Any) -> Iterator[np.ndarray]:
    """Pieces [T, n] of the flat vector, in order."""
    match space:
        case spaces.Box():
            yield _scaled(space, np.asarray(values))
        case spaces.Discrete() | spaces.MultiDiscrete() | spaces.MultiBinary():
            yield _choices(space, np.asarray(values))
        case spaces.Dict():
            for name, part in space.spaces.items():
                yield from _actions(part, values[name])
        case spaces.Tuple():
            for part, value in zip(space.spaces, values, strict=True):
                yield from _actions(part, value)
        case _:
            raise ValueError(f"actions of {space}, expected Box, Discrete, Dict or the like")


def _observation(space: gymnasium.Space[Any], values: np.ndarray, look: Look) -> np.ndarray:
    """One leaf, [T, ...]."""
    if values.shape[1:] != space.shape:
        raise ValueError(f"observations of shape {values.shape[1:]}, expected {space.shape}")
    match space:
        case spaces.Box() if _is_image(space):
            return fit_images(_channels_last(values), look)
        case spaces.Box() | spaces.MultiBinary():
            return values.reshape(len(values), -1).astype(np.float32)
        case spaces.Discrete() | spaces.MultiDiscrete():
            return _choices(space, values)
        case _:
            raise ValueError(f"observations of {space}, expected Box, Discrete, Dict or the like")


def _leaves(
    space: gymnasium.Space[Any], values: Any, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], gymnasium.Space[Any], Any]]:
    """(names on the way, leaf space, its values)."""
    if isinstance(space, spaces.Dict):
        for name, part in space.spaces.items():
            yield from _leaves(part, values[name], (*path, str(name)))
    elif isinstance(space, spaces.Tuple):
        for number, (part, value) in enumerate(zip(space.spaces, values, strict=True)):
            yield from _leaves(part, value, (*path, str(number)))
    else:
        yield path, space, values


def _choices(
    space: spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary, values: np.ndarray
) -> np.ndarray:
    """One-hot vectors of all the choices, side by side: [T, sum of their sizes]."""
    if isinstance(space, spaces.MultiBinary):
        sizes, start = np.full(int(np.prod(space.shape)), 2), np.zeros(1, np.int64)
        values = values.astype(np.int64)
    elif isinstance(space, spaces.Discrete):
        sizes, start = np.array([space.n]), np.array([space.start])
    else:
        sizes, start = space.nvec.ravel(), np.asarray(space.start).ravel()
    columns = values.reshape(len(values), -1) - start.astype(values.dtype)
    pieces = [one_hot(x, int(n)) for x, n in zip(columns.T, sizes, strict=True)]
    return np.concatenate(pieces, axis=1)


def _scaled(space: spaces.Box, values: np.ndarray) -> np.ndarray:
    """[T, n] scaled to [-1, 1]."""
    if not (np.all(np.isfinite(space.low)) and np.all(np.isfinite(space.high))):
        raise ValueError(f"actions of {space}, expected finite bounds")
    low, high = space.low.ravel().astype(np.float64), space.high.ravel().astype(np.float64)
    width = np.where(high > low, high - low, 1.0)
    flat = np.clip(values.reshape(len(values), -1).astype(np.float64), low, high)
    return np.asarray(2 * (flat - low) / width - 1)


def _is_image(space: spaces.Box) -> bool:
    """uint8 (H, W), (H, W, C) or (C, H, W), at least 8 pixels along an edge."""
    if space.dtype != np.uint8 or len(space.shape) not in (2, 3):
        return False
    channels_last = len(space.shape) == 2 or space.shape[0] >= space.shape[2]
    edges = space.shape[:2] if channels_last else space.shape[1:]
    return min(edges) >= _MIN_EDGE


def _channels_last(values: np.ndarray) -> np.ndarray:
    """[T, H, W], [T, H, W, C] or [T, C, H, W] as [T, H, W, C]."""
    if values.ndim == 3:
        return values[..., None]
    return np.moveaxis(values, 1, -1) if values.shape[1] < values.shape[3] else values
