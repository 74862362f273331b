"""A video of one's own as a world model's records: its frames, and nothing after its end."""

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
    """Frames of a video from some frame on."""

    image: str  # observation that they are
    frames: np.ndarray  # uint8 [n, S, S, C]


def read_own(run: VideoRun, video: Path, start: int, most: int) -> OwnVideo:
    """Frames `start`, ..., at most so many, read as the run's own data were.

    Args:
      run: whose model reads one image and nothing else.
      video: a file, or a folder of frames.
    Raises:
      UserError: for a model of something else, or where the video cannot be read, or is shorter.
    """
    (image, shape), *others = run.spaces.shapes.items()
    if others or len(shape) != 3 or shape[-1] not in (1, 3):
        raise UserError(
            f"video: expected a model that reads one image, grey or in colour, received one of "
            f"{run.spaces.shapes}; leave --video out"
        )
    look, fps = read_as(run.config.data, shape[0])
    source = VideoFolder(video, look, cast(Literal[1, 3], shape[-1]), fps)
    names = source.names()
    if len(names) != 1:
        raise UserError(f"video: expected one video, received {len(names)} in {video}; name one")
    frames = [frame for piece in source.read(names[0]) for frame in piece.obs["image"]]
    if len(frames) <= start:
        raise UserError(
            f"start: expected a frame of {video}, received {start} of {len(frames)}; lower --start"
        )
    return OwnVideo(image, np.stack(frames[start : start + most]))


def own_records(run: VideoRun, own: OwnVideo, length: int, count: int) -> Records:
    """The same video in each of so many rows, of `length` frames; those after its end are black,
    and no action is known."""
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
