"""The settings of a run on disk: written resolved, read back strictly, compared before a resume.

`config.json` contains the dataclasses as nested objects, and its format number; `versions.json`
records the software and device of the run. Runs of older formats are converted by `older.py`. Read
next: `config_json.py`, how objects are written; `versions.py`, the versions.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from common import UserError, dump_json, read_json
from common.fields import changeable
from configs.before import FORMAT
from envs import without_folder
from replay.atomic import TEMPORARY, remove_unfinished, write_text
from replay.lock import DirectoryLock
from training.config_json import decode, encode
from training.older import FORMAT_KEY, to_today
from training.versions import versions

CONFIG, VERSIONS, LOCK = "config.json", "versions.json", "lock"
ENVIRONMENTS = "env.name", "data.env"  # settings that name an environment
PATHS = "data.name", "init_from", "recordings"  # as given, in runs before 2026-12

C = TypeVar("C")


def write_run_files(logdir: Path, config: Any) -> None:
    """Write `config.json` and `versions.json` into the directory of a run, created if missing.

    Args:
      logdir: directory of the run.
      config: a dataclass; it may contain dataclasses, tuples, paths, enums and None.
    Raises:
      UserError: if a field has a value that JSON cannot represent.
    """
    logdir = Path(logdir)
    write_text(logdir / CONFIG, _dump({FORMAT_KEY: FORMAT} | encode(config, type(config), "")))
    write_text(logdir / VERSIONS, _dump(versions()))


def load_config(cls: type[C], path: Path) -> C:
    """Read `config.json` back as a `cls`. It must have exactly the fields of `cls`, apart from
    known changes since the run was written.

    Args:
      cls: the dataclass that was written.
      path: the file, or the directory of the run.
    Raises:
      UserError: if the file is missing or not JSON, or a field is missing, unknown or of another
        type; names the field with its path, e.g. `agent.horizon`.
    """
    config: C = decode(cls, to_today(cls, read_config(path)), "")
    return config


def check_same_config(logdir: Path, config: Any) -> None:
    """Refuse a directory that was written with another config, before anything in it is touched.

    A missing or empty directory passes, since the run is new; so does one with only the leftovers
    of a process that was killed before it wrote its config. Fields declared `MayChange` may differ,
    and so may the path to the user's own environment.

    Args:
      logdir: directory of the run.
      config: the settings of the current command.
    Raises:
      UserError: listing each differing field with its old and new value, or if the directory
        contains files but no config.
    """
    logdir = Path(logdir)
    if not logdir.exists() or (logdir.is_dir() and all(map(_left_behind, logdir.iterdir()))):
        return
    if not logdir.is_dir():
        raise UserError(f"expected a directory for the run, received the file {logdir}; rename it")
    if not holds_run(logdir):
        if seeds := " ".join(map(str, seeds_in(logdir))):
            raise UserError(
                f"{logdir}: expected the directory of one run, received that of several seeds; it "
                f"holds seeds {seeds}: add --seeds {seeds}"
            )
        raise UserError(
            f"expected an empty directory or one of a run, received {logdir}, which holds files "
            f"but no {CONFIG}; choose another --logdir"
        )
    old = flat(to_today(type(config), read_config(logdir)))
    new, ignore = settings_of(config), changeable(type(config))
    names = [name for name in [*old, *(set(new) - set(old))] if not _covered(name, ignore)]
    differing = [
        f"  {name}: {_show(old, name)} there, {_show(new, name)} now"
        for name in names
        if _differs(old, new, name)
    ]
    if differing:
        raise UserError(
            f"{logdir} was written by another config:\n" + "\n".join(differing) + "\n"
            "choose another --logdir, or pass the settings that it was written with"
        )


def lock_run(logdir: Path) -> DirectoryLock:
    """Lock a run's directory, created if missing, against writes by other processes until released;
    delete incomplete files of killed ones.

    Raises:
      UserError: if another process holds the lock.
    """
    logdir.mkdir(parents=True, exist_ok=True)
    lock = DirectoryLock(logdir / LOCK)
    remove_unfinished(logdir)
    return lock


def holds_run(logdir: Path) -> bool:
    """Whether the directory contains a run."""
    return (Path(logdir) / CONFIG).is_file()


def seeds_in(folder: Path) -> list[int]:
    """The seeds whose runs a directory of --seeds contains, in ascending order."""
    names = [run.name.removeprefix("seed_") for run in folder.glob("seed_*") if holds_run(run)]
    return sorted(int(name) for name in names if name.isdecimal())


def settings_of(config: Any) -> dict[str, Any]:
    """All settings of a run by dotted name, as JSON values."""
    return flat(encode(config, type(config), ""))


def flat(tree: Any, path: str = "") -> dict[str, Any]:
    """The leaves of nested objects by dotted path."""
    if not isinstance(tree, Mapping) or not tree:
        return {path: tree}
    leaves: dict[str, Any] = {}
    for name, value in tree.items():
        leaves |= flat(value, f"{path}.{name}" if path else name)
    return leaves


def _left_behind(path: Path) -> bool:
    return path.name == LOCK or path.name.startswith(TEMPORARY)


def read_config(path: Path) -> Any:
    """Read the content of a `config.json`, given by its path or its directory.

    Raises:
      UserError: if there is none, or it is not JSON.
    """
    path = Path(path)
    path = path / CONFIG if path.is_dir() else path
    if not path.is_file():
        remedy = "check the path"
        if seeds := seeds_in(path.parent):
            held, one = " ".join(map(str, seeds)), path.parent / f"seed_{seeds[0]}"
            remedy = f"its folder holds seeds {held}: name the run of one, such as {one}"
        raise UserError(f"expected the config of a run, received no file at {path}; {remedy}")
    return read_json(path)


def _covered(name: str, ignore: set[str]) -> bool:
    return any(name == path or name.startswith(path + ".") for path in ignore)


def placeless(name: str, value: Any) -> Any:
    """The value of a setting in a form that is equal for equal things: the user's own environment
    without the folder that it is in, runs and data by their absolute paths."""
    if not isinstance(value, str):
        return value
    if name in ENVIRONMENTS:
        return without_folder(value)
    return str(Path(value).absolute()) if name in PATHS else value


def _differs(old: Mapping[str, Any], new: Mapping[str, Any], name: str) -> bool:
    if name not in old or name not in new:
        return True
    return dump_json(placeless(name, old[name])) != dump_json(placeless(name, new[name]))


def _show(leaves: Mapping[str, Any], name: str) -> str:
    return dump_json(leaves[name]) if name in leaves else "absent"


def _dump(tree: Any) -> str:
    return dump_json(tree, indent=2) + "\n"  # in ASCII: a path need not be valid UTF-8
