"""Convert the settings and checkpoints of older runs to the current format.

The changes are listed in `configs/before.py`; those for new settings are declared with the field.
Read next: `config_io.py` and `checkpoint.py`, which use this to read a run.
"""

import dataclasses
import re
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from common.errors import UserError
from common.fields import before
from configs.before import CHANGES, FORMAT, LEAVES, Change, Converted, Gone, Renamed
from training.config_json import encode

FORMAT_KEY = "format"

Leaf = tuple[str, str | None]


def format_of(tree: Any) -> int:
    """The format number of a `config.json`; 1 if it has none.

    Raises:
      UserError: if only a newer version can read it.
    """
    number = tree.get(FORMAT_KEY, 1) if isinstance(tree, dict) else FORMAT
    if not isinstance(number, int) or not 1 <= number <= FORMAT:
        raise UserError(
            f"{FORMAT_KEY}: expected 1 to {FORMAT}, received {number!r}: the run was written by a "
            "newer version (versions.json beside it); use that one"
        )
    return number


def to_today(
    config: type[Any], tree: Any, changes: Mapping[int, Iterable[Change]] = CHANGES
) -> Any:
    """Convert the JSON of a run's settings to what the current code would have written.

    Args:
      config: the dataclass of the settings.
      tree: content of `config.json`.
      changes: by the format that introduced them.
    Raises:
      UserError: naming a removed setting whose value the current code does not support.
    """
    if not isinstance(tree, dict):
        return tree
    written = format_of(tree)
    later = [c for number in sorted(changes) if number > written for c in changes[number]]
    rest = {name: value for name, value in tree.items() if name != FORMAT_KEY}
    return _converted(config, rest, later, "")


def leaf_today(
    path: str, written: int, leaves: Mapping[int, Iterable[Leaf]] = LEAVES
) -> str | None:
    """The current path of a leaf of a checkpoint; None if the leaf is no longer used.

    Args:
      path: path under which it was stored.
      written: format of the checkpoint.
      leaves: changes of paths, by the format that introduced them.
    """
    for number in sorted(number for number in leaves if number > written):
        for pattern, replacement in leaves[number]:
            match = re.fullmatch(pattern, path)
            if match and replacement is None:
                return None
            path = match.expand(replacement) if match and replacement else path
    return path


def _converted(config: type[Any], given: Any, changes: list[Change], path: str) -> Any:
    if not isinstance(given, dict):
        return given
    tree = dict(given)
    for change in changes:
        if change.config == config.__name__:
            tree = _apply(change, tree, path)
    hints = typing.get_type_hints(config)
    for name, value in before(config).items():
        tree.setdefault(name, encode(value, hints[name], name))
    return tree | {
        name: _converted(hint, tree[name], changes, f"{path}{name}.")
        for name, hint in hints.items()
        if isinstance(hint, type) and dataclasses.is_dataclass(hint) and name in tree
    }


def _apply(change: Change, tree: dict[str, Any], path: str) -> dict[str, Any]:
    match change:
        case Gone(name=name):
            value = tree.get(name)
            if name not in tree or change.held is None or value in change.held:
                return {other: kept for other, kept in tree.items() if other != name}
            held = " or ".join(map(repr, change.held))
            raise UserError(
                f"{path}{name}: expected {held}, received {value!r}: "
                f"{change.meant}; the setting was removed: {change.remedy}"
            )
        case Renamed(old=old, new=new):
            return tree if old not in tree else tree | {new: tree.pop(old)}
        case Converted(convert=convert):
            try:
                return convert(tree)
            except (KeyError, TypeError, AttributeError, IndexError) as error:
                raise UserError(
                    f"{path or change.config}: expected the settings of format 1, received others "
                    f"({type(error).__name__}: {error}); use the version named in "
                    "versions.json"
                ) from error
