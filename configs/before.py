"""What has changed in the settings and checkpoints of runs since they were first written.

A run says by which `FORMAT` it was written (`config.json`); one without a number is of format 1.
Whoever takes a setting away, renames or merges it, or takes parameters away, raises `FORMAT` (once
per release is enough), adds the change under its number below, and a small run of the format that
is left to `tests/golden/runs`. A *new* setting needs no change here: it is declared with what older
runs did, `Annotated[float, Before(0.0)]` (`common/fields.py`). A change names the dataclass
whose field it was, so that it holds wherever that is nested. Changes are applied in the order
written here, an outer dataclass before those within it. Applied by `training/older.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

FORMAT = 2


@dataclass(frozen=True)
class Gone:
    """A setting that is no more."""

    config: str
    """Class name of the dataclass whose field it was."""
    name: str
    held: tuple[Any, ...] | None
    """The values, as JSON, under which the run did what today's code does; None: all."""
    meant: str
    """What it set, in a few words."""
    remedy: str
    """What to do with a run that held another value."""


@dataclass(frozen=True)
class Renamed:
    """A setting that has another name and the same meaning."""

    config: str
    old: str
    new: str


@dataclass(frozen=True)
class Converted:
    """Settings that were merged, or mean something else: a function from the old object to the new
    one, which may change it in place and raise ValueError with the remedy."""

    config: str
    convert: Callable[[dict[str, Any]], dict[str, Any]]


Change = Gone | Renamed | Converted

CHANGES: dict[int, tuple[Change, ...]] = {2: ()}
"""By the format that brought them: a run of an older one goes through all later ones."""

LEAVES: dict[int, tuple[tuple[str, str | None], ...]] = {2: ()}
"""Leaves of a checkpoint (parameters, optimiser) that have another path today or none, by the
format that changed them: a regular expression of the whole path, `(params|average)/newest/.*`, and
what it becomes, as of `re.Match.expand`, or None. All others must be there, as they are."""
