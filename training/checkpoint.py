"""Checkpoints of a run: whole or absent, the newest few kept, checked against what will use them.

A thin layer over orbax-checkpoint. A state is any pytree; each leaf is stored under its path, e.g.
`params/encoder/kernel`, so that the containers (NamedTuple, dataclass, nnx.State) may change their
type, and their order, as long as paths and shapes stay. A leaf that has moved or gone since it was
saved is found by `older.py`. Read next: `config_io.py`, which guards the settings.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp

from common import RunFailed, UserError, dump_json
from configs.before import FORMAT
from training.older import FORMAT_KEY, format_of, leaf_today

STATE, META = "state", "meta"
CHECKPOINTS = "checkpoints"
"""The folder of a run that holds them."""

UNFINISHED = ".orbax-checkpoint-tmp"
"""How orbax's folder of a step ends until it is committed."""


class Restored(NamedTuple):
    """What `CheckpointStore.restore` returns."""

    step: int
    """Environment steps at which it was saved."""
    state: Any
    """Pytree like the template."""
    meta: dict[str, Any]
    """What `save` was given: counters, states of generators."""


class CheckpointStore:
    """The checkpoints of one run, one folder per step below `directory`.

    A save writes beside its place and is committed last: a process killed at any moment leaves the
    earlier checkpoints usable and no half one. One process saves; any number may read.

    Args:
      directory: made if missing.
      keep: how many of the newest checkpoints stay on disk.
    Raises:
      UserError: if keep is below 1.
    """

    def __init__(self, directory: Path, keep: int) -> None:
        if keep < 1:
            raise UserError(f"expected to keep at least 1 checkpoint, received {keep}; use 1")
        self.directory = Path(directory).absolute()
        self._manager = ocp.CheckpointManager(
            self.directory,
            item_handlers={
                STATE: ocp.StandardCheckpointHandler(),
                META: ocp.JsonCheckpointHandler(),
            },
            options=ocp.CheckpointManagerOptions(
                max_to_keep=keep, enable_async_checkpointing=False
            ),
        )

    def latest(self) -> int | None:
        """The newest step saved, or None."""
        return self._manager.latest_step()

    def steps(self) -> list[int]:
        """Every step on disk, oldest first."""
        return sorted(self._manager.all_steps())

    def save(self, step: int, state: Any, meta: Mapping[str, Any]) -> bool:
        """Saves a state; returns when it is on disk, False if that step was saved before.

        Args:
          step: environment steps of the whole run.
          state: pytree of arrays, numbers and PRNG keys.
          meta: anything that JSON holds: counters, `bit_generator.state` of numpy's generators.
        Raises:
          UserError: if meta does not fit into JSON, or two leaves have the same path.
          RunFailed: for a number that is not finite; nothing is written.
        """
        if step in self._manager.all_steps():
            return False
        leaves = {name: _encode(leaf) for name, leaf in _named(state).items()}
        self._check_finite(step, leaves)
        items = {
            STATE: ocp.args.StandardSave(leaves),
            META: ocp.args.JsonSave({FORMAT_KEY: FORMAT} | _checked_meta(meta)),
        }
        self._remove_unfinished()
        self._manager.save(step, args=ocp.args.Composite(**items), force=True)
        self._manager.wait_until_finished()
        return True

    def restore(self, template: Any, step: int | None = None) -> Restored:
        """Reads a checkpoint into the structure, and onto the devices, of `template`.

        Args:
          template: a state of the right structure; only paths, shapes, dtypes and devices are used
            (`jax.eval_shape` makes one for nothing).
          step: which checkpoint; None for the newest.
        Raises:
          UserError: if there is none, it cannot be read, or its first differing leaf is not what
            the template expects.
        """
        step = self._existing(step)
        wanted = _named(template)
        meta = dict(self._read(step, META, ocp.args.JsonRestore()))
        stored, written = self._stored(step), format_of(meta)
        paths = {old: old if old in wanted else leaf_today(old, written) for old in stored}
        self._check(step, {new: stored[old] for old, new in paths.items() if new}, wanted)
        targets = {old: _target(wanted[new] if new else stored[old]) for old, new in paths.items()}
        found = self._read(step, STATE, ocp.args.StandardRestore(targets))
        today = {new: found[old] for old, new in paths.items() if new}
        leaves = [_decode(today[name], leaf) for name, leaf in wanted.items()]
        state = jax.tree.unflatten(jax.tree.structure(template), leaves)
        meta.pop(FORMAT_KEY, None)
        return Restored(step, state, meta)

    def close(self) -> None:
        """Ends the threads that orbax keeps."""
        self._manager.close()

    def _check_finite(self, step: int, leaves: Mapping[str, Any]) -> None:
        for name, leaf in leaves.items():
            if jax.dtypes.issubdtype(leaf.dtype, np.inexact) and not np.isfinite(leaf).all():
                raise RunFailed(
                    f"checkpoint of step {step}: expected finite numbers, received others in "
                    f"{name}; it was not written: in {self.directory} are steps {self.steps()}"
                )

    def _remove_unfinished(self) -> None:
        """Removes what a killed save left. Only a saver may: a reader would hit a running save."""
        for folder in self.directory.glob(f"*{UNFINISHED}"):
            shutil.rmtree(folder)

    def _existing(self, step: int | None) -> int:
        steps = self.steps()
        if step in steps or (step is None and steps):
            return steps[-1] if step is None else step
        wanted = "a checkpoint" if step is None else f"a checkpoint of step {step}"
        raise UserError(
            f"expected {wanted} in {self.directory}, received steps {steps}; "
            "check the path of the run, or train it until its first save"
        )

    def _read(self, step: int, item: str, how: Any) -> Any:
        try:
            return self._manager.restore(step, args=ocp.args.Composite(**{item: how}))[item]
        except (ValueError, OSError, KeyError) as error:
            raise self._unreadable(step, error) from error

    def _stored(self, step: int) -> dict[str, jax.ShapeDtypeStruct]:
        """The paths, shapes and dtypes on disk."""
        try:
            leaves = dict(self._manager.item_metadata(step)[STATE])
        except (ValueError, OSError, KeyError, TypeError) as error:
            raise self._unreadable(step, error) from error
        return {name: jax.ShapeDtypeStruct(x.shape, x.dtype) for name, x in leaves.items()}

    def _check(self, step: int, stored: Mapping[str, Any], named: Mapping[str, Any]) -> None:
        """Compares the paths, shapes and dtypes on disk with the template's."""
        found = {name: _describe(leaf) for name, leaf in stored.items()}
        expected = {name: _describe(_target(leaf)) for name, leaf in named.items()}
        for name in [*expected, *found]:
            want, have = expected.get(name, "no such leaf"), found.get(name, "no such leaf")
            if want != have:
                raise UserError(
                    f"expected {name} = {want}, received {have} in {self.directory / str(step)}; "
                    "it was saved by another model or optimiser: use the settings of that run "
                    "(config.json beside its checkpoints), or another --logdir"
                )

    def _unreadable(self, step: int, error: Exception) -> UserError:
        others = [other for other in self.steps() if other != step]
        return UserError(
            f"expected a readable checkpoint, received damage in {self.directory / str(step)}: "
            f"{str(error).splitlines()[0] if str(error) else type(error).__name__}; move that "
            f"folder away to go on from step {others[-1] if others else 0}"
        )


def restore_newest(run: Path, template: Any) -> Restored:
    """The newest checkpoint of a run, read only; as `CheckpointStore.restore`."""
    store = CheckpointStore(run / CHECKPOINTS, keep=1)
    try:
        return store.restore(template)
    finally:
        store.close()


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


def _target(leaf: Any) -> Any:
    """What orbax shall restore a leaf to: what is committed to devices goes there at once, all
    else comes as numpy."""
    if not isinstance(leaf, jax.Array | jax.ShapeDtypeStruct):
        return np.asarray(leaf)
    data = jax.eval_shape(jax.random.key_data, leaf) if _is_key(leaf) else leaf
    if _committed(leaf):
        return jax.ShapeDtypeStruct(data.shape, data.dtype, sharding=leaf.sharding)
    return np.broadcast_to(np.zeros((), data.dtype), data.shape)


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
    if isinstance(leaf, jax.Array | jax.ShapeDtypeStruct) and not _committed(leaf):
        stored = jax.device_put(stored, may_alias=False)  # it will be donated
    return jax.random.wrap_key_data(stored, impl=_key_impl(leaf)) if _is_key(leaf) else stored


def _describe(leaf: Any) -> str:
    return f"{np.dtype(leaf.dtype).name}{list(leaf.shape)}"
