"""Recordings as transitions, with D4RL's names (Fu et al. 2020), several episodes in a row.

    observations, actions, rewards, terminals, and maybe timeouts, next_observations: [N, ...]

`actions[n]` was taken at observation n; its reward and terminal belong to the arrival at the next
observation, which is `next_observations[n]` if these are given, else the episode's next one. They
are shifted to the arrival convention.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from common import UserError
from recordings.episode import Video
from recordings.importers.images import Look
from recordings.importers.observed import observed

KEYS = ("observations", "actions", "rewards", "terminals", "timeouts", "next_observations")
REPEATED = "observation after the terminal step not given: that before it, twice"
CUT = "observation after the last step not given: that step's action and reward left out"
NO_TIMEOUTS = "no timeouts: episodes are taken to end at terminals alone"


def per_step(arrays: Mapping[str, np.ndarray], key: str, steps: int) -> np.ndarray:
    """One number at each step, [T], from an array [T], [T, 1], ...

    Raises:
      UserError: if the array does not have exactly one number at each step.
    """
    array = arrays[key]
    if array.size != steps or array.dtype.kind not in "biuf":
        raise UserError(f"{key} of {array.dtype} {array.shape}, expected one number at each step")
    return array.reshape(steps)


def read_transitions(
    name: str, arrays: Mapping[str, np.ndarray], action: np.ndarray, look: Look
) -> Iterator[Video]:
    """Read the episodes of one file.

    Args:
      name: of the file.
      arrays: by name, each of N transitions; other arrays are not read.
      action: [N, A].
      look: how pictures are made to fit.
    Raises:
      UserError: with the reason, if arrays do not fit together.
    """
    steps = len(action)
    seen, notes = observed("observations", arrays["observations"], look)
    after = None
    if "next_observations" in arrays:
        after, _ = observed("next_observations", arrays["next_observations"], look)
        if after.shape != seen.shape or after.dtype != seen.dtype:
            raise UserError(f"next_observations of {after.shape}, expected {seen.shape}")
    reward = per_step(arrays, "rewards", steps).astype(np.float32)
    terminal = per_step(arrays, "terminals", steps).astype(bool)
    if "timeouts" not in arrays:
        notes += (NO_TIMEOUTS,)
    ends = _ends(arrays, seen, after, terminal)
    starts = [0, *(ends[:-1] + 1)]
    obs = "image" if seen.dtype == np.uint8 else "observation"
    for number, (start, end) in enumerate(zip(starts, ends.tolist(), strict=True)):
        steps_in = slice(start, end + 1)
        frames = [seen[steps_in]]
        said = notes
        if after is not None:
            frames.append(after[end : end + 1])
        elif terminal[end]:
            frames.append(seen[end : end + 1])
            said += (REPEATED,)
        else:
            said += (CUT,)
        images = np.concatenate(frames)
        yield Video(
            name if len(ends) == 1 else f"{name}:{number:05d}",
            {obs: images},
            action=np.concatenate([0 * action[:1], action[steps_in]])[: len(images)],
            reward=np.concatenate([[0], reward[steps_in]])[: len(images)],
            terminal=bool(terminal[end]),
            notes=said,
        )


def _ends(
    arrays: Mapping[str, np.ndarray],
    seen: np.ndarray,
    after: np.ndarray | None,
    terminal: np.ndarray,
) -> np.ndarray:
    """Indices of the transitions that end an episode: terminals, timeouts, those after which the
    next observation is not the one that was arrived at, and the last."""
    last = terminal.copy()
    if "timeouts" in arrays:
        last |= per_step(arrays, "timeouts", len(last)).astype(bool)
    elif after is not None:
        axes = tuple(range(1, seen.ndim))
        last[:-1] |= (after[:-1] != seen[1:]).any(axis=axes)
    last[-1] = True
    return np.flatnonzero(last)
