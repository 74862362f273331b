"""Settings of older runs become today's, by the changes that came since; the rest is named."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import pytest

from common import Before, UserError
from configs.before import FORMAT, Change, Converted, Gone, Renamed
from training.config_io import load_config, write_run_files
from training.older import leaf_today, to_today


@dataclass(frozen=True)
class Inner:
    keep: float = 0.7
    added: Annotated[tuple[int, ...], Before((1,))] = (1, 4)


@dataclass(frozen=True)
class Outer:
    recordings: float = 0.0
    inner: Inner = field(default_factory=Inner)


def marked_are_kept(tree: dict[str, Any]) -> dict[str, Any]:
    if not tree.pop("marks"):
        tree["keep"] = 0.0
    return tree


CHANGES: dict[int, tuple[Change, ...]] = {
    2: (
        Renamed("Outer", "video", "recordings"),
        Gone("Inner", "lam", (0.95,), "λ of the returns", "use the version of versions.json"),
    ),
    3: (Converted("Inner", marked_are_kept),),
}
OLD = {"video": 0.5, "inner": {"keep": 0.7, "lam": 0.95, "marks": False}}


def test_an_old_run_goes_through_all_changes():
    assert to_today(Outer, OLD, CHANGES) == {
        "recordings": 0.5,
        "inner": {"keep": 0.0, "added": [1]},
    }
    assert OLD == {"video": 0.5, "inner": {"keep": 0.7, "lam": 0.95, "marks": False}}


def test_changes_that_a_run_has_seen_are_not_applied_again():
    later = {"recordings": 0.5, "inner": {"keep": 0.7, "added": [2]}, "format": FORMAT}
    assert to_today(Outer, later, {FORMAT: CHANGES[3]}) == {
        "recordings": 0.5,
        "inner": {"keep": 0.7, "added": [2]},
    }


def test_what_is_gone_and_held_something_else_is_named():
    old = {"inner": {**OLD["inner"], "lam": 0.5}}
    with pytest.raises(ValueError, match=r"inner\.lam: expected 0\.95, received 0\.5: λ of the .*"):
        to_today(Outer, old, CHANGES)


@pytest.mark.parametrize("inner", [{"keep": 0.7}, {"keep": 0.7, "marks": False, "lam": 0.5}, 3])
def test_a_run_that_lacks_what_a_change_reads_is_refused_in_one_line(inner: Any):
    """Older than numbers, or written by a stranger; what is no object is left to the decoder."""
    if inner == 3:
        assert to_today(Outer, {"inner": 3}, CHANGES) == {"inner": 3}
        return
    with pytest.raises(UserError, match="^inner\\.") as error:
        to_today(Outer, {"inner": inner}, CHANGES)
    assert "\n" not in str(error.value) and "versions.json" in str(error.value)


def test_a_run_of_a_newer_version_is_refused(tmp_path: Path):
    write_run_files(tmp_path, Outer())
    path = tmp_path / "config.json"
    tree = json.loads(path.read_text())
    assert tree["format"] == FORMAT and load_config(Outer, tmp_path) == Outer()
    path.write_text(json.dumps(tree | {"format": FORMAT + 1}))
    with pytest.raises(ValueError, match=r"format: expected 1 to \d+, received \d+: .*newer"):
        load_config(Outer, tmp_path)


def test_leaves_move_and_go_only_where_declared():
    leaves = {
        2: (("(params|average)/newest/.*", None),),
        3: ((r"opt/1/(.*)", r"opt/\1"), ("params/old/(.*)", r"params/new/\1")),
    }
    assert leaf_today("params/newest/kernel", 1, leaves) is None
    assert leaf_today("params/newest/kernel", 2, leaves) == "params/newest/kernel"
    assert leaf_today("opt/1/mu", 1, leaves) == leaf_today("opt/1/mu", 2, leaves) == "opt/mu"
    assert leaf_today("params/old/a/b", 2, leaves) == "params/new/a/b"
    assert leaf_today("params/old/a/b", 3, leaves) == "params/old/a/b"
