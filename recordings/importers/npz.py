"""Folders of `.npz` files of recorded steps, as DreamerV2 and DreamerV3 write them.

Each file contains arrays [T, ...]: `image` and other observations, `action`, `reward`, `is_first`,
`is_terminal` (or `discount`). DreamerV2 writes one episode, with the action that led to each step;
DreamerV3 writes chunks of several episodes, with the action taken at each step. Files with D4RL's
names (`observations`, `actions`, ...) contain transitions: `transitions.py`.
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
from recordings.importers.images import Look
from recordings.importers.observed import observed
from recordings.importers.transitions import KEYS, per_step, read_transitions

BOOKKEEPING = {
    "action", "reward", "is_first", "is_last", "is_terminal", "terminal", "discount", "cont",
    "reset", "logprob", "id", "stepid", "consec", "seed",
}  # fmt: skip
"""Keys that are not observations; nor are those that contain / or begin with log_."""
UNCLEAR = {
    *KEYS[1:], "done", "dones", "terminated", "truncated", "terminations", "truncations",
}  # fmt: skip
"""Keys that are not observations either, but whose step and convention are ambiguous."""


@dataclass(frozen=True)
class Npz:
    """`.npz` episodes of DreamerV2, or chunks of DreamerV3."""

    source: Path
    """Folder (or a single file)."""
    look: Look = Look()
    """Size and fit of images."""
    actions: Literal["led_to", "taken_at"] | None = None
    """Whether `action[t]` led to step t (DreamerV2) or was taken at it (DreamerV3). None: led_to,
    if an episode's first action is 0; integers do not show it and need one of the two."""
    num_actions: Count | None = None
    """Number of discrete actions, if stored as integers; they become one-hot."""

    def names(self) -> list[str]:
        """Paths of the files inside the folder."""
        return folder.find(self.source, lambda name: name.endswith(".npz"))

    def read(self, name: str) -> Iterator[Video]:
        """Read the file's episodes; if a chunk begins mid-episode, the rest of that is one too."""
        arrays = load_arrays(folder.locate(self.source, name))
        arrays, notes = _steps(arrays)
        if KEYS[0] in arrays:
            videos = self._transitions(name, arrays)
        else:
            videos = self._dreamer(name, arrays)
        for video in videos:
            yield from cut(video._replace(notes=video.notes + notes), self.look.max_frames)

    def split(self, name: str) -> str | None:
        """The split that its folder names, such as DreamerV2's train_eps and eval_eps."""
        return folder.split_of(name)

    def _transitions(self, name: str, arrays: dict[str, np.ndarray]) -> Iterator[Video]:
        """The episodes of a file with D4RL's names."""
        missing = [key for key in KEYS[1:4] if key not in arrays]
        if missing:
            raise UserError(f"observations without {', '.join(missing)}, by D4RL's names")
        action = _numbers("actions", arrays["actions"], self.num_actions)
        return read_transitions(
            name, {key: arrays[key] for key in KEYS if key in arrays}, action, self.look
        )

    def _dreamer(self, name: str, arrays: dict[str, np.ndarray]) -> Iterator[Video]:
        """The episodes of a file with Dreamer's names, including one that begins mid-episode."""
        unclear = sorted(UNCLEAR & set(arrays))
        if unclear:
            raise UserError(
                f"{', '.join(unclear)}: expected DreamerV2's names (action, reward, is_first, "
                "is_terminal) or D4RL's (observations, actions, rewards, terminals)"
            )
        keys = sorted(set(arrays) - BOOKKEEPING)
        if not keys:
            raise UserError(f"no observations: arrays {sorted(arrays)}")
        seen = {key: observed(key, arrays[key], self.look) for key in keys}
        obs, notes = (
            {key: x for key, (x, _) in seen.items()},
            sum((n for _, n in seen.values()), ()),
        )
        steps = len(next(iter(obs.values())))
        action, discrete = None, False
        if "action" in arrays:
            action = _numbers("action", arrays["action"], self.num_actions)
            discrete = _discrete(arrays["action"])
        if discrete and self.actions is None:
            raise UserError(
                "action stored as integers, which do not tell whether they led to their step, as "
                "in DreamerV2's files, or were taken at it, as in DreamerV3's: give --actions "
                "led_to or taken_at"
            )
        reward = (
            per_step(arrays, "reward", steps).astype(np.float32) if "reward" in arrays else None
        )
        first, terminal = _flags(arrays, steps)
        starts = [0, *(np.flatnonzero(first[1:]) + 1)]
        for number, (start, end) in enumerate(zip(starts, [*starts[1:], steps], strict=True)):
            if terminal[start : end - 1].any():
                raise UserError(f"a terminal step among steps {start} to {end - 1}, not the last")
            part = slice(start, end)
            yield Video(
                name if len(starts) == 1 else f"{name}:{number:05d}",
                {key: x[part] for key, x in obs.items()},
                action=None if action is None else self._arrived(action[part], discrete),
                reward=None if reward is None else reward[part],
                terminal=bool(terminal[end - 1]),
                notes=notes if first[start] else ("begins in mid-episode", *notes),
            )

    def _arrived(self, action: np.ndarray, discrete: bool) -> np.ndarray:
        """One episode's actions [T, A] in the arrival convention."""
        if self.actions == "taken_at":
            return np.concatenate([np.zeros_like(action[:1]), action[:-1]])
        if np.any(action[0]) and not discrete:
            raise UserError(
                "the first action is not 0, so it led to nothing: DreamerV3 files need "
                "--actions taken_at"
            )
        return action


def _steps(arrays: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """The arrays [T, ...] that are read, and notes on the others.

    Raises:
      UserError: for arrays of different lengths or of length 0.
    """
    why = {key: _left_out(key, array) for key, array in arrays.items()}
    kept = {key: array for key, array in arrays.items() if not why[key]}
    lengths = {key: len(array) for key, array in kept.items()}
    if len(set(lengths.values())) > 1 or 0 in lengths.values():
        raise UserError(f"arrays of different or no length: {lengths}")
    return kept, tuple(f"{key} left out: {reason}" for key, reason in why.items() if reason)


def _left_out(key: str, array: np.ndarray) -> str:
    """Why an array is not read; empty if it is."""
    if array.dtype.kind in "US":
        return "text"
    if array.ndim == 0:
        return "one value, not one per step"
    return "no observation by its name" if "/" in key or key.startswith("log_") else ""


def _numbers(key: str, action: np.ndarray, count: int | None) -> np.ndarray:
    """Actions [T, A] as in the file; integers become one-hot vectors of ``count`` entries."""
    if _discrete(action):
        if count is None:
            raise UserError(f"{key} stored as integers: give --num-actions")
        return one_hot(action.reshape(-1), count)
    if action.dtype.kind not in "biuf":
        raise UserError(f"{key} of {action.dtype}, expected numbers")
    return action.reshape(len(action), -1).astype(np.float32)


def _discrete(action: np.ndarray) -> bool:
    """Whether actions are stored as one integer per step."""
    return action.dtype.kind in "iu" and action.size == len(action)


def _flags(arrays: dict[str, np.ndarray], steps: int) -> tuple[np.ndarray, np.ndarray]:
    """(is_first, is_terminal), bool [T]; without `is_first` the file is one episode."""
    last, first = np.arange(steps) == steps - 1, np.arange(steps) == 0
    if "is_first" in arrays:
        first = per_step(arrays, "is_first", steps).astype(bool)
    if "is_terminal" in arrays:
        return first, per_step(arrays, "is_terminal", steps).astype(bool)
    if "discount" in arrays:
        return first, (per_step(arrays, "discount", steps) == 0) & last
    return first, np.zeros(steps, bool)
