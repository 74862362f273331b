"""A user's own video as records for a world model: its frames, then black ones after its end."""

from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple, cast

import jax
import numpy as np

from common import UserError
from recordings.data import read_as
from recordings.importers.video_folder import VideoFolder
from training.build_video import VideoRun, marks_plans, to_records
from worldmodel.records import Records


class OwnVideo(NamedTuple):
    """Frames of a video from a given frame on."""

    image: str  # name of the observation
    frames: np.ndarray  # uint8 [n, S, S, C]


def read_own(run: VideoRun, video: Path, start: int, most: int) -> OwnVideo:
    """Read at most ``most`` frames from frame ``start`` on, in the way the run's data were read.

    Args:
      run: a run whose model reads one image and nothing else.
      video: a file, or a folder of frames.
    Raises:
      UserError: if the model reads anything else, or the video cannot be read or has no such frame.
    """
    (image, shape), *others = run.spaces.shapes.items()
    if others or len(shape) != 3 or shape[-1] not in (1, 3):
        raise UserError(
            f"video: expected a model that reads one image, grey or in colour, received one of "
            f"{run.spaces.shapes}; leave --video out"
        )
    look, fps = read_as(run.config.data, shape[0])
    look = replace(look, max_frames=most)  # no more is read at once
    source = VideoFolder(video, look, cast(Literal[1, 3], shape[-1]), fps)
    names = source.names()
    if len(names) != 1:
        raise UserError(f"video: expected one video, received {len(names)} in {video}; name one")
    read = (frame for piece in source.read(names[0]) for frame in piece.obs["image"])
    before = sum(1 for _ in islice(read, start))
    frames = list(islice(read, most))
    if not frames:
        raise UserError(
            f"start: expected a frame of {video}, received {start} of {before}; lower --start"
        )
    return OwnVideo(image, np.stack(frames))


def own_records(run: VideoRun, own: OwnVideo, length: int, count: int) -> Records:
    """Records with the same video in each of ``count`` rows of ``length`` frames; frames after its
    end are black, and no action is known."""
    after = [(0, length - len(own.frames)), (0, 0), (0, 0), (0, 0)]
    batch = {
        "obs": {own.image: np.pad(own.frames, after)},
        "action": np.zeros((length, 0), np.float32),
        "action_mask": np.zeros(length, np.float32),
        "reward": np.zeros(length, np.float32),
        "terminal": np.zeros(length, bool),
        "is_first": np.arange(length) == 0,
        "mask": np.ones(length, np.float32),
    }
    rows = jax.tree.map(lambda x: np.repeat(x[None], count, axis=0), batch)
    return to_records(rows, run.model.action_width, marks_plans(run.config))
