"""The learning suite: intervals, equal wall time, what is refused, stopping and resuming."""

import argparse
import json
import re
import shlex
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from benchmarks.learning import report, script_runs
from benchmarks.learning.__main__ import run, settings, without_places
from benchmarks.learning.curves import Curve
from benchmarks.learning.tasks import TASKS
from benchmarks.memory_agents import first_goals, load
from common import UserError
from configs import parse_train


def curve(name: str, seconds: float, last: float) -> Curve:
    return Curve(
        "pure:pendulum",
        name,
        "python train_agent.py",
        "a machine",
        seeds=[0, 1, 2],
        parameters=10,
        steps=[100, 200],
        updates=[10, 20],
        seconds=[seconds, 2 * seconds],
        returns=[[-9.0, -8.0, -7.0], [last - 1, last, last + 1]],
        done=True,
    )


def test_at_equal_wall_time_each_is_where_it_then_was(tmp_path: Path) -> None:
    fast, slow = curve("fast", 1.0, -1.0), curve("slow", 2.0, -2.0)
    assert fast.at(2.0) is not None and fast.at(0.5) is None
    text = report.task_report("pure:pendulum", [fast, slow], np.array([-10.0]))
    equal = text[text.index("At equal wall time, 2 s") :]
    assert "| fast | 20 | -1 ± 2 |" in equal and "| slow | 10 | -8 ± 2 |" in equal
    assert report.worst(fast) == "-2 at 200" and report.worst(slow) == "-3 at 200"
    random = {"pure:pendulum": np.zeros(1)}
    report.write({"pure:pendulum": [fast, slow]}, random, tmp_path / "a.md", "python")
    assert (tmp_path / "a.png").stat().st_size > 1000
    fast.save(tmp_path / "c.json")
    assert Curve.load(tmp_path / "c.json") == fast


def test_what_the_critic_foresaw_stands_beside_what_came(tmp_path: Path) -> None:
    """Means over three seeds; an older curve holds neither."""
    found, older = curve("found", 1.0, -1.0), curve("older", 1.0, -1.0)
    found.foreseen, found.came = [-10.0, -20.0, -60.0], [-40.0, -50.0, -60.0]
    text = report.task_report("pure:pendulum", [found, older], np.array([-10.0]))
    (tmp_path / "older.json").write_text(json.dumps({**asdict(older), "metrics": []}))
    assert Curve.load(tmp_path / "older.json") == older
    assert "| -30.0, -50.0 | 0.100 |" in text and "| – | 0.100 |" in text


def test_means_over_the_run_are_paired_by_seed() -> None:
    """First: -9.5, -8.5 and -7.5 over two evaluations; second: 1, 2 and 3 above it."""
    first, second, other = curve("first", 1.0, -9.0), curve("second", 1.0, 0.0), curve("x", 1.0, 0)
    np.testing.assert_allclose(first.over_run(), [-9.5, -8.5, -7.5])
    second.returns[1] = [-8.0, -5.0, -2.0]
    assert report.beside(second, first) == f"2 ± {4.30 / 3**0.5:.0f}"
    other.seeds = [3, 4, 5]
    assert report.beside(other, first) == report.beside(first, first) == "–"


def test_a_run_that_fails_is_named(tmp_path: Path) -> None:
    flags = ["--env", "gym:NoSuchTask-v0"]
    new = Curve("gym:NoSuchTask-v0", "(1)", "python train_agent.py", "a machine", [0])
    with pytest.raises(SystemExit, match="seed 0 failed.*NoSuchTask.*seed0.log"):
        script_runs.run_seeds(flags, new, tmp_path / "curve.json", 1)
    assert not (tmp_path / "curve.json").exists()


def asked(tmp_path: Path, flags: str = "") -> argparse.Namespace:
    return argparse.Namespace(
        tasks=["pure:pendulum"],
        strides=["1", "1,4"],
        seeds=[0, 1, 2],
        variant=[["default", ""], ["short", "--agent.behaviour.discount 0.8"]],
        flags=flags,
        output=tmp_path,
        jobs=1,
    )


def test_first_goals_by_hand() -> None:
    """A step towards the goals (0.02 at most) is none; the first one entered counts."""
    reward = [[0.0, 0.02, 0.02], [0.02, 1.0, -0.25], [-0.02, -0.23, 1.0], [1.0, 1.0, 1.0]]
    assert first_goals(np.array(reward)).tolist() == [0, 1, -1, 1]


def test_agents_of_memory_are_looked_into_at_their_end(tmp_path: Path) -> None:
    path = tmp_path / "curve.json"
    other = curve("(1, 4)", 1.0, -1.0)
    other.save(path)
    with pytest.raises(ValueError, match="expected a curve of pure:two_rooms or"):
        load(path)
    other.task, other.done = "pure:two_rooms", False
    other.save(path)
    with pytest.raises(ValueError, match="expected a finished run"):
        load(path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "expected a JSON file that the suite has left, received none; check the path"),
        ("# a page", "expected a curve that the suite has left, received: Expecting value"),
        ("[]", "expected a curve that the suite has left, received: "),
        ('"x"', "expected a curve that the suite has left, received: "),
        ('{"seeds": [0]}', "expected a curve that the suite has left, received: .*missing"),
    ],
)
def test_what_is_no_curve_of_agents_of_memory_is_refused(text, told, tmp_path: Path) -> None:
    path = tmp_path / "curve.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=f"curve.json: {told}"):
        load(path)


def test_what_the_pages_of_memory_advise_today_parses() -> None:
    results = Path(__file__).parents[2] / "benchmarks" / "results"
    text = "".join(path.read_text() for path in sorted(results.glob("memory*.md")))
    advised = re.findall(r'today `--flags "([^"]+)"`', text)
    assert len(advised) == 2
    for flags in advised:
        config = parse_train(
            [*TASKS["pure:two_rooms"].flags, *shlex.split(flags)], False, "float32"
        )
        assert config.agent.recent_decoder == 0  # without the decoder


def test_settings_are_strides_times_variants(tmp_path: Path) -> None:
    found = settings(asked(tmp_path))
    names = ["(1) default", "(1) short", "(1, 4) default", "(1, 4) short"]
    assert [name for _, name, _ in found] == names
    config = parse_train(found[3][2], False, "float32")
    assert config.agent.model.strides == (1, 4) and config.agent.behaviour.discount == 0.8


def test_the_command_of_a_report_leaves_places_out() -> None:
    argv = ["--tasks", "x", "--output", "here", "--results=there", "--flags", "--output y"]
    assert without_places(argv) == ["--tasks", "x", "--flags", "--output y"]


def test_results_of_other_flags_are_not_taken_for_these(tmp_path: Path) -> None:
    args = asked(tmp_path)
    task, name, flags = settings(args)[0]
    path = tmp_path / "pure-pendulum" / "1-default-seeds-0-1-2.json"
    curve(name, 1.0, 0.0).save(path)
    with pytest.raises(SystemExit, match="holds other flags"):
        run(task, name, flags, args)


@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_flags_that_parse(task: str) -> None:
    config = parse_train(list(TASKS[task].flags), False, "float32")
    whole = config.updates_per_step * config.env.num_envs
    assert not TASKS[task].pure or whole == pytest.approx(round(whole))
    given = [flag for flag in TASKS[task].flags if flag.startswith("--")]
    assert len(given) == len({*given})  # as a command requires
    assert ":sparse" not in task or config.env.options["dense"] == "False"
