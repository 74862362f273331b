"""The import itself: one source after another into the stores; it may be interrupted at any time.

A source is imported once its line is in the ledger. If the import stops before that (a bad file, a
full disk, Ctrl-C, SIGKILL), the source's episodes are deleted, at once or when the same command
runs again. Damaged sources are skipped and reported; only a failing disk ends an import.
"""

import hashlib
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Protocol, cast, runtime_checkable

import av
import numpy as np
from annotated_types import Ge, Lt
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from common import Count, UserError, check_bounds
from recordings.episode import Video, not_finite, video_columns
from recordings.importers.folder import SPLITS, TEST, TRAIN, VALIDATION, locate
from recordings.importers.stores import SplitStores
from recordings.ledger import Entry, Ledger, read_summary, write_summary
from replay import read_fields
from replay.atomic import TEMPORARY, remove_unfinished
from replay.lock import DirectoryLock

BAD = (
    ArithmeticError, AssertionError, AttributeError, ValueError, OSError, EOFError, LookupError,
    MemoryError, RuntimeError, SyntaxError, TypeError, struct.error, zipfile.BadZipFile,
    zlib.error, av.FFmpegError,
)  # fmt: skip
"""Exceptions that reading a damaged file may raise, in a format's code or in a library."""

_PIECE = re.compile(r"\[\d+:\d+\]$")


@runtime_checkable
class Source(Protocol):
    """A data set: a dataclass whose fields are its options (`formats.py` lists them).

    Optional: `draws = False`, if nothing but what `split` says is held out; `files(name)`, the
    files of an item, if its name is not the path of its only one.
    """

    def names(self) -> list[str]:
        """Names of the items to read, always in the same order, without reading them."""
        ...

    def read(self, name: str) -> Iterator[Video]:
        """Read the episodes of one item. Raises one of `BAD` with the reason."""
        ...

    def split(self, name: str) -> str | None:
        """train, test or validation; None if the format names no split."""
        ...


@dataclass(frozen=True)
class ImportConfig:
    """Options of every format."""

    test_fraction: Annotated[float, Ge(0), Lt(1)] = 0.1
    """Share of the videos to hold out, in STORE/test: 0.1 is one in ten, at least one, chosen by a
    hash of their names. No effect where the format, or a folder called test..., eval... or val...,
    says what is held out."""
    chunk_steps: Count = 128
    """Frames per file of the store."""
    retry_skipped: bool = False
    """Retry all that an earlier run of the same command skipped, not only changed files."""

    def __post_init__(self) -> None:
        check_bounds(self)


@dataclass(frozen=True)
class Imported:
    """Result of an import over all its runs."""

    episodes: dict[str, int]  # by split
    frames: int
    fields: dict[str, str]  # of every step, in words
    held_out: list[str]  # names of held-out videos
    skipped: list[tuple[str, str]]  # (what, why)
    notes: list[tuple[str, str]]  # (what, what was changed)
    fps: list[float]  # of the slowest and of the fastest video; empty if unknown
    changed: list[str]  # sources that have changed since, or vanished


SAID_ONLY = ("fps", "changed")  # not in `import.json`


class _Unreadable(Exception):
    """A damaged source, with the reason."""


def run_import(name: str, source: Source, store: Path, config: ImportConfig) -> Imported:
    """Import a data set, showing progress on standard error.

    Args:
      name: name of the format, for `import.json`.
      source: the data set and its options.
      store: directory for `train/`, `test/`, `import.json` and `ledger.jsonl`: that of an earlier
        run of the same import, or absent or empty.
      config: options of every format.
    Raises:
      UserError: if the directory contains anything else, or an import of other data or options.
      OSError: if the disk is full or fails; what is finished stays, and the same command resumes.
    """
    names = source.names()
    header = _header(name, source, config)
    new = {field.name: field.default for field in fields(cast(Any, source))}
    _check_place(store, header, new)
    _check_apart(header["options"].get("source"), store)
    store.mkdir(parents=True, exist_ok=True)
    lock = DirectoryLock(store / "import.lock")
    try:
        remove_unfinished(store)
        return _Import(source, store, config, header).run(names)
    finally:
        lock.release()


class _Import:
    """One run of an import."""

    def __init__(
        self, source: Source, root: Path, config: ImportConfig, header: dict[str, Any]
    ) -> None:
        self.source, self.root, self.config, self.header = source, root, config, header
        self.ledger = Ledger(root)
        self.drawn = self.ledger.drawn

    def run(self, names: Sequence[str]) -> Imported:
        """Read what has not been imported yet."""
        draws = getattr(self.source, "draws", True)
        self.draws = draws and not any(self._named(name) in (TEST, VALIDATION) for name in names)
        skipped = [entry for entry in self.ledger.latest() if entry.kept == 0 and entry.skipped]
        retried = {e.name for e in skipped if self.config.retry_skipped or self._changed(e)}
        todo = [name for name in names if name not in self.ledger.done - retried]
        summary = read_summary(self.root) or {}
        if todo or not summary.get("complete"):
            if summary.get("complete"):
                self._check_untouched()
            write_summary(self.root, {**self.header, "complete": False})
            self._read_all(todo, len(names) - len(todo))
        imported = self._imported()
        found = {name: x for name, x in asdict(imported).items() if name not in SAID_ONLY}
        write_summary(self.root, {**self.header, "complete": True, **found})
        return imported

    def _read_all(self, todo: Sequence[str], before: int) -> None:
        self.stores = SplitStores(self.root, self.ledger.episodes, self.config.chunk_steps)
        columns = (TextColumn("import"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        text = TextColumn("{task.fields[frames]:,} frames, {task.fields[skipped]} skipped")
        try:
            with (
                Progress(*columns, text, console=Console(stderr=True)) as progress,
                np.errstate(over="ignore", invalid="ignore"),  # `not_finite` reports overflows
            ):
                total, frames, skipped = before + len(todo), 0, 0
                task = progress.add_task("", total=total, completed=before, frames=0, skipped=0)
                for name in todo:
                    entry = self._read(name)
                    self.ledger.add(entry)
                    frames, skipped = frames + entry.frames, skipped + len(entry.skipped)
                    progress.update(task, advance=1, frames=frames, skipped=skipped)
        finally:
            self.stores.rollback(self.ledger.episodes)
            self.stores.close()

    def _read(self, name: str) -> Entry:
        """Read all episodes of one source into the stores, or none if it is damaged."""
        before, drawn, stamp = dict(self.stores.episodes), dict(self.drawn), self._stamp(name)
        kept, frames, interval = 0, 0, None
        skipped, notes = list[tuple[str, str]](), list[tuple[str, str]]()
        splits = dict[str, str]()  # of whole videos
        try:
            for video in self._videos(name):
                reason = not_finite(video) or self.stores.mismatch(video)
                if reason is not None:
                    skipped.append((video.name, reason))
                    continue
                whole = _PIECE.sub("", video.name)
                if whole not in splits:
                    splits[whole] = self._split(name, whole)
                self.stores.append(splits[whole], video)
                kept, frames, interval = kept + 1, frames + video.steps, video.interval
                notes += [(video.name, note) for note in video.notes]
        except (_Unreadable, UserError) as error:  # UserError: cannot be stored
            self.stores.rollback(before)
            self.drawn = drawn
            return Entry(name, before, skipped=[(name, str(error))], drawn=drawn, stamp=stamp)
        if not kept and not skipped:
            skipped.append((name, "holds no episode"))
        held_out = [whole for whole, split in splits.items() if split != TRAIN]
        stored, drawn = dict(self.stores.episodes), dict(self.drawn)
        return Entry(name, stored, kept, frames, skipped, notes, drawn, held_out, stamp, interval)

    def _videos(self, name: str) -> Iterator[Video]:
        """The source's episodes, each checked; raises `_Unreadable` if it is damaged."""
        try:
            for video in self.source.read(name):
                video_columns(video)
                yield video
        except BAD as error:
            kind = "" if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: "
            raise _Unreadable(" ".join(f"{kind}{error}".split()) or repr(error)) from error

    def _split(self, name: str, whole: str) -> str:
        """The named split; if the data name no held-out videos at all, one is drawn."""
        if not self.draws:
            return self.source.split(name) or TRAIN
        split = draw_split(whole, self.config.test_fraction, self.drawn)
        self.drawn[split] = self.drawn.get(split, 0) + 1
        return split

    def _named(self, name: str) -> str | None:
        try:
            return self.source.split(name)
        except BAD:
            return None  # reading it will report the error

    def _stamp(self, name: str) -> list[int]:
        """Bytes and time of the last change of a source's files; empty if they are unknown."""
        source: Any = self.source
        files: list[Path] = []
        if hasattr(source, "files"):
            files = source.files(name)
        elif hasattr(source, "source"):
            files = [locate(Path(source.source), name)]
        found = [path.stat() for path in files if path.is_file()]
        return [sum(x.st_size for x in found), max(x.st_mtime_ns for x in found)] if found else []

    def _changed(self, entry: Entry) -> bool:
        """Whether the files of a source have changed since it was read, as far as it is known."""
        return bool(entry.stamp) and self._stamp(entry.name) != entry.stamp

    def _imported(self) -> Imported:
        entries = self.ledger.latest()
        intervals = [entry.interval for entry in entries if entry.interval is not None]
        episodes = {split: n for split, n in self.ledger.episodes.items() if n}
        fields = read_fields(self.root / next(iter(episodes))) if episodes else {}
        return Imported(
            episodes=episodes,
            fields={name: f"{field.dtype} {field.shape}" for name, field in fields.items()},
            held_out=[name for entry in entries for name in entry.held_out],
            frames=sum(entry.frames for entry in entries),
            skipped=[pair for entry in entries for pair in entry.skipped],
            notes=[pair for entry in entries for pair in entry.notes],
            fps=[1 / f(intervals) for f in (max, min)] if intervals else [],
            changed=[entry.name for entry in entries if entry.kept and self._changed(entry)],
        )

    def _check_untouched(self) -> None:
        """Check that nothing else wrote into the stores: what is not in the ledger is deleted."""
        for split in SPLITS:
            count = self.ledger.episodes.get(split, 0)
            files = (self.root / split / "chunks").glob("e*.npy")
            if any(int(path.name[1:].partition("-")[0]) >= count for path in files):
                raise UserError(
                    f"{self.root / split}: expected the {count} episodes imported, received more; "
                    "import into another directory"
                )


def draw_split(video: str, share: float, drawn: Mapping[str, int]) -> str:
    """Draw the next video's split. At any time the number held out is the share of those drawn,
    rounded up or down, but at least one of two; where both are allowed, the name's hash decides.

    Args:
      video: the video's name.
      share: share of the videos to hold out.
      drawn: number of videos drawn so far, by split.
    """
    held_out, count = drawn.get(TEST, 0), sum(drawn.values()) + 1
    if share == 0 or (count > 1 and held_out == count - 1):
        return TRAIN
    if held_out < max(math.floor(share * count + 1e-9), int(count > 1)):
        return TEST
    if held_out >= max(math.ceil(share * count - 1e-9), 1):
        return TRAIN
    digest = hashlib.sha256(video.encode(errors="surrogateescape")).digest()
    return TEST if int.from_bytes(digest[:8], "big") / 2**64 < share else TRAIN


def _header(name: str, source: Source, config: ImportConfig) -> dict[str, Any]:
    """What must be the same for an import to resume, and the versions in use."""
    dataclass_source: Any = source
    options = asdict(dataclass_source)
    options |= {"test_fraction": config.test_fraction, "chunk_steps": config.chunk_steps}
    if isinstance(options.get("source"), Path):
        options["source"] = str(options["source"].resolve())
    return {
        "format": name,
        "options": _plain(options),
        "versions": {"av": version("av"), "numpy": np.__version__},
    }


def _plain(value: Any) -> Any:
    """The value as JSON reads it back."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    return str(value) if isinstance(value, Path) else value


def _check_place(store: Path, header: dict[str, Any], defaults: dict[str, Any]) -> None:
    """Raise UserError unless the directory is new or that of the same import; an option that did
    not exist when the import began may have its default."""
    summary = read_summary(store)
    if summary is None:
        there = {path.name for path in store.iterdir()} if store.is_dir() else set()
        found = {n for n in there if n != "import.lock" and not n.startswith(TEMPORARY)}
        if found or (store.exists() and not store.is_dir()):
            raise UserError(
                f"expected a new or empty directory for the store, received {store} with "
                f"{sorted(found)[:5]}; choose another"
            )
        return
    old = {"format": summary.get("format"), **_flat(summary.get("options", {}))}
    new = {"format": header["format"], **_flat(header["options"])}
    for options in (old, new):
        if options.get("actions", "") is None:
            options["actions"] = "led_to"  # of npz: what None stands for, and once the default
    since = {key for key in defaults.keys() - old.keys() if new.get(key) == defaults[key]}
    wrong = sorted(key for key in {*old, *new} - since if old.get(key) != new.get(key))
    if wrong:
        show = ", ".join(f"{key} {old.get(key)} (now {new.get(key)})" for key in wrong)
        raise UserError(
            f"{store}: expected the settings of the import there, received others: {show}; run the "
            "same command to resume it, or choose another directory"
        )


def _check_apart(source: str | None, store: Path) -> None:
    """Raise UserError for a store inside the data, as its files would next be taken for data."""
    if source is not None and Path(source).is_dir() and store.resolve().is_relative_to(source):
        raise UserError(
            f"expected a store outside the data, received {store} inside {source}; choose another"
        )


def _flat(options: dict[str, Any]) -> dict[str, Any]:
    """Flatten nested options, by the names of their flags."""
    flat: dict[str, Any] = {}
    for key, value in options.items():
        flat |= _flat(value) if isinstance(value, dict) else {key: value}
    return flat
