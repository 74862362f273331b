"""KTH Action: grey AVI videos of 25 persons, 160x120 at 25 fps. Schuldt et al. 2004.

The accompanying `00sequences.txt` lists the frames of each video in which the person is visible:

    person01_walking_d1     frames  1-75, 152-225, 325-400, 480-555
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np

from common import UserError
from recordings.episode import Video, cut, piece_name
from recordings.importers import decode, folder
from recordings.importers.bounds import check_bytes
from recordings.importers.images import Look

TRAIN_PERSONS, PERSONS = 20, 25
SEQUENCES = "00sequences.txt"
_NAME = re.compile(r"(person(\d\d)_[a-z]+_d\d)(_uncomp)?\.avi", re.IGNORECASE)
_LINE = re.compile(r"(person\d\d_[a-z]+_d\d)\s+frames\s+([\d\s,-]*)", re.IGNORECASE)
_RANGE = re.compile(r"(\d+)\s*-\s*(\d+)")


@dataclass(frozen=True)
class Kth:
    """KTH Action: persons 1-20 train, 21-25 test; grey."""

    draws: ClassVar[bool] = False  # of some persons alone, too: the paper's split
    source: Path
    """Folder with person01_boxing_d1_uncomp.avi ..., directly or in subfolders."""
    look: Look = Look()
    """Size and fit of frames."""
    whole: bool = False
    """Store whole videos, even where 00sequences.txt is present and would leave frames out."""

    def names(self) -> list[str]:
        """Paths of the AVI files inside the folder."""
        return folder.find(self.source, lambda name: name.lower().endswith(".avi"))

    def read(self, name: str) -> Iterator[Video]:
        """Read the video. Raises UserError if the file is not named as KTH's are."""
        self.split(name)
        path = folder.locate(self.source, name)
        video = decode.read_video(name, path, self.look, channels=1, fps=None)
        if self.whole or not self._sequences:
            return video
        match = _NAME.fullmatch(path.name)
        ranges = self._sequences.get(match[1].lower(), []) if match else []
        if not ranges:
            raise UserError(f"not in {SEQUENCES}: see --whole")
        return _cut(name, decode.read_frames(path, self.look, channels=1), ranges, self.look)

    @cached_property
    def _sequences(self) -> dict[str, list[tuple[int, int]]]:
        """First and last frame, counted from 1, of each video's sequences; {} without the file."""
        found = folder.find(self.source, lambda name: name == SEQUENCES)
        texts = [folder.locate(self.source, name).read_text("latin-1") for name in found[:1]]
        lines = [match for text in texts for match in _LINE.finditer(text)]
        if texts and not lines:
            raise UserError(
                f"{found[0]}: expected lines of KTH's sequences, received none; see --whole"
            )
        return {
            line[1].lower(): [(int(a), int(b)) for a, b in _RANGE.findall(line[2])]
            for line in lines
        }

    def split(self, name: str) -> str:
        """The split, determined by the person."""
        match = _NAME.fullmatch(name.rpartition("/")[2])
        person = int(match[2]) if match else 0
        if not 1 <= person <= PERSONS:
            raise UserError("not called personNN_action_dN_uncomp.avi, NN from 01 to 25")
        return folder.TRAIN if person <= TRAIN_PERSONS else folder.TEST


def _cut(
    name: str, frames: Iterator[np.ndarray], ranges: list[tuple[int, int]], look: Look
) -> Iterator[Video]:
    """Cut one video into its sequences; the first one notes how many frames are in none."""
    seen = list[np.ndarray]()
    for frame in frames:
        seen.append(frame)
        check_bytes(len(seen) * frame.nbytes, f"{len(seen):,} frames")
    spans = [(first - 1, min(last, len(seen))) for first, last in sorted(ranges)]
    spans = [(first, end) for first, end in spans if first < end]
    if not spans:
        raise UserError(f"{len(seen)} frames, expected those of {SEQUENCES}: {ranges}")
    out = len(seen) - sum(end - first for first, end in spans)
    notes = (f"{out:,} of {len(seen):,} frames left out: not among those of {SEQUENCES}",)
    for first, end in spans:
        images = np.stack(seen[first:end])
        video = Video(piece_name(name, first, end), {"image": images}, notes=notes * bool(out))
        yield from cut(video, look.max_frames)
        out = 0
