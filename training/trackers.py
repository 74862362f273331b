"""Experiment trackers that receive a run's numbers in addition to its own directory.

Weights & Biases and trackio share an interface: `init` begins a run, its `log` takes numbers, and
its `finish` ends it. A run keeps one name there across resumes (`tracked.txt`). What was logged
after the checkpoint from which a run resumes is sent again; the tracker keeps the first version.
Read next: `logger.py`.
"""

import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
    """A receiver of all numbers and videos of a `RunLogger`."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Log numbers at one step of the run."""

    def video(self, step: int, name: str, frames: np.ndarray, fps: float) -> None:
        """Log a looping video, uint8 [T, H, W, 3]."""

    def close(self) -> None:
        """Finish logging."""


def check_trackers(wanted: Sequence[Tracking]) -> None:
    """Raise UserError if a tracker is not installed."""
    for name in wanted:
        _imported(name)


def open_trackers(
    wanted: Sequence[Tracking], logdir: Path, settings: Mapping[str, Any]
) -> list[Tracker]:
    """Begin or resume the run at every tracker.

    Args:
      settings: by dotted name, shown there as the run's configuration.
    Raises:
      UserError: if a tracker is not installed.
    """
    return [Remote(_imported(name), logdir, settings, _more(name, logdir)) for name in wanted]


class Remote:
    """A run at a tracker. Once it has begun, an error there, such as of the network, is reported
    the first time and does not end the run, whose own logs are complete.

    Args:
      module: `wandb`, `trackio`, or a module with the same interface.
      more: additional options of its `init`.
    """

    def __init__(
        self, module: Any, logdir: Path, settings: Mapping[str, Any], more: Mapping[str, Any]
    ) -> None:
        self.module, self._reported = module, False
        self.run = module.init(
            project=PROJECT, name=name_of(logdir), config=dict(settings), resume="allow", **more
        )

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Log numbers at one step of the run."""
        with self._going_on():
            self.run.log(dict(values), step=step)

    def video(self, step: int, name: str, frames: np.ndarray, fps: float) -> None:
        """Log a looping video, uint8 [T, H, W, 3]."""
        with self._going_on(), tempfile.TemporaryDirectory(prefix="clockwork-") as folder:
            path = Path(folder) / "video.gif"
            path.write_bytes(encode_gif(frames, fps))
            self.run.log({name: self.module.Video(str(path), format="gif")}, step=step)

    def close(self) -> None:
        """Finish logging."""
        with self._going_on():
            self.run.finish()

    @contextmanager
    def _going_on(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 - of another's code; it is reported
            if not self._reported:
                self._reported = True
                told = f"{type(error).__name__}: {error}".splitlines()[0]
                print(
                    f"log: {self.module.__name__} failed ({told}; reported once); the run goes on, "
                    "and its own logs are complete",
                    file=sys.stderr,
                    flush=True,
                )


def name_of(logdir: Path) -> str:
    """A run's name at trackers: that of its directory, with a random suffix to make it unique."""
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
    """Options specific to a tracker. One process may have several runs open (`--seeds`)."""
    if name == "trackio":
        return {}
    return {"id": name_of(logdir), "dir": str(logdir), "reinit": "create_new"}
