"""MineRL Navigate recordings of human play, in the layouts of versions 0.3 and 4.

    MineRLNavigateDense-v0/<stream>/recording.mp4   frames; the first ones come before the episode
                                   /rendered.npz    reward [T], action$<key> [T, ...],
                                                    observation$... [T+1]
                                   /metadata.json   true_video_frame_count

`action$<key>[t]` was taken at observation t and led to t+1, so it is shifted into the arrival
convention. Actions and observations are as the agent of `--env minerl_navigate` sees them: the flat
vector of `action_space`, `pov`, `compass.needle` = [cos, sin] of the angle, `inventory.dirt`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Gt, Le
from gymnasium import spaces

from agents.factors import flatten
from common import UserError, check_bounds, read_json
from envs.navigate.env import KEYS, PLACE, action_space
from recordings.episode import Video, cut
from recordings.importers import decode, folder
from recordings.importers.arrays import load_arrays
from recordings.importers.images import Look

FILES = ("metadata.json", "recording.mp4", "rendered.npz")
GOAL = 50.0  # a frame that pays more than half of the goal's 100 touched it
_ANGLES = ("observation$compass$angle", "observation$compassAngle")  # 4, 0.3
_DIRT = "observation$inventory$dirt"


@dataclass(frozen=True)
class MineRL:
    """MineRL Navigate, folders of recording.mp4 + rendered.npz + metadata.json (0.3 and 4)."""

    source: Path
    """$MINERL_DATA_ROOT, the folder of one task in it, or of one recording."""
    look: Look = Look()
    """Size and fit of frames; MineRL's are 64x64."""
    camera_limit: Annotated[float, Gt(0), Le(180)] = 15.0
    """Degrees per frame that an action of 1 turns the camera by: `camera_limit` in the
    `--env.options` of the agent to be trained. Faster turns are clipped (reported at the end)."""
    held_keys: tuple[str, ...] = ()
    """Keys that the agent to be trained does not have: the names in `held_keys` in its
    `--env.options`."""

    def __post_init__(self) -> None:
        """Raise UserError on an unknown key or an out-of-range limit."""
        check_bounds(self)
        unknown = set(self.held_keys) - {*KEYS, "place"}
        if unknown:
            raise UserError(
                f"expected --held-keys among {', '.join((*KEYS, 'place'))}, received "
                f"{sorted(unknown)}; leave them out"
            )

    def names(self) -> list[str]:
        """Folders with at least one file of a recording."""
        found = folder.find(self.source, lambda name: name in FILES)
        return sorted({name.rpartition("/")[0] or "." for name in found})

    def read(self, name: str) -> Iterator[Video]:
        """Read the episode recorded in one folder."""
        place = self.source / name
        missing = [file for file in FILES if not (place / file).is_file()]
        if missing:
            raise UserError(f"without {' and '.join(missing)}")
        arrays = _load(place / "rendered.npz")
        steps = len(arrays["reward"])
        needle, dirt = _vectors(arrays, steps)
        pov, notes = self._pov(place, steps + 1)
        obs = {"pov": pov, "compass.needle": needle, "inventory.dirt": dirt}
        action, clipped = self._actions(arrays, steps)
        if clipped:
            notes += (f"{clipped} turns faster than {self.camera_limit:g} degrees clipped",)
        reward = np.concatenate([[0.0], arrays["reward"]]).astype(np.float32)
        yield from cut(
            _ended(Video(name, obs, {}, action, reward, False, notes)), self.look.max_frames
        )

    def split(self, name: str) -> str | None:
        """The split that a folder called train or test names; MineRL itself has none."""
        return folder.split_of(name + "/")

    def action_space(self) -> spaces.Dict:
        """The agent's action space: all keys except the held ones, `camera` up to its limit, and
        `place`."""
        camera = spaces.Box(-self.camera_limit, self.camera_limit, (2,), np.float32)
        keys = action_space().spaces | {"camera": camera}
        return spaces.Dict({key: part for key, part in keys.items() if key not in self.held_keys})

    def _actions(self, arrays: dict[str, np.ndarray], steps: int) -> tuple[np.ndarray, int]:
        """Actions [T+1, A] in the arrival convention, and the number of clipped turns."""
        space = self.action_space()
        taken = {key: _array(arrays, f"action${key}", steps) for key in space.spaces}
        if "place" in taken:
            taken["place"] = _places(taken["place"])
        fast = np.abs(taken["camera"].reshape(steps, -1)).max(axis=1) > self.camera_limit
        flat = flatten(space, taken)
        return np.concatenate([np.zeros_like(flat[:1]), flat]), int(fast.sum())

    def _pov(self, place: Path, frames: int) -> tuple[np.ndarray, tuple[str, ...]]:
        """uint8 [frames, S, S, 3], the last of the recording's true frame count; and notes."""
        count = _frame_count(place / "metadata.json", frames)
        recorded = decode.read_frames(place / "recording.mp4", self.look, channels=3)
        pov = list(islice(recorded, count - frames, count))
        if len(pov) == frames - 1 and pov:  # frequent; MineRL's own loader does the same
            return np.stack([*pov, pov[-1]]), ("the last frame is missing: that before it, twice",)
        if len(pov) < frames:
            raise UserError(f"{len(pov)} frames of the episode, expected {frames}")
        return np.stack(pov), ()


def _frame_count(path: Path, least: int) -> int:
    """Frame count of the recording from metadata.json, where some tools wrote a float or text."""
    metadata = read_json(path)
    told: Any = metadata.get("true_video_frame_count") if isinstance(metadata, dict) else None
    try:
        count = -1 if isinstance(told, bool) or float(told) % 1 else int(float(told))
    except (TypeError, ValueError, OverflowError):
        count = -1
    if count < least:
        raise UserError(
            f"metadata.json: expected true_video_frame_count of at least {least}, received "
            f"{told!r:.40}"
        )
    return count


def _load(path: Path) -> dict[str, np.ndarray]:
    """Load the arrays of rendered.npz; nothing is unpickled."""
    try:
        arrays = load_arrays(path)
    except ValueError as error:
        raise UserError(f"rendered.npz: {error}") from error
    reward = arrays.get("reward")
    if reward is None or reward.ndim != 1 or len(reward) == 0:
        raise UserError("rendered.npz without rewards")
    return arrays


def _array(arrays: dict[str, np.ndarray], key: str, length: int) -> np.ndarray:
    """One array of rendered.npz, checked to have ``length`` frames."""
    if key not in arrays:
        raise UserError(f"rendered.npz without {key}: no Navigate recording")
    if len(arrays[key]) != length:
        raise UserError(f"{len(arrays[key])} frames of {key}, expected {length}")
    return arrays[key]


def _vectors(arrays: dict[str, np.ndarray], steps: int) -> tuple[np.ndarray, np.ndarray]:
    """The needle [T+1, 2] and the dirt [T+1, 1]."""
    key = next((key for key in _ANGLES if key in arrays), _ANGLES[0])
    angle = np.deg2rad(_array(arrays, key, steps + 1).astype(np.float64).reshape(steps + 1))
    dirt = _array(arrays, _DIRT, steps + 1).astype(np.float32).reshape(steps + 1, 1)
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1).astype(np.float32), dirt


def _places(values: np.ndarray) -> np.ndarray:
    """`place` as numbers; recordings have words or numbers."""
    if values.dtype.kind in "US":
        words = values.astype(str)
        unknown = set(words.tolist()) - set(PLACE)
        if unknown:
            raise UserError(f"places {sorted(unknown)}, expected {' or '.join(PLACE)}")
        return (words == PLACE[1]).astype(np.int64)
    return values


def _ended(video: Video) -> Video:
    """End the episode, as terminal, where the goal was touched; later frames are left out."""
    assert video.reward is not None and video.action is not None
    goals = np.flatnonzero(video.reward > GOAL)
    if len(goals) == 0:
        return video
    end = int(goals[0]) + 1
    after = video.steps - end
    notes = (f"{after} frames after the goal left out",) if after else ()
    return video._replace(
        obs={key: x[:end] for key, x in video.obs.items()},
        action=video.action[:end],
        reward=video.reward[:end],
        terminal=True,
        notes=video.notes + notes,
    )
