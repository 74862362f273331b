"""Folders of pictures, one per frame: PNG or JPEG, in the order of the numbers in their names.

Pictures of one folder whose names differ only in one number are one video: `left_#.png` is
left_9.png, left_10.png, ... (`series` says which number). Names without a number are one video as
well, in alphabetical order.
"""

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common import UserError
from recordings.importers import folder
from recordings.importers.bounds import BYTES
from recordings.importers.decode import Found
from recordings.importers.images import Look, decode_image, fit_images

SUFFIXES = (".png", ".jpg", ".jpeg")
"""Suffixes of the files that are taken as frames."""

_NUMBER = re.compile(r"((?<![A-Za-z.])(?:0|[1-9]\d*)\.\d+(?!\.?\d)|\d+)")
"""A decimal number or a whole one; the frame of v2.0001.png and 010.0001.png is 1."""
_FRAMES = 10
"""Values of a number that make it a frame's, whatever precedes it: fewer may be of cameras."""


class Series(NamedTuple):
    """The pictures of one video, in order."""

    paths: list[str]
    numbers: list[int | Fraction]  # in their names; all 0 if they have none

    @property
    def notes(self) -> tuple[str, ...]:
        """A note if some numbers are missing."""
        steps = np.diff(np.array(self.numbers))
        if len(steps) == 0 or steps.min() == 0 or (steps % steps.min()).any():
            return ()
        missing = (self.numbers[-1] - self.numbers[0]) // steps.min() - len(steps)
        few = bool(0 < missing < len(steps))  # if names are times, no numbers are missing
        return (f"numbers missing among those of the pictures: {missing}",) * few


def series(paths: Sequence[str]) -> dict[str, Series]:
    """Group pictures by the name of the video whose frames they are.

    Of the numbers in names that are otherwise alike, one is the frame's, `#` in the video's name:
    the last that has ten or more values, else the one with the most, the last on ties. Thus
    0007_cam1_640x480.png is of `#_cam1_640x480.png`, and clip7_0001.png is of `clip7_#.png`.

    Args:
      paths: of all pictures, as `folder.find` returns them.
    """
    found: dict[str, list[tuple[int | Fraction, str]]] = {}
    alike: dict[tuple[str, ...], list[tuple[list[str], str]]] = {}
    for path in paths:
        place, slash, file = path.rpartition("/")
        words, numbers = _NUMBER.split(file)[::2], _NUMBER.findall(file)
        if numbers:
            alike.setdefault((place + slash, *words), []).append((numbers, path))
        else:
            found.setdefault(f"{place}{slash}*{Path(file).suffix}", []).append((0, path))
    for (place, *words), pictures in alike.items():
        at = _of_frames([numbers for numbers, _ in pictures])
        for numbers, path in pictures:
            number = int(numbers[at]) if numbers[at].isdecimal() else Fraction(numbers[at])
            shown = [*numbers[:at], "#", *numbers[at + 1 :], ""]
            name = place + "".join(chain(*zip(words, shown, strict=True)))
            found.setdefault(name, []).append((number, path))
    ordered = {name: sorted(parts) for name, parts in sorted(found.items())}
    return {
        name: Series([path for _, path in parts], [number for number, _ in parts])
        for name, parts in ordered.items()
    }


def _of_frames(numbers: Sequence[Sequence[str]]) -> int:
    """Position of the frame's number among those in names that are otherwise alike."""
    values = [min(len(set(column)), _FRAMES) for column in zip(*numbers, strict=True)]
    return max(range(len(values)), key=lambda at: (values[at], at))


def read_pictures(
    source: Path, paths: Sequence[str], look: Look, channels: int, found: Found
) -> Iterator[np.ndarray]:
    """Read the frames in order, each uint8 [S, S, C].

    Args:
      source: folder that contains the paths.
      paths: of the pictures, in order.
      look: how they are made to fit.
      channels: 1 (grey) or 3.
      found: filled along the way.
    Raises:
      UserError: if a picture, which is named, is damaged or of another size; if there is only one.
    """
    if len(paths) < 2:
        raise UserError("one picture alone, expected the frames of a video")
    first: tuple[int, ...] = ()
    for path in paths:
        file = folder.locate(source, path)
        try:
            if file.stat().st_size > BYTES:
                raise UserError(f"more than {BYTES:,} bytes")
            image, transparent = decode_image(file.read_bytes(), channels)
        except UserError as error:
            raise UserError(f"{file.name}: {error}") from error
        first = first or image.shape
        if image.shape != first:
            size, expected = (f"{x[1]}x{x[0]} pixels" for x in (image.shape, first))
            raise UserError(f"{file.name} of {size}, expected {expected} as the first")
        found.transparent |= transparent
        yield fit_images(image[None], look)[0]
