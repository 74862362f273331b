"""Any folder of videos: nested, of any size and rate, in any container that FFmpeg knows."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from common import Positive, check_bounds
from recordings.episode import Video
from recordings.importers import decode, folder
from recordings.importers.images import Look


@dataclass(frozen=True)
class VideoFolder:
    """Any folder of videos; folders called train..., test... and val... are the splits."""

    source: Path
    """The folder (or one video)."""
    look: Look = Look()
    """How frames are made to fit."""
    channels: Literal[1, 3] = 3
    """3: colour; 1: grey."""
    fps: Positive | None = None
    """Frames kept per second of video; None keeps all."""

    def __post_init__(self) -> None:
        check_bounds(self)

    def names(self) -> list[str]:
        """Paths of the videos inside the folder."""
        return folder.find(self.source, lambda name: name.lower().endswith(decode.SUFFIXES))

    def read(self, name: str) -> Iterator[Video]:
        """The video; more than one episode if it is longer than `look.max_frames`."""
        path = folder.locate(self.source, name)
        return decode.read_video(name, path, self.look, self.channels, self.fps)

    def split(self, name: str) -> str | None:
        """Of the folder that it lies in, if there is one of what is held out."""
        return folder.split_of(name) if self._holds_out else None

    @cached_property
    def _holds_out(self) -> bool:
        return any(
            folder.split_of(name) in (folder.TEST, folder.VALIDATION) for name in self.names()
        )
