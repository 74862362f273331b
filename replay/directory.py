"""The files of a store: which are trusted on opening, which are set aside, and who may write.

directory/store.json   format, id, fields
directory/lock         held by the only writer
directory/chunks/      one file per sealed chunk (`chunk.py`)
directory/set_aside/   files found damaged or foreign on opening; only the newest are kept
                       (`ASIDE_FILES`, `ASIDE_BYTES`), and users may inspect or delete them
"""

import logging
import os
import re
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from common import UserError, dump_json, read_json
from replay.atomic import TEMPORARY, remove_unfinished, write_text
from replay.chunk import Chunk, Field, check_chunk, record_dtype, write_chunk
from replay.lock import DirectoryLock

FORMAT = 1
ASIDE_FILES, ASIDE_BYTES = 100, 10**9
"""Most files and bytes that `set_aside` keeps; beyond them, the oldest files are deleted."""
_OURS = {"lock", "chunks", "set_aside"}  # what a process killed while creating a store may leave
_log = logging.getLogger(__name__)


def read_fields(directory: str | Path) -> dict[str, Field]:
    """The fields of an existing store.

    Raises:
      UserError: if there is no store, or this version cannot read it.
    """
    return _read_header(Path(directory))[1]


class StoreDirectory:
    """An opened directory. All checks come before any change.

    Raises:
      UserError: if the fields differ from those stored, the directory contains something else, or
        there is already a writer.
    """

    def __init__(self, path: Path, fields: Mapping[str, Field], read_only: bool) -> None:
        self.path, self.chunks, self._read_only = path, path / "chunks", read_only
        self._dtype = record_dtype(fields)
        self.set_aside: list[tuple[str, str]] = []
        self._lock: DirectoryLock | None = None
        exists = (path / "store.json").exists()
        if exists or read_only:
            _check_fields(path, fields)
        else:
            _check_empty(path)
        if not read_only:
            self.chunks.mkdir(parents=True, exist_ok=True)
            self._lock = DirectoryLock(path / "lock")
            remove_unfinished(path)
        try:
            if not (path / "store.json").exists():
                _write_header(path, fields)
            self._id = _check_fields(path, fields)
        except BaseException:
            self.release()
            raise

    def load(self) -> list[Chunk]:
        """Check every file; set bad ones aside, return good ones in order of episode and chunk."""
        paths = sorted(self.chunks.iterdir())
        _log.info("replay: checking %d files of %s", len(paths), self.chunks)
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            found = list(pool.map(self._check, paths))
        chunks: dict[tuple[int, int], Chunk] = {}
        for path, result in zip(paths, found, strict=True):
            if isinstance(result, Chunk) and (result.episode, result.number) in chunks:
                result = f"a second file for chunk {result.number} of episode {result.episode}"
            if isinstance(result, Chunk):
                chunks[result.episode, result.number] = result
            else:
                self._put_aside(path, result)
        return [chunks[key] for key in sorted(chunks)]

    def next_episode(self) -> int:
        """A number above that of every episode with a file here, good or set aside."""
        return 1 + max((number for number, _ in self._numbered()), default=-1)

    def remove_from(self, episode: int) -> None:
        """Delete every file, good or not, of the episodes numbered `episode` and above."""
        for number, path in self._numbered():
            if number >= episode:
                path.unlink()

    def write(self, chunk: Chunk, records: np.ndarray) -> Chunk:
        """Seal `records` [steps]; return the chunk as written to disk."""
        return write_chunk(self.chunks, chunk, records, self._id)

    def remove(self, chunk: Chunk) -> None:
        """Delete a chunk's file; open maps of it stay readable."""
        (self.chunks / chunk.name).unlink(missing_ok=True)

    def release(self) -> None:
        """Release the lock, so that the next writer can open the directory."""
        if self._lock is not None:
            self._lock.release()

    def _check(self, path: Path) -> Chunk | str:
        try:
            return check_chunk(path, self._dtype, self._id)
        except (ValueError, OSError) as error:
            return str(error)

    def _put_aside(self, path: Path, reason: str) -> None:
        self.set_aside.append((path.name, reason))
        if self._read_only:
            _log.warning("replay: skipped %s: %s", path, reason)
            return
        folder = self.path / "set_aside"
        folder.mkdir(exist_ok=True)
        target, copy = folder / path.name, 1
        while target.exists() or target.is_symlink():
            target, copy = folder / f"{path.name}.{copy}", copy + 1
        path.rename(target)
        _bound(folder)
        _log.warning("replay: set aside %s as %s: %s", path, target, reason)

    def _numbered(self) -> list[tuple[int, Path]]:
        """(episode, file) of every file here: good, half-written or set aside."""
        paths = [path for place in ("chunks", "set_aside") for path in self._list(place)]
        found = [
            (re.match(r"e(\d{8,18})-", path.name.removeprefix(TEMPORARY)), path) for path in paths
        ]
        return [(int(match[1]), path) for match, path in found if match]

    def _list(self, place: str) -> list[Path]:
        folder = self.path / place
        return list(folder.iterdir()) if folder.exists() else []


def _bound(folder: Path) -> None:
    """Delete the oldest files set aside, until their number and their bytes are within bounds."""
    files = [path for path in folder.iterdir() if path.is_file() and not path.is_symlink()]
    total = 0
    for count, path in enumerate(sorted(files, key=lambda p: p.stat().st_mtime_ns, reverse=True)):
        total += path.stat().st_size
        if count >= ASIDE_FILES or total > ASIDE_BYTES:
            path.unlink()


def _read_header(path: Path) -> tuple[str, dict[str, Field]]:
    """(id, fields) of `store.json`."""
    file = path / "store.json"
    try:
        header = read_json(file)
        version, store_id = header["format"], str(header["id"])
        if version == FORMAT:
            fields = {
                k: Field(tuple(shape), dtype) for k, (shape, dtype) in header["fields"].items()
            }
            record_dtype(fields)
            return store_id, fields
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"replay directory {path}: expected a readable store.json, received {error!r}; name "
            f"the directory of a store, or restore that file"
        ) from error
    raise UserError(
        f"replay directory {path}: expected store format {FORMAT}, received {version!r}; open it "
        f"with the version that wrote it, or choose another directory"
    )


def _write_header(path: Path, fields: Mapping[str, Field]) -> None:
    header = {
        "format": FORMAT,
        "id": uuid.uuid4().hex,
        "fields": {name: [list(field.shape), field.dtype] for name, field in fields.items()},
    }
    write_text(path / "store.json", dump_json(header, indent=1))


def _check_fields(path: Path, fields: Mapping[str, Field]) -> str:
    """Return the store's id, if its fields agree with the given ones."""
    store_id, stored = _read_header(path)
    if record_dtype(stored) != record_dtype(fields):
        names = sorted(k for k in {*stored, *fields} if stored.get(k) != fields.get(k))
        show = "; ".join(f"{name}: {stored.get(name)} != {fields.get(name)}" for name in names)
        raise UserError(
            f"replay directory {path}: expected the fields stored there, received others "
            f"(stored != given: {show}); choose another directory, or make the fields agree"
        )
    return store_id


def _check_empty(path: Path) -> None:
    """Check that a new store's directory is absent, empty, or left by an interrupted creation."""
    if path.exists() and not path.is_dir():
        raise UserError(
            f"replay directory {path}: expected a directory, received a file; rename it"
        )
    found = {p.name for p in path.iterdir()} if path.exists() else set()
    names = {name for name in found if not name.startswith(TEMPORARY)}
    chunks = path / "chunks"
    if names - _OURS or (chunks.is_dir() and any(chunks.iterdir())):
        raise UserError(
            f"replay directory {path}: expected a store or nothing there, received "
            f"{sorted(names)[:5]} without store.json; choose another directory, or restore it"
        )
