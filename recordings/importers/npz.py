"""Folders of `.npz` files of recorded steps, as DreamerV2 and DreamerV3 write them.

Each file holds arrays [T, ...]: `image` and other observations, `action`, `reward`, `is_first`,
`is_terminal` (or `discount`). DreamerV2 writes one episode, and the action that led to each step;
DreamerV3 writes chunks of several episodes, and the action taken at each step.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from common import Count, UserError
from envs.spaces import one_hot
from recordings.episode import Video, cut
from recordings.importers import folder
from recordings.importers.arrays import load_arrays
from recordings.importers.images import Look, fit_images

BOOKKEEPING = {
    "action", "reward", "is_first", "is_last", "is_terminal", "terminal", "discount", "cont",
    "reset", "logprob", "id", "stepid", "consec", "seed",
}  # fmt: skip
"""Keys that are no observation; neither are those with a / or beginning with log_."""


@dataclass(frozen=True)
class Npz:
    """`.npz` episodes of DreamerV2, or chunks of DreamerV3."""

    source: Path
    """The folder (or one file)."""
    look: Look = Look()
    """How images are made to fit."""
    actions: Literal["led_to", "taken_at"] = "led_to"
    """Whether `action[t]` led to step t (DreamerV2) or was taken at it (DreamerV3)."""
    num_actions: Count | None = None
    """Of actions stored as integers, how many there are; they become one-hot."""

    def names(self) -> list[str]:
        """Paths of the files inside the folder."""
        return folder.find(self.source, lambda name: name.endswith(".npz"))

    def read(self, name: str) -> Iterator[Video]:
        """The file's episodes; of a chunk that begins in mid-episode, its rest as one."""
        arrays = load_arrays(folder.locate(self.source, name))
        obs = self._observations(arrays)
        steps = len(next(iter(obs.values())))
        action = self._actions(arrays, steps)
        reward = arrays["reward"].astype(np.float32) if "reward" in arrays else None
        first, terminal = _flags(arrays, steps)
        starts = [0, *(np.flatnonzero(first[1:]) + 1)]
        for number, (start, end) in enumerate(zip(starts, [*starts[1:], steps], strict=True)):
            if terminal[start : end - 1].any():
                raise UserError(f"a terminal step among steps {start} to {end - 1}, not the last")
            part = slice(start, end)
            video = Video(
                name if len(starts) == 1 else f"{name}:{number:05d}",
                {key: x[part] for key, x in obs.items()},
                action=None if action is None else self._arrived(action[part]),
                reward=None if reward is None else reward[part],
                terminal=bool(terminal[end - 1]),
                notes=() if first[start] else ("begins in mid-episode",),
            )
            yield from cut(video, self.look.max_frames)

    def split(self, name: str) -> str | None:
        """Of the folder that it lies in (DreamerV2's train_eps, eval_eps is left to chance)."""
        return folder.split_of(name)

    def _observations(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        keys = [key for key in sorted(arrays) if key not in BOOKKEEPING and "/" not in key]
        obs = {key: self._observation(key, arrays[key]) for key in keys if key[:4] != "log_"}
        if not obs:
            raise UserError(f"no observations: arrays {sorted(arrays)}")
        lengths = {key: len(array) for key, array in arrays.items() if array.ndim}
        if len(set(lengths.values())) > 1 or 0 in lengths.values():
            raise UserError(f"arrays of different or no length: {lengths}")
        return obs

    def _observation(self, key: str, array: np.ndarray) -> np.ndarray:
        """An image [T, S, S, C] or a vector [T, n]."""
        if array.dtype == np.uint8 and array.ndim == 4:
            return fit_images(array, self.look)
        if array.dtype.kind not in "biuf" or array.ndim == 0:
            raise UserError(f"{key} of {array.dtype} {array.shape}, expected numbers [T, ...]")
        return array.reshape(len(array), -1).astype(np.float32)

    def _actions(self, arrays: dict[str, np.ndarray], steps: int) -> np.ndarray | None:
        """[T, A] as they are in the file."""
        if "action" not in arrays:
            return None
        action = arrays["action"]
        if action.ndim == 1 and action.dtype.kind in "iu":
            if self.num_actions is None:
                raise UserError("actions stored as integers: give --num-actions")
            return one_hot(action, self.num_actions)
        if action.dtype.kind not in "biuf":
            raise UserError(f"actions of {action.dtype}, expected numbers")
        return action.reshape(steps, -1).astype(np.float32)

    def _arrived(self, action: np.ndarray) -> np.ndarray:
        """One episode's actions [T, A] in the arrival convention."""
        if self.actions == "taken_at":
            return np.concatenate([np.zeros_like(action[:1]), action[:-1]])
        if np.any(action[0]) and self.num_actions is None:
            raise UserError(
                "the first action is not 0, so it led to nothing: DreamerV3 files need "
                "--actions taken_at"
            )
        return action


def _flags(arrays: dict[str, np.ndarray], steps: int) -> tuple[np.ndarray, np.ndarray]:
    """(is_first, is_terminal), bool [T]; without `is_first` the file is one episode."""
    first = arrays["is_first"] if "is_first" in arrays else np.arange(steps) == 0
    if "is_terminal" in arrays:
        terminal = arrays["is_terminal"]
    elif "discount" in arrays:
        terminal = (arrays["discount"] == 0) & (np.arange(steps) == steps - 1)
    else:
        terminal = np.zeros(steps)
    return np.asarray(first, bool).reshape(steps), np.asarray(terminal, bool).reshape(steps)
