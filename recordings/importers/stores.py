"""The stores of one import, `STORE/train`, `STORE/test` ..., with appending and rollback.

Episodes are numbered without gaps from 0 in the order of the sources, so that what a killed import
left of an unfinished source is identified by its numbers and deleted.
"""

import errno
import shutil
from collections.abc import Mapping
from pathlib import Path

from recordings.episode import Video, append_video, video_fields
from recordings.importers.folder import SPLITS
from replay.chunk import disk_size
from replay.config import HEADER, ReplayConfig, free_bytes
from replay.directory import StoreDirectory, read_fields
from replay.store import Field, ReplayStore

_MARGIN = 1_000_000  # bytes, more than a cap in GB is rounded by


class SplitStores:
    """One `ReplayStore` per split, all with the fields of the first video.

    Args:
      root: STORE, locked by the caller.
      episodes: finished episodes by split; all others are deleted on opening.
      chunk_steps: steps per file.
    """

    def __init__(self, root: Path, episodes: Mapping[str, int], chunk_steps: int) -> None:
        self.root, self.chunk_steps = root, chunk_steps
        self.fields: dict[str, Field] | None = None
        self.episodes = {split: episodes.get(split, 0) for split in SPLITS}
        self._stores: dict[str, ReplayStore] = {}
        for split, count in self.episodes.items():
            if count:
                self.fields = read_fields(root / split)
        for split in SPLITS:
            self._clean(split)

    def mismatch(self, video: Video) -> str | None:
        """Why a video does not fit the stores; None if it does."""
        fields = video_fields(video)
        if self.fields is None or fields == self.fields:
            return None
        names = sorted(k for k in {*fields, *self.fields} if fields.get(k) != self.fields.get(k))
        show = "; ".join(
            f"{k}: {_show(fields.get(k))} not {_show(self.fields.get(k))}" for k in names
        )
        return f"other fields than the first video stored ({show})"

    def append(self, split: str, video: Video) -> None:
        """Write a whole episode.

        Raises:
          OSError: if the disk is full; call `rollback` then.
        """
        if self.fields is None:
            self.fields = video_fields(video)
        store = self._store(split)
        self._check_room(store, video)
        append_video(store, video)
        self.episodes[split] += 1

    def rollback(self, episodes: Mapping[str, int]) -> None:
        """Delete all episodes but the first `episodes[split]` of each split."""
        self.episodes = {split: episodes.get(split, 0) for split in SPLITS}
        for split, count in self.episodes.items():
            if split in self._stores and count:
                self._stores[split].drop_from(count)
            elif split in self._stores:
                self._stores.pop(split).close()
                shutil.rmtree(self.root / split)
        if not any(self.episodes.values()):
            self.fields = None

    def close(self) -> None:
        """Close the stores, so that others can write to them."""
        while self._stores:
            self._stores.popitem()[1].close()

    def _clean(self, split: str) -> None:
        """Delete what a killed import left behind, which opening the store would set aside."""
        place, count = self.root / split, self.episodes[split]
        if place.exists() and count == 0:
            shutil.rmtree(place)
        elif count:
            assert self.fields is not None
            directory = StoreDirectory(place, self.fields, read_only=False)
            directory.remove_from(count)
            directory.release()

    def _store(self, split: str) -> ReplayStore:
        if split not in self._stores:
            assert self.fields is not None
            place = self.root / split
            config = ReplayConfig(10**12, self._room(place) / 1e9, self.chunk_steps)
            self._stores[split] = ReplayStore(place, self.fields, config)
            self._stores[split].drop_from(self.episodes[split])
        return self._stores[split]

    def _room(self, place: Path) -> float:
        """Bytes that a store may reach: those it has, and 95% of those that are free."""
        return free_bytes(place) - 0.05 * shutil.disk_usage(self.root).free + _MARGIN

    def _check_room(self, store: ReplayStore, video: Video) -> None:
        """Raise OSError once the room found on opening is used up: an import never evicts."""
        chunks = -(-video.steps // self.chunk_steps)
        size = chunks * disk_size(self.chunk_steps * store.dtype.itemsize + HEADER)
        if store.bytes + size > store.config.capacity_gb * 1e9:
            raise OSError(errno.ENOSPC, f"{size / 1e6:.0f} MB of {video.name}", str(self.root))


def _show(field: Field | None) -> str:
    return "none" if field is None else f"{field.dtype} {field.shape}"
