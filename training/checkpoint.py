"""Checkpoints of a run: written atomically, verified before use; only the newest few are kept.

    STEP/state.npz      the learner's state, each leaf under its path
    STEP/carry.npz      the state of the run's source, likewise; absent if it has none
    STEP/meta/metadata  JSON: counters, states of random generators
    STEP/digest.json    the step, and the SHA-256 of every other file

A state is any pytree; each leaf is stored under its path, e.g. `params/encoder/kernel`, so that the
type and order of the containers (NamedTuple, dataclass, nnx.State) may change as long as paths and
shapes stay the same. `older.py` maps leaves that have since been moved or removed. Older runs
contain Orbax folders, which can still be read (docs/adr/0025). Read next: `config_io.py`, which
guards the settings.
"""

import hashlib
import logging
import os
import re
import shutil
import sys
import uuid
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import jax
import numpy as np
import orbax.checkpoint as ocp

from common import RunFailed, UserError, dump_json, read_json
from configs.before import FORMAT
from replay.atomic import TEMPORARY, write_arrays, write_text
from training.older import FORMAT_KEY, format_of, leaf_today

STATE, CARRY, META, DIGEST = "state.npz", "carry.npz", "meta/metadata", "digest.json"
ORBAX = "state"
"""Name of the Orbax folder within a checkpoint, in runs before format 3."""
DIGESTED = 3
"""First format whose checkpoints all have a digest."""
CHECKPOINTS = "checkpoints"
"""Folder of the checkpoints in the run's directory."""
BEST = "best"
"""Folder beside `CHECKPOINTS` for the checkpoint with the best evaluation."""

UNFINISHED = (f"{TEMPORARY}*", "*.orbax-checkpoint-tmp")
"""Patterns of what a killed save leaves behind, including saves by older versions."""
BEFORE = "~"
"""Suffix of the folder of a step while a new one replaces it."""
DAMAGED = "damaged"
"""Folder to which the newest damaged checkpoint is moved before its step is saved again."""

MEMORY = "memory"
"""Entry of the meta that holds the size of a compiled run's memory (`seeds.py`); others lack it."""

Leaves = Mapping[str, np.ndarray]
"""The leaves of a pytree, by path."""


class Restored(NamedTuple):
    """What `CheckpointStore.restore` returns."""

    step: int
    """Environment steps at which the checkpoint was saved."""
    state: Any
    """Pytree with the structure of the template."""
    meta: dict[str, Any]
    """The meta passed to `save`: counters, states of random generators."""
    carry: dict[str, np.ndarray] | None = None
    """Leaves by path of the carry passed to `save` (see `fill`); None if there was none."""


class CheckpointStore:
    """The checkpoints of one run, one folder per step below `directory`.

    A save writes to a temporary folder and then renames it: a process killed at any moment leaves
    the earlier checkpoints usable and no partial one. Only one process may save; any number may
    read. A thread writes one checkpoint at a time while the run continues (`save_soon`).

    Args:
      directory: created by the first save if missing.
      keep: number of newest checkpoints kept on disk.
    Raises:
      UserError: if keep is below 1.
    """

    def __init__(self, directory: Path, keep: int) -> None:
        if keep < 1:
            raise UserError(f"expected to keep at least 1 checkpoint, received {keep}; use 1")
        self.directory, self.keep = Path(directory).absolute(), keep
        self._damage: dict[int, str | None] = {}  # of the steps verified so far
        self._writer = ThreadPoolExecutor(1, "checkpoint")  # starts its thread when first needed
        self._writing: Future[None] | None = None

    def latest(self, most: int | None = None) -> int | None:
        """The newest undamaged step; None if none was saved. Damaged steps are reported.

        Args:
          most: ignore later steps; None: consider all.
        Raises:
          UserError: if all are damaged.
        """
        damaged: dict[int, str] = {}
        new: list[str] = []
        for step in reversed([x for x in self.steps() if most is None or x <= most]):
            known = step in self._damage
            reason = self._damage[step] if known else self._look(step)
            if reason is not None and not self.folder(step).is_dir():
                continue  # removed meanwhile by the run that saves
            if reason is None:
                for line in new:
                    _tell(f"{line}: using step {step}")
                return step
            damaged[step] = reason
            if not known:
                new.append(f"{self.folder(step)} is damaged ({reason})")
        if damaged:
            found = "; ".join(f"{step}: {reason}" for step, reason in damaged.items())
            raise UserError(
                f"expected a whole checkpoint in {self.directory}, received damage in all "
                f"({found}); restore one from a copy, or choose another --logdir"
            )
        return None

    def steps(self) -> list[int]:
        """Every step on disk, oldest first."""
        names = [path.name for path in self.directory.glob("*") if path.is_dir()]
        matches = [re.fullmatch(f"(0|[1-9][0-9]*){BEFORE}?", name) for name in names]
        return sorted({int(match[1]) for match in matches if match})

    def folder(self, step: int) -> Path:
        """The folder of a step."""
        folder = self.directory / str(step)
        before = self.directory / f"{step}{BEFORE}"
        return before if before.is_dir() and not folder.is_dir() else folder

    def save(self, step: int, state: Any, meta: Mapping[str, Any], carry: Any = None) -> None:
        """Save a state, replacing an earlier one of that step; return once it is on disk.

        Args:
          step: environment steps of the whole run.
          state: pytree of arrays, numbers and PRNG keys.
          meta: JSON-compatible values: counters, `bit_generator.state` of NumPy's generators.
          carry: another such pytree, stored apart for readers that need only the state.
        Raises:
          UserError: if meta cannot be represented in JSON, or two leaves have the same path.
          RunFailed: if a number in the state is not finite; nothing is written.
          OSError: if the disk is full; the earlier checkpoints are kept.
        """
        self.save_soon(step, state, meta, carry)
        self.wait()

    def save_soon(self, step: int, state: Any, meta: Mapping[str, Any], carry: Any = None) -> None:
        """Save like `save`, but in the background: wait for the previous save, copy the arguments
        and return, so that the caller may then change them. Errors of the disk, and numbers that
        are not finite, are raised by `check`, `wait` or the next save."""
        self.wait()
        text = dump_json({FORMAT_KEY: FORMAT} | _checked_meta(meta))
        leaves, more = _copied(state), None if carry is None else _copied(carry)
        self._writing = self._writer.submit(self._write, step, leaves, text, more)

    def check(self) -> None:
        """Raise the error that kept the newest checkpoint from being written, if already known."""
        if self._writing is not None and self._writing.done():
            self.wait()

    def wait(self) -> None:
        """Wait until the newest checkpoint is on disk; raise the error if that failed."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _write(self, step: int, leaves: Leaves, text: str, carry: Leaves | None) -> None:
        self._check_finite(step, leaves)
        self._clear()
        place = self.directory / f"{TEMPORARY}{step}-{uuid.uuid4().hex[:8]}"
        try:
            write_leaves(place / STATE, leaves)
            if carry is not None:
                write_leaves(place / CARRY, carry)
            write_text(place / META, text)
            digest = {"step": step, "files": digests(place)}
            write_text(place / DIGEST, dump_json(digest, indent=1))
            self._put(place, step)
        except BaseException:
            shutil.rmtree(place, ignore_errors=True)
            raise
        self._damage[step] = None
        self._keep_newest(step)

    def restore(self, template: Any, step: int | None = None) -> Restored:
        """Read a checkpoint into the structure, and onto the devices, of `template`.

        Args:
          template: a state of the right structure; only paths, shapes, dtypes and devices are used
            (`jax.eval_shape` creates one without computing anything).
          step: which checkpoint; None for the newest undamaged one.
        Raises:
          UserError: if there is none, it is damaged, or a leaf differs from the template; names
            the first such leaf.
        """
        step = self._existing(step)
        folder, wanted = self.folder(step), _named(template)
        meta = read_json(folder / META)
        written = format_of(meta)
        if written < DIGESTED:
            _tell(f"{folder} was written without a digest: it is not looked through for damage")
        stored = self._read(step)
        paths = {old: old if old in wanted else leaf_today(old, written) for old in stored}
        self._check(step, {new: stored[old] for old, new in paths.items() if new}, wanted)
        state = fill(template, {new: stored[old] for old, new in paths.items() if new})
        carry = read_leaves(folder / CARRY) if (folder / CARRY).is_file() else None
        meta.pop(FORMAT_KEY, None)
        return Restored(step, state, meta, carry)

    def meta(self, step: int) -> dict[str, Any]:
        """The meta passed to `save`."""
        return dict(read_json(self.folder(step) / META))

    def close(self) -> None:
        """Finish writing a pending checkpoint, and forget which steps were verified. Errors not yet
        raised are dropped."""
        self._writer.shutdown()
        self._damage.clear()

    def _look(self, step: int) -> str | None:
        """Verify a step: what is damaged, or None if nothing is."""
        try:
            self._damage[step] = _damage(self.folder(step), step)
        except OSError as error:
            self._damage[step] = str(error)
        return self._damage[step]

    def _check_finite(self, step: int, leaves: Mapping[str, Any]) -> None:
        for name, leaf in leaves.items():
            if jax.dtypes.issubdtype(leaf.dtype, np.inexact) and not np.isfinite(leaf).all():
                raise RunFailed(
                    f"checkpoint of step {step}: expected finite numbers, received others in "
                    f"{name}; it was not written: {self.directory} holds steps {self.steps()}"
                )

    def _clear(self) -> None:
        """Delete what killed saves left behind, and move damaged steps away. Only for the process
        that saves: a reader would interfere with a save in progress."""
        self.directory.mkdir(parents=True, exist_ok=True)
        for pattern in UNFINISHED:
            for folder in self.directory.glob(pattern):
                shutil.rmtree(folder)
        for step, reason in self._damage.items():
            if reason is not None and self.folder(step).exists():
                shutil.rmtree(self.directory / DAMAGED, ignore_errors=True)
                os.replace(self.folder(step), self.directory / DAMAGED)

    def _put(self, place: Path, step: int) -> None:
        """Move what was written to its final name, then delete the folder that it replaces."""
        folder, before = self.directory / str(step), self.directory / f"{step}{BEFORE}"
        if folder.exists():
            shutil.rmtree(before, ignore_errors=True)
            os.replace(folder, before)
        os.replace(place, folder)
        shutil.rmtree(before, ignore_errors=True)

    def _keep_newest(self, saved: int) -> None:
        """Keep the newest of the steps up to the one just saved; later steps belong to a part of
        the run that was abandoned."""
        before = [step for step in self.steps() if step < saved]
        kept = {saved, *before[max(0, len(before) - self.keep + 1) :]}
        for step in set(self.steps()) - kept:
            gone = self.directory / f"{TEMPORARY}{step}-gone"
            os.replace(self.folder(step), gone)  # so that no step is ever partly removed
            shutil.rmtree(gone)

    def _existing(self, step: int | None) -> int:
        steps = self.steps()
        found = self.latest() if step is None else step
        if found is None or found not in steps:
            wanted = "a checkpoint" if step is None else f"a checkpoint of step {step}"
            raise UserError(
                f"expected {wanted} in {self.directory}, received steps {steps}; "
                "check the path of the run, or train it until its first save"
            )
        reason = self._look(found) if found not in self._damage else self._damage[found]
        if reason is not None:
            raise self._unreadable(found, reason)
        return found

    def _read(self, step: int) -> dict[str, np.ndarray]:
        """The leaves of a state by path."""
        folder = self.folder(step)
        try:
            if (folder / STATE).is_file():
                return read_leaves(folder / STATE)
            logging.getLogger("absl").setLevel(logging.ERROR)  # no warnings about optional files
            with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as old:
                found: Any = old.metadata(folder / ORBAX)
                shapes = dict(found.item_metadata.tree)
                zeros = {name: np.zeros(x.shape, x.dtype) for name, x in shapes.items()}
                return dict(old.restore(folder / ORBAX, args=ocp.args.StandardRestore(zeros)))
        except (ValueError, OSError, KeyError, TypeError, AttributeError, BadZipFile) as error:
            raise self._unreadable(step, _first_line(error)) from error

    def _check(self, step: int, stored: Mapping[str, Any], named: Mapping[str, Any]) -> None:
        """Compare the paths, shapes and dtypes on disk with the template's."""
        found = {name: _describe(leaf) for name, leaf in stored.items()}
        expected = {name: _describe(_encode_shape(leaf)) for name, leaf in named.items()}
        for name in [*expected, *found]:
            want, have = expected.get(name, "no such leaf"), found.get(name, "no such leaf")
            if want != have:
                raise UserError(
                    f"expected {name} = {want}, received {have} in {self.folder(step)}; "
                    "it was saved by another model or optimiser: use the settings of that run "
                    "(config.json beside its checkpoints), or another --logdir"
                )

    def _unreadable(self, step: int, reason: str) -> UserError:
        others = [other for other in self.steps() if other != step]
        return UserError(
            f"expected a readable checkpoint, received damage in {self.folder(step)}: "
            f"{reason}; move that folder away to resume from step {others[-1] if others else 0}"
        )


def newest_step(run: Path) -> int | None:
    """Step of a run's newest undamaged checkpoint; None if there is none."""
    store = CheckpointStore(run / CHECKPOINTS, keep=1)
    try:
        return store.latest()
    finally:
        store.close()


def restore_newest(run: Path, template: Any, folder: str = CHECKPOINTS) -> Restored:
    """Restore a run's newest undamaged checkpoint, read-only; see `CheckpointStore.restore`."""
    store = CheckpointStore(run / folder, keep=1)
    try:
        return store.restore(template)
    finally:
        store.close()


def fill(template: Any, leaves: Mapping[str, Any]) -> Any:
    """Build a pytree with the template's structure from stored leaves by path.

    Raises:
      UserError: if a leaf is missing or has another shape.
    """
    filled = []
    for name, leaf in _named(template).items():
        target, stored = _encode_shape(leaf), leaves.get(name)
        if stored is None or stored.shape != target.shape:
            have = "no such leaf" if stored is None else _describe(stored)
            raise UserError(
                f"expected {name} = {_describe(target)} in the checkpoint, received {have}; "
                "use the version that wrote it (versions.json), or choose another --logdir"
            )
        filled.append(_decode(stored, leaf))
    return jax.tree.unflatten(jax.tree.structure(template), filled)


def inner(leaves: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Select the leaves below a name, keyed by the rest of their paths."""
    start = f"{name}/"
    return {path[len(start) :]: x for path, x in leaves.items() if path.startswith(start)}


def write_leaves(path: Path, leaves: Mapping[str, Any]) -> None:
    """Write arrays by path as npz. NumPy's format does not know types such as bfloat16; they are
    stored as integers of the same bits, and every name is prefixed with that of the dtype."""
    arrays = {name: np.asarray(leaf) for name, leaf in leaves.items()}
    write_arrays(
        path,
        {
            f"{x.dtype.name} {name}": x.view(f"u{x.dtype.itemsize}") if x.dtype.kind == "V" else x
            for name, x in arrays.items()
        },
    )


def read_leaves(path: Path) -> dict[str, np.ndarray]:
    """Read back what `write_leaves` wrote."""
    with np.load(path, allow_pickle=False) as stored:
        named = {name.partition(" ")[::2]: array for name, array in stored.items()}
    return {name: array.view(np.dtype(kind)) for (kind, name), array in named.items()}


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder, by relative path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): _sha256(path) for path in files}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _damage(folder: Path, step: int) -> str | None:
    """What differs from the digest; None if nothing does, or the format had no digest yet."""
    try:
        if not (folder / DIGEST).is_file():
            written = format_of(read_json(folder / META))
            return f"{DIGEST} is missing" if written >= DIGESTED else None
        digest = read_json(folder / DIGEST)
        saved, expected = digest["step"], dict(digest["files"])
    except (UserError, KeyError, TypeError, ValueError) as error:
        return _first_line(error)
    if saved != step:
        return f"it was saved as step {saved}"
    for name, value in expected.items():
        if not (folder / name).is_file():
            return f"{name} is missing"
        if _sha256(folder / name) != value:
            return f"{name} has changed"
    return None


def _tell(line: str) -> None:
    print(f"checkpoint: {line}", file=sys.stderr, flush=True)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _encoded(state: Any) -> dict[str, Any]:
    return {name: _encode(leaf) for name, leaf in _named(state).items()}


def _copied(state: Any) -> Leaves:
    """Copy the leaves of a pytree, by path. Without a copy, NumPy would share the memory of JAX's
    arrays on a CPU, which the next update reuses."""
    return {name: np.array(leaf) for name, leaf in jax.device_get(_encoded(state)).items()}


def _named(state: Any) -> dict[str, Any]:
    """The leaves of a pytree by path, in flattening order."""
    pairs = jax.tree_util.tree_leaves_with_path(state)
    named = {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in pairs}
    if len(named) < len(pairs):
        raise UserError(
            f"expected leaves of different paths, received {len(pairs)} leaves of {len(named)} "
            "paths; rename the keys that hold a '/'"
        )
    return named


def _checked_meta(meta: Mapping[str, Any]) -> dict[str, Any]:
    try:
        dump_json(meta)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"expected meta of numbers, strings, lists and dicts, received: {error}; put arrays "
            "into the state"
        ) from error
    return dict(meta)


def _is_key(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _key_impl(leaf: Any) -> Any:
    """The implementation of a PRNG key, which may be abstract."""
    seen: list[Any] = []
    jax.eval_shape(lambda key: seen.append(jax.random.key_impl(key)), leaf)
    return seen[0]


def _encode(leaf: Any) -> Any:
    """Encode a leaf for storage: a PRNG key as its bits, a number as a NumPy array."""
    if _is_key(leaf):
        return jax.random.key_data(leaf)
    return leaf if isinstance(leaf, jax.Array) else np.asarray(leaf)


def _encode_shape(leaf: Any) -> Any:
    """Shape and dtype of what `_encode` returns for a leaf, which may be abstract."""
    if not isinstance(leaf, jax.Array | jax.ShapeDtypeStruct):
        return np.asarray(leaf)
    return jax.eval_shape(jax.random.key_data, leaf) if _is_key(leaf) else leaf


def _committed(leaf: Any) -> bool:
    """Whether a leaf is committed to chosen devices, as opposed to where it was computed."""
    if isinstance(leaf, jax.Array):
        return bool(leaf.committed)
    return isinstance(leaf, jax.ShapeDtypeStruct) and leaf.sharding is not None


def _decode(stored: Any, leaf: Any) -> Any:
    """Decode a stored leaf to the template's type; the inverse of `_encode`.

    An array that the template does not commit to a device stays uncommitted, so that a program
    compiled for the template's array accepts this one.
    """
    if isinstance(leaf, bool | int | float):
        return type(leaf)(stored.item())
    if isinstance(leaf, jax.Array | jax.ShapeDtypeStruct):
        place = leaf.sharding if _committed(leaf) else None
        stored = jax.device_put(stored, place, may_alias=False)  # an update will donate it
    return jax.random.wrap_key_data(stored, impl=_key_impl(leaf)) if _is_key(leaf) else stored


def _describe(leaf: Any) -> str:
    return f"{np.dtype(leaf.dtype).name}{list(leaf.shape)}"
