"""Checkpoints of a run: whole or absent, the newest few kept, checked before they are used.

    STEP/state.npz      the learner's state, each leaf under its path
    STEP/carry.npz      what the run's source goes on from, likewise; where there is any
    STEP/meta/metadata  JSON: counters, states of generators
    STEP/digest.json    the step, and the SHA-256 of every other file

A state is any pytree; each leaf is stored under its path, e.g. `params/encoder/kernel`, so that the
containers (NamedTuple, dataclass, nnx.State) may change their type, and their order, as long as
paths and shapes stay. A leaf that has moved or gone since it was saved is found by `older.py`.
Older runs hold folders of orbax, which are read (docs/adr/0025). Read next: `config_io.py`, which
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
"""The folder in a step's of a run before format 3."""
DIGESTED = 3
"""The format from which on every checkpoint has a digest."""
CHECKPOINTS = "checkpoints"
"""The folder of a run that holds them."""
BEST = "best"
"""The folder beside it of the one that was evaluated best."""

UNFINISHED = (f"{TEMPORARY}*", "*.orbax-checkpoint-tmp")
"""What a killed save left, also one of an older version."""
BEFORE = "~"
"""How the folder of a step ends while another takes its place."""
DAMAGED = "damaged"
"""Where the newest that is damaged goes before another is saved in its place."""


Leaves = Mapping[str, np.ndarray]
"""Of a pytree, by path."""


class Restored(NamedTuple):
    """What `CheckpointStore.restore` returns."""

    step: int
    """Environment steps at which it was saved."""
    state: Any
    """Pytree like the template."""
    meta: dict[str, Any]
    """What `save` was given: counters, states of generators."""
    carry: dict[str, np.ndarray] | None = None
    """Leaves by path of the carry that `save` was given (`fill`); None where it was given none."""


class CheckpointStore:
    """The checkpoints of one run, one folder per step below `directory`.

    A save writes beside its place, and a rename makes it one: a process killed at any moment leaves
    the earlier checkpoints usable and no half one. One process saves; any number may read. A thread
    writes while the run goes on (`save_soon`), one checkpoint at a time.

    Args:
      directory: made by the first save if missing.
      keep: how many of the newest checkpoints stay on disk.
    Raises:
      UserError: if keep is below 1.
    """

    def __init__(self, directory: Path, keep: int) -> None:
        if keep < 1:
            raise UserError(f"expected to keep at least 1 checkpoint, received {keep}; use 1")
        self.directory, self.keep = Path(directory).absolute(), keep
        self._damage: dict[int, str | None] = {}  # of the steps looked at
        self._writer = ThreadPoolExecutor(1, "checkpoint")  # starts its thread when first needed
        self._writing: Future[None] | None = None

    def latest(self, most: int | None = None) -> int | None:
        """The newest step that is whole, None where none was saved. Damaged ones are told.

        Args:
          most: leaves out later steps; None: none.
        Raises:
          UserError: if all are damaged.
        """
        damaged: dict[int, str] = {}
        new: list[str] = []
        for step in reversed([x for x in self.steps() if most is None or x <= most]):
            known = step in self._damage
            reason = self._damage[step] if known else self._look(step)
            if reason is not None and not self.folder(step).is_dir():
                continue  # the run that saves has removed it
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
        """Where a step lies."""
        folder = self.directory / str(step)
        before = self.directory / f"{step}{BEFORE}"
        return before if before.is_dir() and not folder.is_dir() else folder

    def save(self, step: int, state: Any, meta: Mapping[str, Any], carry: Any = None) -> None:
        """Saves a state, in place of an earlier one of that step; returns when it is on disk.

        Args:
          step: environment steps of the whole run.
          state: pytree of arrays, numbers and PRNG keys.
          meta: anything that JSON holds: counters, `bit_generator.state` of numpy's generators.
          carry: another such pytree, which readers of the state alone leave out.
        Raises:
          UserError: if meta does not fit into JSON, or two leaves have the same path.
          RunFailed: for a number in the state that is not finite; nothing is written.
          OSError: where the disk is full; the earlier ones stay.
        """
        self.save_soon(step, state, meta, carry)
        self.wait()

    def save_soon(self, step: int, state: Any, meta: Mapping[str, Any], carry: Any = None) -> None:
        """As `save`, but returns once it has copies, when the one before is on disk: what is given
        may change. What goes wrong with the disk or the numbers is raised by `check`, `wait` or the
        next save."""
        self.wait()
        text = dump_json({FORMAT_KEY: FORMAT} | _checked_meta(meta))
        leaves, more = _copied(state), None if carry is None else _copied(carry)
        self._writing = self._writer.submit(self._write, step, leaves, text, more)

    def check(self) -> None:
        """Raises what kept the newest checkpoint from being written, as soon as it is known."""
        if self._writing is not None and self._writing.done():
            self.wait()

    def wait(self) -> None:
        """Until the newest checkpoint is on disk; raises what kept it from there."""
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
        """Reads a checkpoint into the structure, and onto the devices, of `template`.

        Args:
          template: a state of the right structure; only paths, shapes, dtypes and devices are used
            (`jax.eval_shape` makes one for nothing).
          step: which checkpoint; None for the newest that is whole.
        Raises:
          UserError: if there is none, it is damaged, or its first differing leaf is not what the
            template expects.
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
        """What `save` was given beside the state."""
        return dict(read_json(self.folder(step) / META))

    def close(self) -> None:
        """Lets a checkpoint that is being written come to its end, and forgets which were looked
        at; what went wrong unseen is not raised."""
        self._writer.shutdown()
        self._damage.clear()

    def _look(self, step: int) -> str | None:
        """What is damaged of a step, None where nothing is."""
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
        """Makes room: what a killed save left goes, and what is damaged out of the way. Only a
        saver may: a reader would hit a running save."""
        self.directory.mkdir(parents=True, exist_ok=True)
        for pattern in UNFINISHED:
            for folder in self.directory.glob(pattern):
                shutil.rmtree(folder)
        for step, reason in self._damage.items():
            if reason is not None and self.folder(step).exists():
                shutil.rmtree(self.directory / DAMAGED, ignore_errors=True)
                os.replace(self.folder(step), self.directory / DAMAGED)

    def _put(self, place: Path, step: int) -> None:
        """Gives what was written its name; one that had it goes afterwards."""
        folder, before = self.directory / str(step), self.directory / f"{step}{BEFORE}"
        if folder.exists():
            shutil.rmtree(before, ignore_errors=True)
            os.replace(folder, before)
        os.replace(place, folder)
        shutil.rmtree(before, ignore_errors=True)

    def _keep_newest(self, saved: int) -> None:
        """Of the step just saved and those before it; what is later was not gone on from."""
        before = [step for step in self.steps() if step < saved]
        kept = {saved, *before[len(before) - self.keep + 1 :]}
        for step in set(self.steps()) - kept:
            gone = self.directory / f"{TEMPORARY}{step}-gone"
            os.replace(self.folder(step), gone)  # so that none is ever half removed
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
            logging.getLogger("absl").setLevel(logging.ERROR)  # not of a file that it did not need
            with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as old:
                found: Any = old.metadata(folder / ORBAX)
                shapes = dict(found.item_metadata.tree)
                zeros = {name: np.zeros(x.shape, x.dtype) for name, x in shapes.items()}
                return dict(old.restore(folder / ORBAX, args=ocp.args.StandardRestore(zeros)))
        except (ValueError, OSError, KeyError, TypeError, AttributeError, BadZipFile) as error:
            raise self._unreadable(step, _first_line(error)) from error

    def _check(self, step: int, stored: Mapping[str, Any], named: Mapping[str, Any]) -> None:
        """Compares the paths, shapes and dtypes on disk with the template's."""
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


def restore_newest(run: Path, template: Any, folder: str = CHECKPOINTS) -> Restored:
    """The newest checkpoint of a run that is whole, read only; as `CheckpointStore.restore`."""
    store = CheckpointStore(run / folder, keep=1)
    try:
        return store.restore(template)
    finally:
        store.close()


def fill(template: Any, leaves: Mapping[str, Any]) -> Any:
    """A pytree like the template, of leaves by path as they were stored.

    Raises:
      UserError: for a leaf that is missing or has another shape.
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
    """Of leaves by path those below a name, by the rest of their paths."""
    start = f"{name}/"
    return {path[len(start) :]: x for path, x in leaves.items() if path.startswith(start)}


def write_leaves(path: Path, leaves: Mapping[str, Any]) -> None:
    """Arrays by path as npz. NumPy's format has no word for types such as bfloat16: a name there
    begins with the type's, and such numbers stand as integers of the same bits."""
    arrays = {name: np.asarray(leaf) for name, leaf in leaves.items()}
    write_arrays(
        path,
        {
            f"{x.dtype.name} {name}": x.view(f"u{x.dtype.itemsize}") if x.dtype.kind == "V" else x
            for name, x in arrays.items()
        },
    )


def read_leaves(path: Path) -> dict[str, np.ndarray]:
    """What `write_leaves` wrote."""
    with np.load(path, allow_pickle=False) as stored:
        named = {name.partition(" ")[::2]: array for name, array in stored.items()}
    return {name: array.view(np.dtype(kind)) for (kind, name), array in named.items()}


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder, by its path there."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): _sha256(path) for path in files}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _damage(folder: Path, step: int) -> str | None:
    """What differs from the digest, None where nothing does or there was none yet."""
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
    """The leaves of a pytree by path, in memory of their own: an array of JAX on a CPU is otherwise
    looked at where it lies, and an update takes that memory."""
    return {name: np.array(leaf) for name, leaf in jax.device_get(_encoded(state)).items()}


def _named(state: Any) -> dict[str, Any]:
    """The leaves of a pytree by path, in the order of its flattening."""
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
    """The generator of a PRNG key, also of an abstract one."""
    seen: list[Any] = []
    jax.eval_shape(lambda key: seen.append(jax.random.key_impl(key)), leaf)
    return seen[0]


def _encode(leaf: Any) -> Any:
    """A leaf as it is stored: a PRNG key as its bits, a number as a numpy array."""
    if _is_key(leaf):
        return jax.random.key_data(leaf)
    return leaf if isinstance(leaf, jax.Array) else np.asarray(leaf)


def _encode_shape(leaf: Any) -> Any:
    """What `_encode` returns of a leaf, which may be abstract, as far as shape and dtype go."""
    if not isinstance(leaf, jax.Array | jax.ShapeDtypeStruct):
        return np.asarray(leaf)
    return jax.eval_shape(jax.random.key_data, leaf) if _is_key(leaf) else leaf


def _committed(leaf: Any) -> bool:
    """Whether its devices were chosen, rather than where it was computed."""
    if isinstance(leaf, jax.Array):
        return bool(leaf.committed)
    return isinstance(leaf, jax.ShapeDtypeStruct) and leaf.sharding is not None


def _decode(stored: Any, leaf: Any) -> Any:
    """A stored leaf as the template has it; the inverse of `_encode`.

    An array that the template commits to no device is not committed here either: a program that
    was compiled for the one takes the other.
    """
    if isinstance(leaf, bool | int | float):
        return type(leaf)(stored.item())
    if isinstance(leaf, jax.Array | jax.ShapeDtypeStruct):
        place = leaf.sharding if _committed(leaf) else None
        stored = jax.device_put(stored, place, may_alias=False)  # it will be donated
    return jax.random.wrap_key_data(stored, impl=_key_impl(leaf)) if _is_key(leaf) else stored


def _describe(leaf: Any) -> str:
    return f"{np.dtype(leaf.dtype).name}{list(leaf.shape)}"
