"""Canonical observations: any Gymnasium space as a flat Dict of images and float vectors.

The agent sees one shape of data whatever the environment is: a flat Dict of name -> Box, where an
image is uint8 (H, W, C) at one size and everything else a float32 vector (n,):

| space | becomes |
|---|---|
| Box uint8 with 2 axes, or with 3 whose channels come first or last | image, resized |
| any other Box | float32 (n,), flattened; a scalar is (1,) |
| Discrete, MultiDiscrete | one-hot, concatenated |
| MultiBinary | float32 (n,) of 0 and 1 |
| Dict, Tuple | their parts, named by the path with dots: `compass.angle`, `0` |

A bare space is named `image` or `observation`. Read next: `wrappers.py`, `vector.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from gymnasium import spaces

from common import UserError
from envs.images import middle_square, resize

_MIN_IMAGE_EDGE = 8  # pixels; smaller uint8 matrices are vectors


class Part(ABC):
    """One entry of a canonical observation."""

    space: spaces.Box[Any]

    def __init__(self, source: spaces.Space[Any]) -> None:
        self.source = source

    def lead(self, value: np.ndarray) -> tuple[int, ...]:
        """Axes of a value before those of the source space, such as time."""
        return value.shape[: value.ndim - len(self.source.shape or ())]

    @abstractmethod
    def __call__(self, value: Any) -> np.ndarray:
        """The canonical array, of this part's space, for a value of the original space.

        Axes before the space's own are kept.
        """


class ImagePart(Part):
    """An image: channels last, resized by area."""

    def __init__(self, source: spaces.Box, size: int, crop: bool) -> None:
        """Plan the conversion of `source` into uint8 (size, size, C)."""
        super().__init__(source)
        self.size, self.crop = size, crop
        self.channels_first = len(source.shape) == 3 and _channel_axis(source.shape) == 0
        channels = _as_hwc(source.shape)[2]
        self.space = spaces.Box(0, 255, (size, size, channels), np.uint8)

    def __call__(self, value: Any) -> np.ndarray:
        """uint8 images in the source's layout -> uint8 (..., size, size, C)."""
        image = np.asarray(value)
        image = image[..., None] if len(self.source.shape or ()) == 2 else image
        image = np.moveaxis(image, -3, -1) if self.channels_first else image
        return resize(middle_square(image) if self.crop else image, self.size)


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

    def __call__(self, value: Any) -> np.ndarray:
        """Integer or integer array -> float32 (..., sum of category counts)."""
        return one_hots(np.asarray(value), self.start, self.sizes, self.lead(np.asarray(value)))


class Canonical:
    """The conversion of one observation space into a flat Dict of Boxes."""

    def __init__(self, source: spaces.Space[Any], image_size: int, crop: bool = False) -> None:
        """Plan the conversion.

        Args:
          source: the environment's observation space.
          image_size: pixels along one edge of every image.
          crop: of an image that is no square, take the middle square; otherwise it is squeezed.
        Raises:
          UserError: for a space with no fixed-size form (Text, Graph, Sequence, OneOf), or a name
            that would occur twice.
        """
        if image_size < 1:
            raise UserError(f"expected image_size of at least 1 pixel, received {image_size}")
        self.parts: dict[str, tuple[tuple[Any, ...], Part]] = {}
        for path, leaf in _leaves(source, ()):
            part = _part(leaf, image_size, crop)
            bare = "image" if isinstance(part, ImagePart) else "observation"
            name = ".".join(str(key).replace("/", ".") for key in path) or bare
            if name in self.parts:
                raise UserError(
                    f"expected distinct observation names, received {name!r} twice once nested "
                    "keys are joined by dots; rename a key of the environment's Dict"
                )
            self.parts[name] = (path, part)
        self.space = spaces.Dict({name: part.space for name, (_, part) in self.parts.items()})

    def __call__(self, obs: Any) -> dict[str, np.ndarray]:
        """The canonical observation, a dict of arrays as in `space`."""
        return {name: part(_at(obs, path)) for name, (path, part) in self.parts.items()}

    def series(self, obs: Any) -> dict[str, np.ndarray]:
        """Recorded observations, arrays [T, ...] nested as the space is, as [T, ...] by name.

        Raises:
          UserError: for arrays of another shape, or categories that the space does not have.
        """
        for name, (path, part) in self.parts.items():
            shape = np.shape(_at(obs, path))
            if not shape or shape[1:] != part.source.shape:
                raise UserError(
                    f"{name}: expected observations of shape [T, ...] with {part.source.shape} at "
                    f"each step, received {shape}; give what the space declares"
                )
        return self(obs)


def one_hot(index: np.ndarray, size: int) -> np.ndarray:
    """Choices from 0 to size-1, integers [...], as float32 [..., size].

    Raises:
      UserError: for what is no integer, or no such choice.
    """
    if index.size and index.dtype.kind not in "iub":
        raise UserError(f"choices: expected integers, received {index.dtype}; convert them")
    if index.size and not (0 <= index.min() and index.max() < size):
        raise UserError(
            f"choices: expected 0 to {size - 1} counted from the space's start, received "
            f"{index.min()} to {index.max()}; give values that the space contains"
        )
    return np.eye(size, dtype=np.float32)[index.astype(np.int64)]


def one_hots(
    values: np.ndarray, start: np.ndarray, sizes: np.ndarray, lead: tuple[int, ...]
) -> np.ndarray:
    """Several choices [*lead, ...], side by side: float32 [*lead, sum of their sizes].

    Args:
      start: first value of each choice.
      sizes: how many values each has.
    Raises:
      UserError: as `one_hot`.
    """
    columns = values.reshape(*lead, len(sizes)) - start.astype(values.dtype)
    pieces = [one_hot(columns[..., n], int(size)) for n, size in enumerate(sizes)]
    return np.concatenate(pieces, axis=-1)


def is_image(space: spaces.Space[Any]) -> bool:
    """Whether the space is a uint8 picture: (H, W), (H, W, C) or (C, H, W)."""
    if not isinstance(space, spaces.Box) or space.dtype != np.uint8:
        return False
    if len(space.shape) not in (2, 3):
        return False
    height, width, _ = _as_hwc(space.shape)
    return min(height, width) >= _MIN_IMAGE_EDGE


def _part(space: spaces.Space[Any], image_size: int, crop: bool) -> Part:
    """The conversion of one leaf."""
    if isinstance(space, spaces.Box):
        return ImagePart(space, image_size, crop) if is_image(space) else VectorPart(space)
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
    """All (path, leaf space) of a nested space, in its own order."""
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


def _channel_axis(shape: tuple[int, ...]) -> int:
    """0 or 2: where the channels of a three-axis image are (the smaller of the two)."""
    return 0 if shape[0] < shape[2] else 2


def _as_hwc(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """(height, width, channels) of an image shape in any of the three layouts."""
    if len(shape) == 2:
        return shape[0], shape[1], 1
    if _channel_axis(shape) == 0:
        return shape[1], shape[2], shape[0]
    return shape[0], shape[1], shape[2]


def _categories(space: spaces.Discrete | spaces.MultiDiscrete) -> np.ndarray:
    """Number of categories of every component."""
    return np.asarray(space.n if isinstance(space, spaces.Discrete) else space.nvec)


def _finite_or_inf(bound: np.ndarray) -> np.ndarray:
    """Bounds as a float32 vector; those outside float32's range become infinite."""
    with np.errstate(over="ignore"):
        return bound.astype(np.float32).reshape(-1)
