"""Folders of pictures, one per frame: PNG or JPEG, in the order of the numbers in their names.

Pictures of one folder whose names differ only in their last number are one video: `left_#.png` is
left_9.png, left_10.png, ... Names without a number are one video as well, in alphabetical order.
"""

import re
from collections.abc import Iterator, Sequence
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

_NUMBER = re.compile(r"(.*?)(\d+)(\D*)")


class Series(NamedTuple):
    """The pictures of one video, in order."""

    paths: list[str]
    numbers: list[int]  # in their names; all 0 if they have none

    @property
    def notes(self) -> tuple[str, ...]:
        """A note if some numbers are missing."""
        steps = np.diff(self.numbers)
        if len(steps) == 0 or steps.min() == 0:
            return ()
        missing = (self.numbers[-1] - self.numbers[0]) // int(steps.min()) - len(steps)
        few = 0 < missing < len(steps)  # if names are times, no numbers are missing
        return (f"numbers missing among those of the pictures: {missing}",) * few


def series(paths: Sequence[str]) -> dict[str, Series]:
    """Group pictures by the name of the video whose frames they are.

    Args:
      paths: of all pictures, as `folder.find` returns them.
    """
    found: dict[str, list[tuple[int, str]]] = {}
    for path in paths:
        place, slash, file = path.rpartition("/")
        match = _NUMBER.fullmatch(file)
        name = f"{match[1]}#{match[3]}" if match else "*" + Path(file).suffix
        found.setdefault(f"{place}{slash}{name}", []).append((int(match[2]) if match else 0, path))
    ordered = {name: sorted(parts) for name, parts in sorted(found.items())}
    return {
        name: Series([path for _, path in parts], [number for number, _ in parts])
        for name, parts in ordered.items()
    }


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
