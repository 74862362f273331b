"""Canonical observations: any Gymnasium space as a flat Dict of images and float vectors.

Whatever the environment, the agent sees data of one form: a flat Dict of name -> Box, where an
image is uint8 (H, W, C) of one size and everything else is a float32 vector (n,):

| space | becomes |
|---|---|
| Box of 2 to 4 axes that is a picture, see `is_image` | image, made square and resized |
| any other Box | float32 (n,), flattened; a scalar is (1,) |
| Discrete, MultiDiscrete | one-hot, concatenated |
| MultiBinary | float32 (n,) of 0 and 1 |
| Dict, Tuple | their parts, named by the path with dots: `compass.angle`, `0` |
| Text | left out, and reported |

The rows and columns of a picture are its two longest neighbouring axes; all other axes are
channels: colours, first or last, or stacked frames. A space that is not a Dict or Tuple is named
`image` or `observation`. Read next: `wrappers.py`, `vector.py`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from fnmatch import fnmatch
from typing import Any

import numpy as np
from gymnasium import spaces

from common import UserError
from common.images import FIT, Fit
from envs.images import described, fitted

STRETCHED = "stretched to 0..255"  # in the description of such a picture
_MIN_IMAGE_EDGE = 8  # pixels; smaller arrays are vectors
_MOST_CHANNELS = 32  # with more, they are features rather than the colours of a few frames


class Part(ABC):
    """One entry of a canonical observation."""

    space: spaces.Box[Any]
    described: str  # a description in a few words

    def __init__(self, source: spaces.Space[Any]) -> None:
        self.source = source

    def lead(self, value: np.ndarray) -> tuple[int, ...]:
        """The leading axes of a value, before those of the source space, such as time."""
        return value.shape[: value.ndim - len(self.source.shape or ())]

    @abstractmethod
    def __call__(self, value: Any) -> np.ndarray:
        """Convert a value of the original space to a canonical array in this part's space.

        Leading axes are kept.
        """


class ImagePart(Part):
    """An image: channels last, made square and resized; numbers from 0 to less than 255 are
    stretched to 0..255."""

    def __init__(self, source: spaces.Box, size: int, fit: Fit) -> None:
        """Plan the conversion of `source` into uint8 (size, size, C)."""
        super().__init__(source)
        self.size, self.fit = size, fit
        most = float(source.high.max())
        bounded = np.all(source.low == 0) and np.all(source.high == most)
        self.scale = 255 / most if bounded and 0 < most < 255 else 1.0
        height, width, channels = picture_shape(source.shape)
        self.space = spaces.Box(0, 255, (size, size, channels), np.uint8)
        said = [f"picture, {height} x {width} pixels, channels: {channels}"]
        said += [described(height, width, size, fit)]
        if self.scale != 1:
            floats = source.dtype.kind == "f"
            said += ["of floats in [0, 1]" if floats else f"0..{most:g} {STRETCHED}"]
        self.described = ", ".join(filter(None, said))

    def __call__(self, value: Any) -> np.ndarray:
        """Images in the source's layout -> uint8 (..., size, size, C)."""
        image = np.asarray(value)
        axes = len(self.source.shape or ())
        image = channels_last(image, axes)
        if image.dtype != np.uint8 or self.scale != 1:
            image = np.clip(np.rint(image * self.scale), 0, 255).astype(np.uint8)
        return fitted(image, self.size, self.fit)


class VectorPart(Part):
    """Numbers, as float32 (n,)."""

    def __init__(self, source: spaces.Box | spaces.MultiBinary) -> None:
        """Plan the flattening of `source`; its bounds are kept."""
        super().__init__(source)
        if isinstance(source, spaces.Box):
            low, high = (_finite_or_inf(bound) for bound in (source.low, source.high))
            self.space = spaces.Box(low, high, dtype=np.float32)
        else:
            self.space = spaces.Box(0, 1, (int(np.prod(source.shape)),), np.float32)
        self.described = f"vector, numbers: {self.space.shape[0]}"

    def __call__(self, value: Any) -> np.ndarray:
        """Any numeric array -> float32 (..., n)."""
        array = np.asarray(value, np.float32)
        return array.reshape(*self.lead(array), *self.space.shape)


class OneHotPart(Part):
    """Categories, each as a one-hot vector, concatenated."""

    def __init__(self, source: spaces.Discrete | spaces.MultiDiscrete) -> None:
        """Plan the encoding of `source`."""
        super().__init__(source)
        self.sizes = np.atleast_1d(_categories(source)).reshape(-1).astype(np.int64)
        self.start = np.atleast_1d(source.start).reshape(-1)
        self.space = spaces.Box(0, 1, (int(self.sizes.sum()),), np.float32)
        grid = f"grid of {' x '.join(map(str, source.shape))} categories" if source.shape else ""
        self.described = f"{grid or 'category'}, one-hot: {self.space.shape[0]}"

    def __call__(self, value: Any) -> np.ndarray:
        """Integer or integer array -> float32 (..., sum of category counts)."""
        return one_hots(np.asarray(value), self.start, self.sizes, self.lead(np.asarray(value)))


class Canonical:
    """The conversion of one observation space into a flat Dict of Boxes."""

    def __init__(
        self,
        source: spaces.Space[Any],
        image_size: int,
        image_fit: Fit = FIT,
        keys: tuple[str, ...] = (),
    ) -> None:
        """Plan the conversion.

        Args:
          source: the environment's observation space.
          image_size: pixels along one edge of every image.
          image_fit: how a non-square image is made square.
          keys: patterns (`fnmatch`); an observation is read if one of them matches its name. If
            there are no patterns, all observations are read.
        Raises:
          UserError: for a space with no fixed-size form (Graph, Sequence, OneOf), a name that would
            occur twice, a pattern that matches no name, or if nothing is left to read.
        """
        self.parts: dict[str, tuple[tuple[Any, ...], Part]] = {}
        self.left_out: dict[str, str] = {}  # name -> reason
        for path, leaf in _leaves(source, ()):
            bare = "image" if is_image(leaf) else "observation"
            name = ".".join(str(key).replace("/", ".") for key in path) or bare
            if keys and not any(fnmatch(name, key) for key in keys):
                self.left_out[name] = "no key matches it"
                continue
            if leaf.dtype is not None and leaf.dtype.kind == "U":  # `Text`, and MiniGrid's own
                self.left_out[name] = "text is not read"
                continue
            part = _part(leaf, image_size, image_fit)
            if name in self.parts:
                raise UserError(
                    f"expected distinct observation names, received {name!r} twice once nested "
                    "keys are joined by dots; rename a key of the environment's Dict"
                )
            self.parts[name] = (path, part)
        names = [*self.parts, *self.left_out]
        unused = [key for key in keys if not any(fnmatch(name, key) for name in names)]
        if unused or not self.parts:
            raise UserError(
                f"keys: expected patterns of what is observed ({', '.join(names)}) that leave "
                f"something to be read, received {' '.join(keys) or 'none'}; name some of these"
            )
        self.space = spaces.Dict({name: part.space for name, (_, part) in self.parts.items()})

    def __call__(self, obs: Any) -> dict[str, np.ndarray]:
        """The canonical observation, a dict of arrays as in `space`."""
        return {name: part(_at(obs, path)) for name, (path, part) in self.parts.items()}

    def series(self, obs: Any) -> dict[str, np.ndarray]:
        """Convert recorded observations [T, ...], nested like the space, to [T, ...] by name.

        Raises:
          UserError: for arrays of the wrong shape, pictures outside the space's bounds, or
            categories that the space does not have.
        """
        for name, (path, part) in self.parts.items():
            shape = np.shape(_at(obs, path))
            if not shape or shape[1:] != part.source.shape:
                raise UserError(
                    f"{name}: expected observations of shape [T, ...] with {part.source.shape} at "
                    f"each step, received {shape}; give what the space declares"
                )
        return self.convert({name: _at(obs, path) for name, (path, _) in self.parts.items()})

    def convert(self, values: dict[str, Any]) -> dict[str, np.ndarray]:
        """Convert values of every part, [N, ...] by name, to canonical arrays [N, ...].

        Raises:
          UserError: as for `series`, but for the shapes, which must be right.
        """
        for name, (_, part) in self.parts.items():
            if isinstance(part, ImagePart):
                _check_within(name, np.asarray(values[name]), part.source)
        return {name: part(values[name]) for name, (_, part) in self.parts.items()}


def chosen(names: Iterable[str], patterns: tuple[str, ...]) -> tuple[str, ...]:
    """Choose, from the names of the observations that are read, those that are decoded.

    Args:
      patterns: patterns (`fnmatch`), of which one must match a name; none given: all are decoded.
    Raises:
      UserError: for a pattern that matches no name.
    """
    names = tuple(names)
    unused = [key for key in patterns if not any(fnmatch(name, key) for name in names)]
    if unused:
        raise UserError(
            f"predict: expected patterns of what is read ({', '.join(names)}), received "
            f"{' '.join(unused)}; name some of these, or read more (--env.keys)"
        )
    return tuple(x for x in names if not patterns or any(fnmatch(x, key) for key in patterns))


def one_hot(index: np.ndarray, size: int) -> np.ndarray:
    """One-hot encode choices from 0 to size-1, integers [...], as float32 [..., size].

    Raises:
      UserError: for values that are not integers or are out of range.
    """
    if index.size and index.dtype.kind not in "iub":
        raise UserError(f"choices: expected integers, received {index.dtype}; convert them")
    if index.size and not (0 <= index.min() and index.max() < size):
        raise UserError(
            f"choices: expected 0 to {size - 1} counted from the space's start, received "
            f"{index.min()} to {index.max()}; give values that the space contains"
        )
    return (index[..., None] == np.arange(size)).astype(np.float32)


def one_hots(
    values: np.ndarray, start: np.ndarray, sizes: np.ndarray, lead: tuple[int, ...]
) -> np.ndarray:
    """One-hot encode several choices [*lead, ...], concatenated: float32 [*lead, sum of sizes].

    Args:
      start: first value of each choice.
      sizes: number of values of each choice.
    Raises:
      UserError: as for `one_hot`.
    """
    columns = values.reshape(*lead, len(sizes)) - start.astype(values.dtype)
    pieces = [one_hot(columns[..., n], int(size)) for n, size in enumerate(sizes)]
    return np.concatenate(pieces, axis=-1)


def channels_last(images: np.ndarray, axes: int) -> np.ndarray:
    """Rearrange pictures with ``axes`` axes each, in any order, to [..., H, W, C]."""
    lead = images.ndim - axes
    rows = lead + _rows(images.shape[lead:])
    images = np.moveaxis(images, (rows, rows + 1), (lead, lead + 1))
    return images.reshape(*images.shape[: lead + 2], -1) if axes > 2 else images[..., None]


def picture_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """(height, width, channels) of a picture whose axes come in any order."""
    rows = _rows(shape)
    height, width = shape[rows : rows + 2]
    return height, width, math.prod(shape) // max(1, height * width)


def is_image(space: spaces.Space[Any]) -> bool:
    """Whether the space is a picture: at least 8 rows and 8 columns, at most 32 channels, and
    either bytes or, with at least 3 axes, floats in [0, 1] or numbers in [0, 255]."""
    if not isinstance(space, spaces.Box) or len(space.shape) not in (2, 3, 4):
        return False
    height, width, channels = picture_shape(space.shape)
    if min(height, width) < _MIN_IMAGE_EDGE or channels > _MOST_CHANNELS:
        return False
    most = (1.0, 255.0) if space.dtype.kind == "f" else (255.0,)
    bounded = bool(np.all(space.low == 0)) and float(space.high.max()) in most
    bounded = bounded and len(space.shape) > 2 and len(np.unique(space.high)) == 1
    return space.dtype == np.uint8 or bounded


def _part(space: spaces.Space[Any], image_size: int, image_fit: Fit) -> Part:
    """The conversion of one leaf."""
    if isinstance(space, spaces.Box):
        return ImagePart(space, image_size, image_fit) if is_image(space) else VectorPart(space)
    if isinstance(space, spaces.MultiBinary):
        return VectorPart(space)
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        return OneHotPart(space)
    raise UserError(
        "expected observations of Box, Discrete, MultiDiscrete, MultiBinary, Dict or Tuple, "
        f"received {space}; wrap the environment so that they have a fixed size"
    )


def _leaves(
    space: spaces.Space[Any], path: tuple[Any, ...]
) -> list[tuple[tuple[Any, ...], spaces.Space[Any]]]:
    """All (path, leaf space) pairs of a nested space, in its own order."""
    children: list[tuple[Any, spaces.Space[Any]]]
    if isinstance(space, spaces.Dict):
        children = list(space.spaces.items())
    elif isinstance(space, spaces.Tuple):
        children = list(enumerate(space.spaces))
    else:
        return [(path, space)]
    return [leaf for key, child in children for leaf in _leaves(child, (*path, key))]


def _at(obs: Any, path: tuple[Any, ...]) -> Any:
    """The value at a path of keys."""
    for key in path:
        obs = obs[key]
    return obs


def _check_within(name: str, images: np.ndarray, source: spaces.Space[Any]) -> None:
    """Raise UserError for pictures that exceed the bounds of their space or are not finite."""
    assert isinstance(source, spaces.Box)
    low, high = float(source.low.min()), float(source.high.max())
    if images.size and not (low <= images.min() and images.max() <= high):
        raise UserError(
            f"{name}: expected pictures from {low:g} to {high:g}, received {images.min():g} to "
            f"{images.max():g}; give what the space declares"
        )


def _rows(shape: tuple[int, ...]) -> int:
    """The axis of an image's rows: the first of the two neighbouring axes whose shorter one is
    longest."""
    return max(range(len(shape) - 1), key=lambda i: min(shape[i], shape[i + 1]))


def _categories(space: spaces.Discrete | spaces.MultiDiscrete) -> np.ndarray:
    """Number of categories of every component."""
    return np.asarray(space.n if isinstance(space, spaces.Discrete) else space.nvec)


def _finite_or_inf(bound: np.ndarray) -> np.ndarray:
    """Bounds as a float32 vector; those outside float32's range become infinite."""
    with np.errstate(over="ignore"):
        return bound.astype(np.float32).reshape(-1)
