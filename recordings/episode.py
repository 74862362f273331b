"""One video or recorded episode on its way into the store, in the arrival convention.

Importers and generators produce it; ``append_video`` writes it. Ground truth that a generator knows
is stored along with the frames as ``factor/<name>``.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from common import UserError
from replay.config import standard_fields
from replay.store import Field, ReplayStore

FACTOR = "factor/"  # prefix of the ground truth's fields


class Video(NamedTuple):
    """One episode of T steps; None means unknown."""

    name: str  # its origin; unique within its source
    obs: dict[str, np.ndarray]  # images uint8 [T, S, S, C], vectors float32 [T, n]
    factors: dict[str, np.ndarray] = {}  # ground truth [T, ...], integer or float
    action: np.ndarray | None = None  # [T, A] that led to each observation; row 0 is ignored
    reward: np.ndarray | None = None  # [T] on arrival
    terminal: bool = False  # whether the last step is terminal
    notes: tuple[str, ...] = ()  # what was changed on import
    interval: float | None = None  # seconds from frame to frame, the median

    @property
    def steps(self) -> int:
        """T."""
        return len(next(iter(self.obs.values())))


def video_fields(video: Video) -> dict[str, Field]:
    """Fields of a store of videos like this one; without actions, there is no action field."""
    obs = {name: Field(x.shape[1:], str(x.dtype)) for name, x in video.obs.items()}
    width = 0 if video.action is None else video.action.shape[1]
    factors = {
        f"{FACTOR}{name}": Field(x.shape[1:], str(x.dtype)) for name, x in video.factors.items()
    }
    return standard_fields(obs, width) | factors


def video_columns(video: Video) -> dict[str, np.ndarray]:
    """The records of an episode, field by field, each [T, ...].

    Raises:
      UserError: if an array has a wrong length or shape, or there are no steps.
    """
    _check_shapes(video)
    columns: dict[str, np.ndarray] = {f"obs/{name}": x for name, x in video.obs.items()}
    columns |= {f"{FACTOR}{name}": x for name, x in video.factors.items()}
    steps = video.steps
    known = video.action is not None
    if video.action is not None:
        columns["action"] = np.concatenate([0 * video.action[:1], video.action[1:]])
    reward = np.zeros(steps) if video.reward is None else np.asarray(video.reward)
    columns["reward"] = np.concatenate([0 * reward[:1], reward[1:]]).astype(np.float32)
    columns["action_mask"] = np.full(steps, float(known), np.float32)
    columns["terminal"] = np.arange(steps) == (steps - 1 if video.terminal else -1)
    columns["is_first"] = np.arange(steps) == 0
    _check_lengths(video.name, columns, steps)
    return columns


def not_finite(video: Video) -> str | None:
    """Where an episode, as stored, has a nan or infinite number; None if there is none."""
    for name, column in video_columns(video).items():
        if column.dtype.kind == "f" and not np.isfinite(column).all():
            step = int(np.flatnonzero(~np.isfinite(column).reshape(len(column), -1).all(1))[0])
            bad = column[step][~np.isfinite(column[step])].flat[0]
            return f"{name} is {bad:g} at step {step:,}, expected finite numbers"
    return None


def append_video(store: ReplayStore, video: Video, stream: int = 0) -> None:
    """Write a whole episode into the store.

    Raises:
      UserError: if an array has a wrong length, or the store has other fields.
    """
    columns = video_columns(video)
    for t in range(video.steps):
        record = {name: x[t] for name, x in columns.items()}
        store.append(stream, record, last=t == video.steps - 1)


def cut(video: Video, most: int) -> Iterator[Video]:
    """The episode, or its pieces in order if it is longer than `most` steps.

    A piece is named ``name[first:end]`` and starts a new episode: its first action and reward are
    unknown, so they count as 0.
    """
    if video.steps <= most:
        yield video
        return
    for first in range(0, video.steps, most):
        yield _piece(video, first, min(first + most, video.steps))


def piece_name(name: str, first: int, end: int) -> str:
    """Name of steps first..end-1 of a longer video."""
    return f"{name}[{first}:{end}]"


def _piece(video: Video, first: int, end: int) -> Video:
    part = slice(first, end)
    return video._replace(
        name=piece_name(video.name, first, end),
        obs={key: x[part] for key, x in video.obs.items()},
        factors={key: x[part] for key, x in video.factors.items()},
        action=None if video.action is None else video.action[part],
        reward=None if video.reward is None else video.reward[part],
        terminal=video.terminal and end == video.steps,
        notes=("a piece of a longer video", *video.notes) if first == 0 else (),
    )


def _check_shapes(video: Video) -> None:
    """Raise UserError for arrays that no store can have a field for."""
    if not video.obs:
        raise UserError(f"video {video.name!r}: expected observations, received none; add some")
    wanted = [("reward", video.reward, "[T]", range(1, 2))]
    wanted += [("action", video.action, "[T, A]", range(2, 3))]
    for name, array in (*video.obs.items(), *video.factors.items()):
        wanted.append((name, array, "[T, ...]", range(1, 9)))
    for name, given, shape, axes in wanted:
        array = np.asarray(given)
        if given is not None and (array.ndim not in axes or array.dtype.kind not in "biuf"):
            raise UserError(
                f"video {video.name!r}: expected numbers {shape} of {name}, received "
                f"{array.dtype} {array.shape}; convert them"
            )


def _check_lengths(name: str, columns: dict[str, np.ndarray], steps: int) -> None:
    wrong = {key: len(x) for key, x in columns.items() if len(x) != steps}
    if wrong or steps == 0:
        raise UserError(
            f"video {name!r}: expected {steps or 'one or more'} steps in every array, received "
            f"{wrong or 0}; cut them to the same length"
        )
