"""Minari datasets of offline reinforcement learning (the optional package `minari`).

Minari's `actions[t]` was taken at observation t and led to t+1, so it is shifted into the arrival
convention. Actions and observations have the agent's own layout: `agents/factors.py`,
`envs/spaces.py`.
"""

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from agents.factors import flatten
from common import UserError
from envs.spaces import Canonical
from recordings.episode import Video, cut
from recordings.importers.images import Look
from recordings.importers.transitions import per_step


@dataclass(frozen=True)
class Minari:
    """A Minari dataset, downloaded (`minari download ID`) or made locally."""

    source: str
    """Dataset id, such as D4RL/door/human-v2, or its folder."""
    look: Look = Look()
    """Size and fit of images."""

    def names(self) -> list[str]:
        """One name per episode."""
        return [f"episode_{number:07d}" for number in range(self._dataset.storage.total_episodes)]

    def read(self, name: str) -> Iterator[Video]:
        """Read the episode."""
        data = self._dataset
        try:
            [episode] = data.storage.get_episodes([int(name.rpartition("_")[2])])
        except (OSError, KeyError, RuntimeError, IndexError, AssertionError) as error:
            raise UserError(f"damaged: {error}") from error
        canonical = Canonical(data.observation_space, self.look.size, self.look.fit)
        obs = canonical.series(episode["observations"])
        taken = flatten(data.action_space, episode["actions"])
        given = {"rewards": np.asarray(episode["rewards"])}
        rewards = per_step(given, "rewards", len(taken)).astype(np.float32)
        video = Video(
            name,
            obs,
            action=np.concatenate([np.zeros_like(taken[:1]), taken]),
            reward=np.concatenate([np.zeros(1, np.float32), rewards]),
            terminal=bool(np.any(episode["terminations"][-1:])),
            notes=tuple(f"{key} left out: {why}" for key, why in canonical.left_out.items()),
        )
        if not np.any(episode["terminations"][-1:]) and len(rewards) == video.steps:
            raise UserError("as many observations as actions, expected one more")
        yield from cut(video, self.look.max_frames)

    def split(self, name: str) -> str | None:
        """None: Minari has no splits."""
        return None

    @cached_property
    def _dataset(self) -> Any:
        minari = _package()
        for place in (Path(self.source) / "data", Path(self.source)):
            if (place / "metadata.json").is_file():
                return _open(minari, place)
        try:
            place = minari.storage.local.get_dataset_path(self.source)
        except ValueError as error:
            raise UserError(f"expected a Minari dataset's id or folder: {error}") from error
        if not Path(place, "data", "metadata.json").is_file():
            raise UserError(
                f"expected a Minari dataset's folder or the id of a downloaded one, received "
                f"{self.source!r}; `minari download {self.source}` brings it"
            )
        return _open(minari, Path(place, "data"))


def _package() -> Any:
    try:
        package = importlib.import_module("minari")
        importlib.import_module("h5py")
    except ImportError as error:
        raise UserError(
            f"expected the packages of Minari, received: {error}; "
            "pip install 'clockwork-world-model[minari]'"
        ) from error
    return package


def _open(minari: Any, place: Path) -> Any:
    """Open the dataset. Without spaces on disk, Minari would make the environment it names."""
    storage = importlib.import_module("minari.dataset.minari_storage").MinariStorage
    metadata = storage.read_raw_metadata(place)
    missing = {"observation_space", "action_space"} - metadata.keys()
    if missing:
        raise UserError(f"{place}/metadata.json: expected {' and '.join(sorted(missing))}")
    return minari.MinariDataset(place)
