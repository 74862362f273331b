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

from common import UserError
from worldmodel.config import ARCHITECTURES, Architecture

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
    one, which may change it in place and raise UserError with the remedy."""

    config: str
    convert: Callable[[dict[str, Any]], dict[str, Any]]


Change = Gone | Renamed | Converted


def gone(config: str, name: str, value: Any, meant: str) -> Gone:
    """A setting that became a constant of this value."""
    return Gone(config, name, (value,), meant, "go on with the version that versions.json names")


def all_phases(model: dict[str, Any]) -> dict[str, Any]:
    """Training at every phase follows from what a tick sees."""
    causal = model["window"] == "causal"
    if model.pop("all_phases", causal) != causal:
        raise UserError(
            "all_phases: expected True, received False: a causal top is trained at every phase of "
            "its clock; go on with the version that versions.json names"
        )
    return model


def architecture(model: dict[str, Any]) -> dict[str, Any]:
    """Eight settings, which are one of two architectures, and the units of the MLPs over frame
    embeddings: what was left to other widths is said."""
    if "act" not in model:
        return model
    built = {name: model.pop(name) for name in Architecture._fields}
    known = [name for name, networks in ARCHITECTURES.items() if networks._asdict() == built]
    hidden = model.pop("embed_hidden") or model["hidden"]
    frame = known == ["original"]  # the output is as wide as the frame embedding
    if not known or (model["embed"] != 0 if frame else hidden != model["hidden"]):
        raise UserError(
            f"architecture: expected that of {' or '.join(ARCHITECTURES)}, received {built}, embed "
            f"{model['embed']} and embed_hidden {hidden}; go on with the version that "
            "versions.json names"
        )
    return model | {"architecture": known[0], "embed": hidden if frame else model["embed"]}


CHANGES: dict[int, tuple[Change, ...]] = {
    2: (
        Renamed("TrainConfig", "video_ratio", "recordings_share"),
        Converted("ClockworkConfig", all_phases),
        Converted("ClockworkConfig", architecture),
        gone("ClockworkConfig", "unimix", 0.01, "uniform share of a categorical latent"),
        gone("ObjectiveConfig", "dyn", 0.5, "weight of the KL that trains the prior"),
        gone("ObjectiveConfig", "rep", 0.1, "weight of the KL that trains the posterior"),
    )
}
"""By the format that brought them: a run of an older one goes through all later ones."""

LEAVES: dict[int, tuple[tuple[str, str | None], ...]] = {2: ()}
"""Leaves of a checkpoint (parameters, optimiser) that have another path today or none, by the
format that changed them: a regular expression of the whole path, `(params|average)/newest/.*`, and
what it becomes, as of `re.Match.expand`, or None. All others must be there, as they are."""
