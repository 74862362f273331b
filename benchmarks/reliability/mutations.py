"""Damaged checkpoints, stores, settings and sources of an import, read by the code that reads them.

What must hold: damage is reported in one line, and whatever is still read is what was written.
"""

import json
import logging
import shutil
import struct
from functools import cache
from pathlib import Path
from random import Random
from tempfile import mkdtemp
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.reliability.damage import damage
from benchmarks.reliability.trial import Case, Checks
from common import UserError, dump_json
from configs import TrainConfig, parse_train
from envs import check_named
from recordings.importers.crc32c import crc32c, masked
from recordings.importers.npz import Npz
from recordings.importers.tfrecord import TfRecords
from recordings.importers.video_folder import VideoFolder
from recordings.run import ImportConfig, run_import
from replay import Field, ReplayConfig, ReplayStore, standard_fields
from training.build import Built
from training.checkpoint import CHECKPOINTS, CheckpointStore, restore_newest
from training.config_io import CONFIG, load_config, write_run_files
from training.spaces import SPACES, keep_spaces, read_spaces
from training.video import write_video

STEPS = (100, 200)
FIELDS = standard_fields({"x": Field((4,), "float32")}, 2)


@cache
def scratch() -> Path:
    """The folder of this process for files that are copied and damaged."""
    return Path(mkdtemp(prefix="reliability-"))


def state(step: int) -> dict[str, Any]:
    """A small state, different at every step."""
    key = jax.random.key(step)
    weights = {"w": jax.random.normal(key, (64, 32)), "b": jnp.full(32, float(step))}
    return {"params": weights, "step": jnp.int32(step), "key": key}


@cache
def saved() -> Path:
    """A run's directory with two checkpoints."""
    run = scratch() / "saved"
    store = CheckpointStore(run / CHECKPOINTS, len(STEPS))
    for step in STEPS:
        store.save(step, state(step), {"counters": {"steps": step}})
    store.close()
    return run


def checkpoint(rng: Random, place: Path, checks: Checks) -> None:
    """Damage the newest checkpoint: it is refused, or what is restored is what was saved."""
    run = place / "run"
    shutil.copytree(saved(), run)
    checks.tell(damage(run / CHECKPOINTS / str(STEPS[-1]), rng))
    try:
        found = restore_newest(run, jax.eval_shape(lambda: state(0)))
    except UserError as error:
        checks("state", str(error).count("\n") == 0, error)
        return
    true = state(found.step)
    same = jax.tree.map(lambda a, b: bool((_bits(a) == _bits(b)).all()), found.state, true)
    whole = all(jax.tree.leaves(same)) and found.meta == {"counters": {"steps": found.step}}
    checks("state", whole, f"step {found.step} is not as it was saved: {same}, {found.meta}")


def _bits(leaf: Any) -> np.ndarray:
    key = jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if key else leaf)


def record(episode: int, step: int, steps: int) -> dict[str, Any]:
    """A record whose values all follow from episode and step."""
    return {
        "obs/x": np.array([episode, step, episode * step, 1], np.float32),
        "action": np.array([step, -episode], np.float32),
        "action_mask": np.float32(1),
        "reward": np.float32(episode + step / 100),
        "terminal": np.bool_(step == steps - 1),
        "is_first": np.bool_(step == 0),
    }


@cache
def stored() -> Path:
    """A store of eight episodes."""
    path = scratch() / "stored"
    with ReplayStore(path, FIELDS, ReplayConfig(chunk_steps=8)) as store:
        for episode in range(8):
            steps = 5 + 4 * episode
            for step in range(steps):
                store.append(0, record(episode, step, steps), last=step == steps - 1)
    return path


def store(rng: Random, place: Path, checks: Checks) -> None:
    """Damage a store: damaged files are set aside, all others are read, and every record that is
    read is as it was written."""
    path = place / "store"
    shutil.copytree(stored(), path)
    before = sum(5 + 4 * episode for episode in range(8))
    checks.tell(damage(path, rng))
    logging.disable(logging.WARNING)
    try:
        with ReplayStore(path, FIELDS, ReplayConfig(chunk_steps=8)) as found:
            read = _records(found)
            aside = len(found.set_aside)
    except UserError as error:
        checks("records", "\n" not in str(error), error)
        return
    finally:
        logging.disable(logging.NOTSET)
    wrong = [(e, t) for e, t, r in read if r != record(e, t, 5 + 4 * e)]
    checks("records", not wrong, f"records read that were never written: {wrong[:3]}")
    lost = before - len(read)
    checks("records", lost <= 8 * max(1, aside), f"{lost} records gone, {aside} files set aside")


class Same(dict[str, Any]):
    """A record that is compared by its numbers."""

    def __ne__(self, other: object) -> bool:
        assert isinstance(other, dict)
        return any(not np.array_equal(self[name], other[name]) for name in other)


def _records(found: ReplayStore) -> list[tuple[int, int, Same]]:
    """(episode, step, record) of everything that a store returns."""
    read = []
    for segment in found.index.segments:
        step = segment.chunks[0].number * 8
        for chunk, first, end in segment.pieces(0, segment.steps):
            for row in found.read(chunk, first, end):
                values = Same({name: np.array(row[name]) for name in FIELDS})
                read.append((chunk.episode, step, values))
                step += 1
    return read


@cache
def described() -> Path:
    """The directory of a run that has written its settings."""
    run = scratch() / "described"
    config = parse_train(["--env", "pure:pendulum", "--size", "debug"], False, "float32")
    write_run_files(run, config)
    keep_spaces(run, Built(config).spaces)
    return run


JUNK: tuple[Any, ...] = (
    None, -1, 0, 1e308, 2**70, True, "", "os:system", "../..", "x" * 100_000, [], {}, [[]],
    {"a": {}}, "<b>", "\x1b[2J", "pure:pendulum", float("nan"),
)  # fmt: skip
DEEP = 100_000  # brackets


def settings(rng: Random, place: Path, checks: Checks) -> None:
    """Change a run's settings at random: they are read or refused in a message; no code is run."""
    run = place / "run"
    shutil.copytree(described(), run)
    if rng.random() < 0.5:
        checks.tell(damage(run, rng))
    else:
        checks.tell(_junk(run / rng.choice([CONFIG, SPACES]), rng))
    try:
        config = load_config(TrainConfig, run)
        read_spaces(run)
        check_named(config.env, None, run)
    except UserError as error:
        checks("settings", bool(str(error)), error)
        return
    checks("settings", isinstance(config, TrainConfig), config)


def _junk(path: Path, rng: Random) -> str:
    """Replace one value by something else."""
    if rng.random() < 0.1:
        path.write_text("[" * DEEP + "]" * DEEP)
        return f"{path.name}: {DEEP} brackets"
    tree = json.loads(path.read_text())
    holder, where = tree, ""
    while True:
        key = rng.choice(list(holder) if isinstance(holder, dict) else list(range(len(holder))))
        where += f"/{key}"
        if isinstance(holder[key], dict | list) and holder[key] and rng.random() < 0.9:
            holder = holder[key]
            continue
        holder[key] = rng.choice(JUNK)
        path.write_text(dump_json(tree))
        return f"{path.name}{where} = {str(holder[key])[:40]!r}"


@cache
def sources() -> Path:
    """Data to import: three files of each of three kinds."""
    folder = scratch() / "sources"
    rng = np.random.default_rng(0)
    for kind in ("npz", "tfrecord", "videos"):
        (folder / kind).mkdir(parents=True)
    for n in range(3):
        frames = rng.integers(0, 256, (6, 16, 16, 3), np.uint8).repeat(4, 1).repeat(4, 2)
        first = np.arange(6) == 0
        np.savez_compressed(
            folder / "npz" / f"{n}.npz", allow_pickle=False, image=frames, is_first=first
        )
        write_tfrecord(folder / "tfrecord" / f"{n}.tfrecord", frames.tobytes())
        write_video(folder / "videos" / f"{n}.mp4", frames, 10)
    return folder


def write_tfrecord(path: Path, video: bytes) -> None:
    """Write one Example whose feature `video` is a string of bytes."""

    def field(number: int, data: bytes) -> bytes:
        size, length = len(data), b""
        while size > 127:
            length, size = length + bytes([size & 127 | 128]), size >> 7
        return bytes([number << 3 | 2]) + length + bytes([size]) + data

    entry = field(1, b"video") + field(2, field(1, field(1, video)))
    data = field(1, field(1, entry))
    head = struct.pack("<Q", len(data))
    checksums = [struct.pack("<I", masked(crc32c(part))) for part in (head, data)]
    path.write_bytes(head + checksums[0] + data + checksums[1])


FORMATS: dict[str, Any] = {"npz": Npz, "tfrecord": TfRecords, "videos": VideoFolder}


def source(rng: Random, place: Path, checks: Checks) -> None:
    """Damage one of the files of a data set: it is skipped and named, or imported; the others are
    imported."""
    kind = rng.choice(list(FORMATS))
    folder = place / kind
    shutil.copytree(sources() / kind, folder)
    checks.tell(damage(folder, rng))
    report = run_import(kind, FORMATS[kind](folder), place / "store", ImportConfig(0.0))
    kept = sum(report.episodes.values())
    checks("others", kept >= 2, f"{report.episodes}, skipped {report.skipped}")
    named = all(what and why for what, why in report.skipped)
    files = len(list(folder.iterdir()))
    checks("named", named and kept + len(report.skipped) >= files, dump_json(report.skipped))


CASES = (
    Case(
        "checkpoint damaged",
        "refused in one line, or the state as it was saved",
        frozenset({"state"}),
        checkpoint,
        times=4,
    ),
    Case(
        "store damaged",
        "every record read was written; at most the damaged chunk is gone, set aside",
        frozenset({"records"}),
        store,
        times=10,
    ),
    Case(
        "settings damaged",
        "read as settings, or refused in lines",
        frozenset({"settings"}),
        settings,
        times=10,
    ),
    Case(
        "data set damaged",
        "the others imported, the damaged one too or named",
        frozenset({"others", "named"}),
        source,
        times=4,
    ),
)
