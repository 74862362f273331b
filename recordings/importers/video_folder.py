"""Any folder of videos: nested, of any size and rate, in any container that FFmpeg reads, or as
folders of images, one per frame."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from common import Positive, UserError, check_bounds
from recordings.episode import Video
from recordings.importers import decode, folder
from recordings.importers.images import Look
from recordings.importers.picture_folder import SUFFIXES, Series, read_pictures, series


@dataclass(frozen=True)
class VideoFolder:
    """A folder of videos or frames (PNG, JPEG); names train, test, eval, val... mark its splits."""

    source: Path
    """Folder (or a single video)."""
    look: Look = Look()
    """Size and fit of frames."""
    channels: Literal[1, 3] = 3
    """3: colour; 1: grey."""
    fps: Positive | None = None
    """Frames kept per second of video; None: all."""

    def __post_init__(self) -> None:
        check_bounds(self)

    def names(self) -> list[str]:
        """Paths of the videos inside the folder, and names of the image series."""
        return sorted([*self._videos, *self._series])

    def read(self, name: str) -> Iterator[Video]:
        """Read the video; several episodes if it is longer than `look.max_frames`."""
        if name not in self._series:
            path = folder.locate(self.source, name)
            return decode.read_video(name, path, self.look, self.channels, self.fps)
        if name.rpartition("/")[0] in {video.rpartition("/")[0] for video in self._videos}:
            raise UserError("pictures next to videos, which are not read as frames")
        if self.fps is not None:
            raise UserError("frames without times, which --fps needs")
        found, pictures = decode.Found(), self._series[name]
        frames = read_pictures(self.source, pictures.paths, self.look, self.channels, found)
        return decode.in_pieces(name, frames, self.look, lambda: found.notes(None) + pictures.notes)

    def split(self, name: str) -> str | None:
        """The split that its path names; else None."""
        return folder.split_of(name)

    def files(self, name: str) -> list[Path]:
        """The video's file, or those of its frames."""
        paths = self._series[name].paths if name in self._series else [name]
        return [folder.locate(self.source, path) for path in paths]

    @cached_property
    def _videos(self) -> list[str]:
        found = folder.find(self.source, lambda name: name.lower().endswith(decode.SUFFIXES))
        return [name for name in found if not name.lower().endswith(SUFFIXES)]  # one file is found

    @cached_property
    def _series(self) -> dict[str, Series]:
        found = folder.find(self.source, lambda name: name.lower().endswith(SUFFIXES))
        return series([name for name in found if name.lower().endswith(SUFFIXES)])
