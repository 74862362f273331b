"""Experiment trackers that a run's numbers go to as well, beside its own directory.

Weights & Biases and trackio are called alike: `init` begins a run, whose `log` takes numbers and
whose `finish` ends it. A run keeps one name there over all its resumptions (`tracked.txt`). What
was logged after the checkpoint from which it goes on is sent again, and the tracker keeps the
first. Read next: `logger.py`.
"""

import tempfile
import uuid
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from common import UserError
from configs.tracking import Tracking
from replay.atomic import write_text
from training.video import encode_gif

PROJECT = "clockwork"
NAME = "tracked.txt"


class Tracker(Protocol):
    """What a `RunLogger` also hands its numbers to."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers at one step of the run."""

    def video(self, step: int, name: str, frames: np.ndarray, fps: float) -> None:
        """A looping video, uint8 [T, H, W, 3]."""

    def close(self) -> None:
        """All has been handed over."""


def open_trackers(
    wanted: Sequence[Tracking], logdir: Path, settings: Mapping[str, Any]
) -> list[Tracker]:
    """Begins the run at every tracker, or goes on with it.

    Args:
      settings: by dotted name, shown there as its configuration.
    Raises:
      UserError: for a tracker that is not installed.
    """
    return [Remote(_imported(name), logdir, settings, _more(name, logdir)) for name in wanted]


class Remote:
    """A run at a tracker.

    Args:
      module: `wandb`, `trackio`, or what is called like them.
      more: options of its `init` beside what all have.
    """

    def __init__(
        self, module: Any, logdir: Path, settings: Mapping[str, Any], more: Mapping[str, Any]
    ) -> None:
        self.module = module
        self.run = module.init(
            project=PROJECT, name=name_of(logdir), config=dict(settings), resume="allow", **more
        )

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers at one step of the run."""
        self.run.log(dict(values), step=step)

    def video(self, step: int, name: str, frames: np.ndarray, fps: float) -> None:
        """A looping video, uint8 [T, H, W, 3]."""
        with tempfile.TemporaryDirectory(prefix="clockwork-") as folder:
            path = Path(folder) / "video.gif"
            path.write_bytes(encode_gif(frames, fps))
            self.run.log({name: self.module.Video(str(path), format="gif")}, step=step)

    def close(self) -> None:
        """All has been handed over."""
        self.run.finish()


def name_of(logdir: Path) -> str:
    """A run's name at trackers: its directory's, and what tells it from others of that name."""
    path = logdir / NAME
    if not path.is_file():
        write_text(path, f"{logdir.resolve().name}-{uuid.uuid4().hex[:6]}\n")
    return path.read_text(encoding="utf-8").strip()


def _imported(name: Tracking) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise UserError(
            f"track: expected {name}, which is not installed; pip install "
            f"'clockwork-world-model[{name}]', or leave it out"
        ) from error


def _more(name: Tracking, logdir: Path) -> dict[str, Any]:
    """Options of one tracker alone. Several runs of a process are open at once (`--seeds`)."""
    if name == "trackio":
        return {}
    return {"id": name_of(logdir), "dir": str(logdir), "reinit": "create_new"}
