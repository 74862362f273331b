"""Logging of a run: the same numbers to TensorBoard and to `metrics.jsonl`, and videos.

Read next: `metrics.py`, the format of the lines; `numbers.py`, what the numbers are; `board.py`,
what else TensorBoard shows; `trackers.py`, where else they may be sent.
"""

import math
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import RecordWriter

from common import UserError, dump_json
from common.errors import named_in_errors
from training.board import described, meaning
from training.metrics import METRICS, repair
from training.trackers import Tracker
from training.video import check_frames, encode_gif

EVENTS = "events.out.tfevents"
"""Prefix of the names of TensorBoard's files."""
RESERVED = ("step", "time")
FLUSH_SECONDS = 10
"""Seconds between flushes of TensorBoard's file; `metrics.jsonl` is flushed at every call."""


class RunLogger:
    """Write a run's metrics and videos into its directory; one process per directory.

    Args:
      logdir: directory of the run, created if missing.
      resume_step: None for a new run. To resume, the environment step of the restored checkpoint
        (-1: nothing was restored): what was logged after it is dropped from `metrics.jsonl` and
        hidden in TensorBoard, since the resumed run will log it again.
      resume_rows: number of rows logged by then; None: all up to that step.
      settings: settings of the run by dotted name, shown in TensorBoard.
      trackers: also receive all numbers and videos; closed with the logger.
    Raises:
      UserError: for a new run in a directory that already contains metrics.
    """

    def __init__(
        self,
        logdir: Path,
        resume_step: int | None = None,
        resume_rows: int | None = None,
        settings: Mapping[str, Any] | None = None,
        trackers: Sequence[Tracker] = (),
    ) -> None:
        self.logdir = Path(logdir)
        self.logdir.mkdir(parents=True, exist_ok=True)
        self._path = self.logdir / METRICS
        self._not_finite: set[str] = set()
        self._prepare(resume_step, resume_rows)
        self._lines = self._path.open("a", encoding="utf-8")
        self.rows = len(self._path.read_bytes().splitlines())
        """Number of rows written."""
        self._events = EventFile(self.logdir, None if resume_step is None else resume_step + 1)
        for summary in described(settings or {}):
            self._events.add(0, *summary.value)
        self._trackers = trackers
        self._told: set[str] = set()

    def _prepare(self, resume_step: int | None, resume_rows: int | None) -> None:
        if resume_step is not None:
            if done := repair(self._path, resume_step, resume_rows):
                _report(done)
        elif self._path.exists() and self._path.stat().st_size:
            raise UserError(
                f"expected no {METRICS} in {self.logdir}, received one of another run; choose "
                "another --logdir, or pass resume_step to resume"
            )

    def scalars(self, step: int, values: Mapping[str, Any]) -> None:
        """Log numbers at one environment step.

        A number that is not finite is logged too, and reported once per name on standard error.

        Args:
          step: environment steps of the whole run.
          values: numbers or 0-dimensional arrays; "group/name" groups curves in TensorBoard.
        Raises:
          UserError: for a reserved name or a value that is not one number.
        """
        numbers = {name: _number(name, value) for name, value in values.items()}
        row = {"step": int(step), "time": round(time.time(), 3)} | numbers
        with named_in_errors(self._path):
            self._lines.write(dump_json(row) + "\n")
            self._lines.flush()
        self.rows += 1
        for tracker in self._trackers:
            tracker.scalars(int(step), numbers)
        for name, number in numbers.items():
            said = None if name in self._told else meaning(name)
            self._told.add(name)
            value = Summary.Value(tag=name, simple_value=number, metadata=said)
            self._events.add(int(step), value)
            if not math.isfinite(number) and name not in self._not_finite:
                self._not_finite.add(name)
                _report(f"{name} is {number} at step {step} (reported once; all are logged)")

    def video(self, step: int, name: str, frames: np.ndarray, fps: float) -> None:
        """Log a looping video, shown under TensorBoard's Images.

        Args:
          step: environment steps of the whole run.
          name: "group/name".
          frames: uint8 [T, H, W, 3], RGB.
          fps: frames per second, at most 50.
        """
        check_frames(frames)
        image = Summary.Image(
            height=frames.shape[1],
            width=frames.shape[2],
            colorspace=3,
            encoded_image_string=encode_gif(frames, fps),
        )
        self._events.add(int(step), Summary.Value(tag=name, image=image))
        for tracker in self._trackers:
            tracker.video(int(step), name, frames, fps)

    def close(self) -> None:
        """Flush and close everything; the logger cannot be used afterwards."""
        with ExitStack() as closing:
            for tracker in self._trackers:
                closing.callback(tracker.close)  # if one fails, the others are still closed
            closing.callback(self._events.close)
            closing.callback(self._lines.close)

    def __enter__(self) -> "RunLogger":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class EventFile:
    """A new TensorBoard event file in a directory. The calling thread writes the events, so that a
    full disk raises in the caller. (tensorboardX writes in a separate thread, which such an error
    kills; the queue to it is then never read, and blocks forever.)

    Args:
      purge_step: events of earlier files from this step on are hidden; None hides none.
    """

    def __init__(self, logdir: Path, purge_step: int | None) -> None:
        number = len(list(logdir.glob(f"{EVENTS}.*")))  # another file may exist of this second
        name = f"{EVENTS}.{time.time():.0f}.{socket.gethostname()}.{number:04d}"
        self._path = logdir / name
        self._file = RecordWriter(str(self._path))
        self._flushed = time.monotonic()
        self._write(Event(file_version="brain.Event:2"))
        if purge_step is not None:
            start = SessionLog(status=SessionLog.START)
            self._write(Event(step=purge_step, session_log=start))

    def add(self, step: int, *values: Summary.Value) -> None:
        """Add summary values at a step."""
        with named_in_errors(self._path):
            self._write(Event(step=step, summary=Summary(value=values)))
            if time.monotonic() - self._flushed > FLUSH_SECONDS:
                self._file.flush()
                self._flushed = time.monotonic()

    def close(self) -> None:
        """Flush and close the file."""
        self._file.close()

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        self._file.write(event.SerializeToString())


def _number(name: str, value: Any) -> float:
    if name in RESERVED:
        raise UserError(f"expected a name other than {RESERVED}, received {name!r}; rename it")
    if np.ndim(value) != 0:
        raise UserError(
            f"expected one number for {name!r}, received shape {np.shape(value)}; reduce it, e.g. "
            "by its mean"
        )
    return float(value)


def _report(line: str) -> None:
    print(f"log: {line}", file=sys.stderr, flush=True)
