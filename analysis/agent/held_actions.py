"""Primitive actions to hold in the futures that ``what_if.py`` imagines, named by what they move.

Read next: ``factors.py``, a space as one flat vector.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium import spaces

from agents.actions import ActionCodec

Dimensions = Mapping[str, Sequence[str]]


class Held(NamedTuple):
    """A named primitive action to be held."""

    name: str
    flat: np.ndarray  # [A]


def held_actions(codec: ActionCodec, most: int, dimensions: Dimensions | None = None) -> list[Held]:
    """Primitive actions far apart: all parts at rest, then one independent part moved at a time.

    At rest, a dimension of a Box has its value nearest to 0, and a choice its first class. A
    dimension is moved to either bound, a choice to each of its other classes. The first move of
    every part precedes the second move of any part.

    Args:
      most: maximum number of actions, taken in that order.
      dimensions: names of a Box's dimensions, by the Box's name; without names they are numbered.
    """
    parts = list(_parts(codec.space, "", dimensions or {}))
    rest = np.concatenate([part[0].flat for part in parts])
    ends = np.cumsum([len(part[0].flat) for part in parts])
    found = [Held(parts[0][0].name if len(parts) == 1 else "at rest", rest)]
    ranks = range(1, max(map(len, parts)))
    for rank, (part, end) in product(ranks, list(zip(parts, ends, strict=True))):
        if rank < len(part):
            name, piece = part[rank]
            flat = rest.copy()
            flat[end - len(piece) : end] = piece
            found.append(Held(name, flat))
    return found[:most]


def _parts(space: gymnasium.Space[Any], name: str, dimensions: Dimensions) -> Iterator[list[Held]]:
    """The independent parts of a space, in the order of its flat vector: at rest, then moved."""
    match space:
        case spaces.Dict() | spaces.Tuple():
            inside = space.spaces
            named = inside.items() if isinstance(inside, dict) else enumerate(inside)
            for key, part in named:
                yield from _parts(part, f"{name}.{key}" if name else str(key), dimensions)
        case spaces.Box():
            yield from _dimensions(space, name, dimensions.get(name, ()))
        case spaces.Discrete():
            yield _classes(name, int(space.start), int(space.n))
        case spaces.MultiDiscrete() | spaces.MultiBinary():
            sizes = np.atleast_1d(getattr(space, "nvec", np.full(space.shape, 2))).ravel()
            starts = np.broadcast_to(getattr(space, "start", 0), space.shape).ravel()
            for i, (start, size) in enumerate(zip(starts, sizes, strict=True)):
                yield _classes(f"{name or 'action'}[{i}]", int(start), int(size))


def _dimensions(space: spaces.Box, name: str, names: Sequence[str]) -> Iterator[list[Held]]:
    """Per dimension of a Box: value nearest to 0, highest and lowest value, scaled to [-1, 1]."""
    low, high = (x.ravel().astype(np.float64) for x in (space.low, space.high))
    for i, (a, b) in enumerate(zip(low, high, strict=True)):
        label = f"{name or 'action'}" + (f"[{i}]" if len(low) > 1 else "")
        label = f"{name} {names[i]}" if i < len(names) else label
        values = list(dict.fromkeys([float(np.clip(0, a, b)), float(b), float(a)]))
        width = b - a if b > a else 1.0
        yield [Held(f"{label} = {v:g}", np.array([2 * (v - a) / width - 1])) for v in values]


def _classes(name: str, first: int, count: int) -> list[Held]:
    """The classes of a choice; a named choice between 0 and 1 is shown as a key."""
    names = [f"{name or 'action'} = {first + n}" for n in range(count)]
    if name and (first, count) == (0, 2):
        names = [f"no {name}", name]
    return [Held(text, np.eye(count)[n]) for n, text in enumerate(names)]
