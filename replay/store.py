"""Episodes on disk: environments append steps, a learner samples them, videos are imported.

A step is safe once its chunk is sealed (`chunk.py`, `directory.py`); a process killed at any
moment loses at most the unfinished chunk of each stream. Record t holds x_t and the action,
reward and terminal that came with it (docs/design.md, Clocks). Read next: `sampler.py`.
"""

import logging
import mmap
import threading
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common import UserError, check_bounds
from replay.chunk import CUT, END, MORE, Chunk, Field, advise, map_chunk, record_dtype
from replay.config import ReplayConfig, describe_size, free_bytes, size_at_capacity, standard_fields
from replay.directory import StoreDirectory, read_fields
from replay.index import Index

__all__ = [
    "Field",
    "ReplayConfig",
    "ReplayStore",
    "describe_size",
    "read_fields",
    "standard_fields",
]

OPEN_MAPS = 64  # files kept mapped at once for reading; each takes one file descriptor

_log = logging.getLogger(__name__)


class EpisodeGone(Exception):
    """Raised if an episode's file has vanished: for a reader, because the writer evicted it."""


class _Stream:
    """The unfinished chunk of one environment: `count` of `records` [chunk_steps] are filled."""

    def __init__(self, episode: int, dtype: np.dtype, chunk_steps: int, chunk: int = 0) -> None:
        self.episode, self.chunk, self.count = episode, chunk, 0
        self.records = np.zeros(chunk_steps, dtype)
        self.columns = {name: self.records[name] for name in dtype.names or ()}


class ReplayStore:
    """Episodes under one directory, created or reopened.

    Only one process may write to a store, and its threads share the store. `set_aside` lists (file
    name, reason) of files found damaged or foreign on opening.

    Args:
      directory: that of a store, or an absent or empty one, in which a store is created.
      fields: of every record; `is_first` (bool scalar) must be among them.
      config: sizes; may differ from those of an earlier opening.
      read_only: take no lock and change nothing; bad files are skipped and reported, and what a
        writer seals later is not seen.
    Raises:
      UserError: if the fields differ from those stored, the directory contains something else, or
        there is already a writer.
    """

    def __init__(
        self,
        directory: str | Path,
        fields: Mapping[str, Field],
        config: ReplayConfig,
        read_only: bool = False,
    ) -> None:
        check_bounds(config, "replay")
        self.fields = {name: Field(tuple(f.shape), str(f.dtype)) for name, f in fields.items()}
        if self.fields.get("is_first") != Field((), "bool"):
            raise UserError(
                f"replay fields: expected 'is_first' as a bool scalar, received "
                f"{self.fields.get('is_first')}; add it (`standard_fields` does)"
            )
        self.config, self.dtype = config, record_dtype(self.fields)
        self._types = {name: self.dtype[name].base for name in self.fields}
        self._writing = threading.Lock()  # held over a whole append; always taken before `lock`
        self._streams: dict[int, _Stream] = {}
        self.lock = threading.RLock()  # guards index and maps; the sampler draws under it
        self.index = Index()
        self._maps: OrderedDict[Chunk, tuple[np.ndarray, mmap.mmap]] = OrderedDict()
        self._state = "opened read_only" if read_only else "open"
        self._oversize = False
        self._next_episode = 0
        self._files = StoreDirectory(Path(directory), self.fields, read_only)
        try:
            self._load()
        except BaseException:
            self._files.release()
            raise

    @property
    def steps(self) -> int:
        """Sealed environment steps."""
        return self.index.steps

    @property
    def episodes(self) -> int:
        """Episodes with sealed steps."""
        return self.index.episodes

    @property
    def bytes(self) -> int:
        """Bytes that the sealed chunks occupy on disk."""
        return self.index.disk

    @property
    def set_aside(self) -> list[tuple[str, str]]:
        """(file name, reason) of files not trusted on opening."""
        return self._files.set_aside

    def append(self, stream: int, record: Mapping[str, Any], last: bool) -> None:
        """Add one environment step.

        Args:
          stream: which environment; each has one episode open at a time.
          record: one value per field. `is_first` starts an episode (one that is still open in this
            stream is sealed as cut short, as at a time limit).
          last: whether the episode ends with this step, by a terminal or a time limit; it is then
            sealed.
        Raises:
          UserError: if a field is missing, unknown, or of another shape or kind; if no episode is
            open and `is_first` is false; if the store is closed or read-only.
        """
        with self._writing:
            values = self._checked(stream, record)
            if values["is_first"]:
                self._start(stream)
            state = self._streams[stream]
            if state.count >= self.config.chunk_steps:
                self._seal(state, MORE)  # retry a seal that failed, as on a full disk
            for name, value in values.items():
                state.columns[name][state.count] = value
            state.count += 1
            if last or state.count == self.config.chunk_steps:
                self._seal(state, END if last else MORE)
            if last:
                del self._streams[stream]
            self._evict()

    def drop_from(self, episode: int) -> None:
        """Delete the episodes numbered `episode` and above, including unfinished ones; the next one
        to start gets that number. For an import that fails midway, so that nothing of it remains.

        Raises:
          UserError: if the store is closed or read-only.
        """
        with self._writing:
            self._check_open()
            self._streams = {k: s for k, s in self._streams.items() if s.episode < episode}
            with self.lock:
                for number in range(episode, self._next_episode):
                    for chunk in self.index.remove(number):
                        self._maps.pop(chunk, None)
            self._files.remove_from(episode)
            self._next_episode = episode

    def state(self) -> dict[str, np.ndarray]:
        """The store's position, as arrays: the number of the next episode, the open episodes
        (stream, episode, chunk, steps in it), and their unsealed records, by field."""
        with self._writing:
            streams = sorted(self._streams.items())
            rows = [(number, s.episode, s.chunk, s.count) for number, s in streams]
            empty = np.zeros(0, self.dtype)
            records = np.concatenate([empty, *(s.records[: s.count] for _, s in streams)])
            columns = {f"records/{name}": records[name].copy() for name in self.fields}
            return {
                "next": np.array(self._next_episode),
                "streams": np.array(rows, np.int64).reshape(-1, 4),
                **columns,
            }

    def cut_back(self, state: Mapping[str, np.ndarray]) -> None:
        """Delete what was stored after `state()`, and reopen the episodes that were open then.

        Episodes evicted since then are not restored. Empty arrays may be absent from ``state``.

        Raises:
          UserError: if the store is closed or read-only.
        """
        self.drop_from(int(state["next"]))
        at = 0
        for number, episode, chunk, count in state.get("streams", np.zeros((0, 4), int)).tolist():
            with self._writing:
                self._drop_chunks(episode, chunk)
                size = max(count, self.config.chunk_steps)
                stream = _Stream(episode, self.dtype, size, chunk)
                for name in self.fields if count else ():
                    stream.columns[name][:count] = state[f"records/{name}"][at : at + count]
                stream.count, at = count, at + count
                self._streams[number] = stream

    def close(self) -> None:
        """Seal unfinished episodes as cut short, and release the directory for the next writer."""
        with self._writing:
            self._state = "closed"
            try:
                while self._streams:
                    self._seal(self._streams.popitem()[1], CUT)
            finally:
                self.close_maps()
                self._files.release()

    def __enter__(self) -> "ReplayStore":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, chunk: Chunk, first: int, end: int) -> np.ndarray:
        """Steps first..end-1 of a sealed chunk, mapped, not copied; the kernel begins to read them.

        The map stays readable while the array lives, even if the episode is evicted.

        Raises:
          EpisodeGone: if the file has vanished; the episode is then removed from the index.
        """
        with self.lock:
            records, mapping = self._map(chunk)
        start = chunk.size - (chunk.steps - first) * self.dtype.itemsize
        advise(mapping, start, start + (end - first) * self.dtype.itemsize)
        return records[first:end]

    def _map(self, chunk: Chunk) -> tuple[np.ndarray, mmap.mmap]:
        """Map a chunk: (records [steps], mapping). The least recently used maps are closed."""
        if chunk not in self._maps:
            path = self._files.chunks / chunk.name
            try:
                self._maps[chunk] = map_chunk(path, chunk, self.dtype)
            except FileNotFoundError as error:
                if self.index.remove(chunk.episode):
                    _log.warning("replay: %s has vanished; its episode is left out", path)
                raise EpisodeGone(chunk.episode) from error
        self._maps.move_to_end(chunk)
        while len(self._maps) > OPEN_MAPS:
            self._maps.popitem(last=False)
        return self._maps[chunk]

    def close_maps(self) -> None:
        """Close the files mapped for reading; they are reopened when needed."""
        with self.lock:
            self._maps.clear()

    def _load(self) -> None:
        for chunk in self._files.load():
            self.index.add(chunk)
        if self.index.broken:
            _log.warning(
                "replay: %d stretches of episodes lack what came before; each is used by itself",
                self.index.broken,
            )
        self._next_episode = self._files.next_episode()
        size = size_at_capacity(self.fields, self.config)[1]
        if self._state == "open" and free_bytes(self._files.path) < size:
            _log.warning("%s", describe_size(self.fields, self.config, self._files.path))

    def _drop_chunks(self, episode: int, first: int) -> None:
        """Delete the chunks of an episode from number ``first`` on."""
        with self.lock:
            for chunk in self.index.remove(episode):
                if chunk.number < first:
                    self.index.add(chunk)
                else:
                    self._maps.pop(chunk, None)
                    self._files.remove(chunk)

    def _check_open(self) -> None:
        if self._state != "open":
            raise UserError(
                f"replay store: expected one open for writing, received one {self._state}"
            )

    def _checked(self, stream: int, record: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Check that a record can be stored, and return its values as arrays."""
        self._check_open()
        if record.keys() != self.fields.keys():
            raise UserError(
                f"replay record: expected fields {sorted(self.fields)}, received {sorted(record)}; "
                f"give one value for each"
            )
        values = {name: np.asarray(record[name]) for name in self.fields}
        for name, (shape, dtype) in self.fields.items():
            value = values[name]
            fits = np.can_cast(value.dtype, self._types[name], "same_kind")
            if value.shape != shape or not fits:
                raise UserError(
                    f"replay record: expected {name!r} as {dtype} {shape}, received {value.dtype} "
                    f"{value.shape}; convert it, or change the store's fields"
                )
        if not values["is_first"] and stream not in self._streams:
            raise UserError(
                f"replay stream {stream}: expected is_first on an episode's first step, received a "
                f"later step with no episode open; append the reset observation first"
            )
        return values

    def _start(self, stream: int) -> None:
        if stream in self._streams:
            self._seal(self._streams[stream], CUT)
        self._streams[stream] = _Stream(self._next_episode, self.dtype, self.config.chunk_steps)
        self._next_episode += 1

    def _seal(self, state: _Stream, status: str) -> None:
        if state.count:
            chunk = Chunk(state.episode, state.chunk, state.count, status, 0, 0)
            chunk = self._files.write(chunk, state.records[: state.count])
            with self.lock:
                self.index.add(chunk)
            state.chunk, state.count = state.chunk + 1, 0

    def _evict(self) -> None:
        """Evict oldest episodes until both caps hold, but never the newest or one being written.
        If these alone pass a cap, evict the oldest chunks of the longest one being written."""
        writing = {state.episode for state in self._streams.values()}
        while self._over():
            with self.lock:
                episode = self.index.oldest(writing)
                if episode is None:
                    self._warn_of_oversize()
                    chunks = self.index.shorten(writing)
                else:
                    chunks = self.index.remove(episode)
                for chunk in chunks:
                    self._maps.pop(chunk, None)
            if not chunks:
                return
            for chunk in reversed(chunks):  # if killed in between, the episode's beginning remains
                self._files.remove(chunk)

    def _over(self) -> bool:
        limit = self.config.capacity_gb * 1e9
        return self.steps > self.config.capacity_steps or self.bytes > limit

    def _warn_of_oversize(self) -> None:
        if not self._oversize:
            _log.warning(
                "replay: the newest episodes alone pass the cap: the oldest steps of those that "
                "have not ended are dropped; raise replay.capacity_*, or end episodes earlier "
                "(--env.time-limit)"
            )
        self._oversize = True
