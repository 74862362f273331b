"""Small stores whose every value follows from (episode tag, step), so that a mix-up shows."""

from pathlib import Path

import numpy as np
import pytest

from replay import Field, ReplayConfig, ReplayStore, standard_fields

Record = dict[str, np.ndarray]


class World:
    """Records and stores for the tests."""

    fields = standard_fields({"image": Field((4, 4, 3), "uint8"), "id": Field((2,), "float32")}, 2)

    def record(self, tag: int, step: int, steps: int = 10**9) -> Record:
        """Step `step` of the episode `tag`, which ends in a terminal after `steps` steps."""
        return {
            "obs/image": np.full((4, 4, 3), (7 * tag + step) % 256, np.uint8),
            "obs/id": np.array([tag, step], np.float32),
            "action": np.array([tag, step], np.float32) if step else np.zeros(2, np.float32),
            "action_mask": np.float32(tag % 2),
            "reward": np.float32(step),
            "terminal": np.bool_(step == steps - 1),
            "is_first": np.bool_(step == 0),
        }

    def add(self, store: ReplayStore, tag: int, steps: int, stream: int = 0) -> None:
        """Append one whole episode."""
        for step in range(steps):
            store.append(stream, self.record(tag, step, steps), last=step == steps - 1)

    def open(self, path: Path, chunk_steps: int = 4, **options: float) -> ReplayStore:
        config = ReplayConfig(chunk_steps=chunk_steps, capacity_gb=0.001)
        values = config.__dict__ | options
        return ReplayStore(path, self.fields, ReplayConfig(**values))

    def filled(self, path: Path, lengths: list[int], **options: float) -> ReplayStore:
        """A store of whole episodes tagged 1, 2, … of these lengths, closed and opened again."""
        with self.open(path, **options) as store:
            for tag, steps in enumerate(lengths, start=1):
                self.add(store, tag, steps)
        return self.open(path, **options)

    def stored(self, path: Path) -> dict[int, list[np.ndarray]]:
        """Episode number -> its chunks in order, read from the files by NumPy alone."""
        episodes: dict[int, list[np.ndarray]] = {}
        for file in sorted((path / "chunks").glob("e*.npy")):
            chunk = np.load(file, allow_pickle=False)
            episodes.setdefault(int(file.name[1:9]), []).append(chunk)
        return episodes

    def check(self, records: np.ndarray, first: int = 0) -> None:
        """Every field of consecutive steps of one episode is what `record` made."""
        tag = int(records["obs/id"][0, 0])
        for step, stored in enumerate(records, start=first):
            terminal = bool(stored["terminal"])
            made = self.record(tag, step, step + 1 if terminal else 10**9)
            for name, value in made.items():
                np.testing.assert_array_equal(stored[name], value, err_msg=f"{tag} {step} {name}")


@pytest.fixture
def world() -> World:
    return World()
