"""Folders of published video data sets: GQN mazes and Moving MNIST.

Both are available as mp4 files (`train/*.mp4`, `train-seq100/*.mp4`) or as TFRecord files with one
Example per sequence; Moving MNIST also as `mnist_test_seq.npy` (Srivastava et al. 2015).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from common import UserError
from envs.spaces import picture_shape
from recordings.episode import Video, cut
from recordings.importers import decode, folder
from recordings.importers.arrays import map_array
from recordings.importers.bounds import check_bytes, check_count
from recordings.importers.images import Look, with_channels
from recordings.importers.observed import observed
from recordings.importers.tfrecord import Sequences, is_tfrecord, read_sequences

Order = Literal["auto", "frames_first", "videos_first"]

_FRAMES = 20  # frames per sequence of Moving MNIST
_EDGE = 8  # minimum edge of an image, pixels
_SAMPLE = 32  # frames and videos of an array that are compared
_CLEARLY = 0.8  # maximum ratio of changes at which the second axis is taken for time


@dataclass(frozen=True)
class Mazes:
    """GQN mazes: colour videos as mp4 (train/, test/) or TFRecord files."""

    source: Path
    """Folder (or a single file)."""
    look: Look = Look()
    """Size and fit of frames."""
    sequences: Sequences = Sequences()
    """Where the frames are in a TFRecord, and their channels."""

    def names(self) -> list[str]:
        """Paths of the videos and TFRecord files inside the folder."""
        return folder.find(self.source, _is_sequence)

    def read(self, name: str) -> Iterator[Video]:
        """Read the videos in one file."""
        path = folder.locate(self.source, name)
        if is_tfrecord(path.name):
            return read_sequences(name, path, self.look, self.sequences)
        return decode.read_video(name, path, self.look, self.sequences.channels, fps=None)

    def split(self, name: str) -> str | None:
        """Of the folder that it lies in, or of a TFRecord's own name."""
        return folder.split_of(name)


@dataclass(frozen=True)
class MovingMnist:
    """Moving MNIST, grey: mp4 (train-seq100/, test-seq1000/), TFRecords, mnist_test_seq.npy."""

    source: Path
    """Folder (or a single file)."""
    look: Look = Look()
    """Size and fit of frames."""
    sequences: Sequences = Sequences(channels=1)
    """Where the frames are in a TFRecord, and their channels."""
    order: Order = "auto"
    """Axes of an array: frames_first as published, (20, 10000, 64, 64), or videos_first; auto picks
    the axis that has 20 frames, or along which neighbours differ less (reported at the end)."""

    def names(self) -> list[str]:
        """Paths of videos and TFRecord files, and `x.npy:00007` for each sequence of an array."""
        paths = folder.find(self.source, lambda file: _is_sequence(file) or file.endswith(".npy"))
        return [name for path in paths for name in self._parts(path)]

    def read(self, name: str) -> Iterator[Video]:
        """Read the videos in one file, or one sequence of an array."""
        path, colon, number = name.rpartition(":")
        if colon and path.endswith(".npy"):
            array, notes = _map(folder.locate(self.source, path), self.order)
            images, said = observed("images", np.asarray(array[:, int(number)]), self.look)
            images = with_channels(images, self.sequences.channels)
            video = Video(name, {"image": images}, notes=notes + said)
            return cut(video, self.look.max_frames)
        if name.endswith(".npy"):
            _map(folder.locate(self.source, name), self.order)
            raise UserError("no sequences in it")
        return Mazes(self.source, self.look, self.sequences).read(name)

    def split(self, name: str) -> str | None:
        """Of the folder that it lies in, or of a TFRecord's own name."""
        return folder.split_of(name)

    def _parts(self, name: str) -> list[str]:
        if not name.endswith(".npy"):
            return [name]
        try:
            count = _map(folder.locate(self.source, name), self.order)[0].shape[1]
        except (ValueError, OSError):
            count = 0  # `read` says why
        return [f"{name}:{number:05d}" for number in range(count)] or [name]


def _is_sequence(file: str) -> bool:
    return is_tfrecord(file) or file.lower().endswith(decode.SUFFIXES)


def _map(path: Path, order: Order) -> tuple[np.ndarray, tuple[str, ...]]:
    """Memory-map an array as [T, N, ...], grey or colour images, and note how its axes were chosen.
    `mnist_test_seq.npy` is [20, 10000, 64, 64]: frames, then videos."""
    array = map_array(path)
    pictures = array.ndim in (4, 5) and array.dtype.kind in "uif"
    check_count(max(array.shape[:2], default=0), "sequences")
    if not pictures or min(picture_shape(array.shape[2:])[:2]) < _EDGE:
        raise UserError(
            f"{array.dtype} {array.shape}, expected pictures (frames, videos, 64, 64), or videos "
            "first"
        )
    if order == "auto":
        order, why = _order(array)
    else:
        why = ""
    if order == "videos_first":
        array = np.swapaxes(array, 0, 1)
    check_bytes(array[:, :1].nbytes * 3, "a sequence")
    return array, (why,) * bool(why)


def _order(array: np.ndarray) -> tuple[Order, str]:
    """Decide which of the first two axes is time, and why: only it has the 20 frames of Moving
    MNIST; else neighbours along it differ clearly less; else it is the first axis."""
    first, second = array.shape[:2]
    if (first == _FRAMES) != (second == _FRAMES):
        if first == _FRAMES:
            return "frames_first", ""
        return "videos_first", "videos before frames, which are 20 (--order)"
    some = np.asarray(array[:_SAMPLE, :_SAMPLE], np.float32)
    if _change(some, 1) < _CLEARLY * _change(some, 0):
        return "videos_first", "videos before frames, as neighbours differ less (--order)"
    return "frames_first", "frames before videos (--order)"


def _change(pictures: np.ndarray, axis: int) -> float:
    """Mean absolute difference of neighbours along an axis; 0 if there are none."""
    changes = np.abs(np.diff(pictures, axis=axis))
    return float(changes.mean()) if changes.size else 0.0
