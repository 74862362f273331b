"""Folders of one data set's videos as others publish them: GQN mazes and Moving MNIST.

Both are found as mp4 files (`train/*.mp4`, `train-seq100/*.mp4`), as TFRecord files with one
Example per sequence, and Moving MNIST also as `mnist_test_seq.npy` (Srivastava et al. 2015).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common import UserError
from recordings.episode import Video, cut
from recordings.importers import decode, folder
from recordings.importers.arrays import map_array
from recordings.importers.bounds import check_bytes, check_count
from recordings.importers.images import Look, fit_images
from recordings.importers.tfrecord import Sequences, is_tfrecord, read_sequences


@dataclass(frozen=True)
class Mazes:
    """GQN mazes: colour videos as mp4 (train/, test/) or TFRecord files."""

    source: Path
    """The folder (or one file)."""
    look: Look = Look()
    """How frames are made to fit."""
    sequences: Sequences = Sequences()
    """Where a TFRecord's frames are, and their channels."""

    def names(self) -> list[str]:
        """Paths of the videos and TFRecord files inside the folder."""
        return folder.find(self.source, _is_sequence)

    def read(self, name: str) -> Iterator[Video]:
        """The videos in one file."""
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
    """The folder (or one file)."""
    look: Look = Look()
    """How frames are made to fit."""
    sequences: Sequences = Sequences(channels=1)
    """Where a TFRecord's frames are, and their channels."""

    def names(self) -> list[str]:
        """Paths of videos and TFRecord files, and `x.npy:00007` for the sequences of arrays."""
        paths = folder.find(self.source, lambda file: _is_sequence(file) or file.endswith(".npy"))
        return [name for path in paths for name in self._parts(path)]

    def read(self, name: str) -> Iterator[Video]:
        """The videos in one file, or one sequence of an array."""
        path, colon, number = name.rpartition(":")
        if colon and path.endswith(".npy"):
            images = _map(folder.locate(self.source, path))[:, int(number), ..., None]
            images = np.repeat(images, self.sequences.channels, axis=-1)
            return cut(Video(name, {"image": fit_images(images, self.look)}), self.look.max_frames)
        if name.endswith(".npy"):
            _map(folder.locate(self.source, name))
            raise UserError("no sequences in it")
        return Mazes(self.source, self.look, self.sequences).read(name)

    def split(self, name: str) -> str | None:
        """Of the folder that it lies in, or of a TFRecord's own name."""
        return folder.split_of(name)

    def _parts(self, name: str) -> list[str]:
        if not name.endswith(".npy"):
            return [name]
        try:
            count = _map(folder.locate(self.source, name)).shape[1]
        except (ValueError, OSError):
            count = 0  # `read` says why
        return [f"{name}:{number:05d}" for number in range(count)] or [name]


def _is_sequence(file: str) -> bool:
    return is_tfrecord(file) or file.lower().endswith(decode.SUFFIXES)


def _map(path: Path) -> np.ndarray:
    """uint8 [T, N, H, W], as `mnist_test_seq.npy` is [20, 10000, 64, 64]; not read yet."""
    array = map_array(path)
    if array.dtype != np.uint8 or array.ndim != 4:
        raise UserError(f"{array.dtype} {array.shape}, expected uint8 (frames, videos, 64, 64)")
    check_count(array.shape[1], "sequences")
    check_bytes(array[:, :1].nbytes * 3, "a sequence")
    return array
