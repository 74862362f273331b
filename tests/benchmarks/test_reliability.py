"""`python -m benchmarks.reliability` in short: what is damaged or goes wrong holds, and a loss is
found. Kills of the real commands are in the long form, and in tests of their own."""

import sys
from types import SimpleNamespace

import jax
import pytest
from processes import ROOT

from benchmarks.reliability import faults, kills, mutations
from benchmarks.reliability.__main__ import CASES, chosen, main, run, table
from benchmarks.reliability.trial import Case, Checks, Lost, Tally, attempt
from common import UserError
from configs import TrainConfig
from configs.video import PretrainConfig


def test_damage_and_faults_hold(tmp_path):
    """One round; every kind of fault comes at least once in the seeds of two."""
    cases = [*mutations.CASES, *faults.CASES]
    tallies = run(cases, 0.0, 0, tmp_path)
    assert [line for tally in tallies.values() for line in tally.lost] == []
    assert all(tallies[case.name].tried == case.times for case in cases)


def case(run, *must):
    return Case("one", "it", frozenset(must), run)


def tried(one, tmp_path):
    tally = Tally()
    attempt(one, "0", tmp_path / "trial", tally)
    return tally


def test_what_was_not_checked_is_not_held(tmp_path):
    tally = tried(case(lambda rng, place, checks: checks("a", True, 0), "a", "b"), tmp_path)
    assert tally.held == 0 and tally.lost == ["one 0: not checked: b"]


def test_what_does_not_hold_or_raises_is_lost(tmp_path):
    def wrong(rng, place, checks):
        checks.tell("a bit flipped")
        checks("a", False, "other weights")

    assert tried(case(wrong, "a"), tmp_path / "1").lost == [
        "one 0: a bit flipped; a: other weights"
    ]
    [line] = tried(case(lambda *_: [][0], "a"), tmp_path / "2").lost
    assert line.startswith("one 0: IndexError: list index out of range (test_reliability.py:")


def test_other_weights_are_lost(tmp_path, monkeypatch):
    def silently(run, template):
        state = jax.tree.map(lambda x: x, mutations.state(200))
        state["params"]["w"] = state["params"]["w"].at[3, 4].add(1e-6)
        return kills.restore_newest.__globals__["Restored"](
            200, state, {"counters": {"steps": 200}}
        )

    monkeypatch.setattr(mutations, "restore_newest", silently)
    [line] = tried(mutations.CASES[0], tmp_path).lost
    assert "is not as it was saved" in line


def test_the_table_counts_and_lists(tmp_path):
    one = case(lambda *_: None, "a")
    rows = table([one], {"one": tried(one, tmp_path)}).splitlines()
    assert "| one | it | 1 | 0 | 1 |" in rows and rows[-1] == "- one 0: not checked: a"
    assert len({case.name for case in CASES}) == len(CASES)


class First:
    """Chooses the first of everything."""

    choice = staticmethod(lambda options: options[0])
    uniform = staticmethod(lambda low, high: low)
    random = staticmethod(lambda: 1.0)


@pytest.mark.parametrize(
    ("ends", "lost"),
    [
        ("time.sleep(60)", None),  # killed
        ("sys.exit(3)", "exit: code 3"),
        ("1 / 0", "exit: code 1"),
        ("print('Traceback', file=sys.stderr)", "words: .*Traceback"),
    ],
)
def test_how_a_command_ends_is_looked_at(ends, lost, tmp_path):
    program = f"import numpy, sys, time\nprint('up', flush=True)\n{ends}"
    process = kills.Process(tmp_path, "-c", program)
    process.wait(lambda: "up" in process.out.read_text())
    if lost is not None:
        process.end(60)
    seen = set()

    def checks(name, holds, found):
        seen.add(name)
        if not holds:
            raise Lost(f"{name}: {found}")

    checks.tell = lambda what: None
    if lost is None:
        kills.hit(process, First(), checks, {}, lambda: False)
        assert seen == {"exit", "words"} and process.process.returncode == -9
    else:
        with pytest.raises(Lost, match=lost):
            kills.hit(process, First(), checks, {}, lambda: False)
    assert sys.executable and kills.ROOT == ROOT


STARTED = """
import pathlib, sys, time
run = pathlib.Path(sys.argv[sys.argv.index("--logdir") + 1])
again = run.exists()
run.mkdir(parents=True, exist_ok=True)
import numpy
if again:
    print({line!r}, flush=True)
    (run / "metrics.jsonl").write_text("{{}}\\n")
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("line", "newest", "lost"),
    [
        ("resuming RUN at step 1,020", 1020, None),
        ("writing RUN at update 0", 0, None),
        ("resuming RUN at step 1,000", 1020, "goes on: at 1000, the newest checkpoint 1020"),
        ("going on with RUN at 20", 20, "goes on: no line says from where"),
    ],
)
def test_a_run_killed_before_it_says_where_it_goes_on_is_started_again(
    line, newest, lost, tmp_path, monkeypatch
):
    """A stand-in, killed during its imports, when it has said nothing yet."""
    script = tmp_path / "stand_in.py"
    script.write_text(STARTED.format(line=line))
    stand_in = kills.Run(str(script), "", PretrainConfig, None)
    monkeypatch.setattr(stand_in, "_look", lambda checks, stopped: None)
    stand_in.over, stand_in.newest, stand_in.folder = False, newest, tmp_path / "folder"
    checks = Checks()
    if lost is None:
        stand_in.trial(First(), tmp_path, checks)
        assert "goes on" in checks.made and not stand_in.over
    else:
        with pytest.raises(Lost, match=lost):
            stand_in.trial(First(), tmp_path, checks)
        assert stand_in.over


@pytest.mark.parametrize(("step", "held"), [(0, True), (20, False)])
def test_a_checkpoint_without_its_replay_is_lost(step, held, tmp_path, monkeypatch):
    stand_in = kills.Run("train_agent.py", "", TrainConfig, None)
    stand_in.newest, stand_in.folder, stand_in.template = 0, tmp_path, None
    (tmp_path / "run" / kills.CHECKPOINTS / str(step)).mkdir(parents=True)
    (tmp_path / "run" / "config.json").write_text("{}")
    monkeypatch.setattr(kills, "restore_newest", lambda run, template: SimpleNamespace(step=step))
    checks = Checks()
    if held:
        stand_in._look(checks, None)
        assert checks.made == {"checkpoint", "replay", "metrics"}
    else:
        with pytest.raises(Lost, match="replay: none beside the checkpoint of 20"):
            stand_in._look(checks, None)


def test_what_a_row_promises_is_required():
    promised = {case.name: case.must for case in CASES}
    assert {"goes on", "replay"} <= promised["agent's run killed"]
    assert "goes on" in promised["video model's run killed"]


@pytest.mark.parametrize("again", ["nope 0", "nope", ""])
def test_a_case_that_does_not_exist_is_refused(again):
    with pytest.raises(UserError, match=f"again: .* a case of checkpoint .* received '{again}'"):
        chosen(again)


def test_what_is_made_again_is_told(tmp_path, monkeypatch, capsys):
    name = "agent's run killed"
    case, seed = chosen(f"{name} 0.3.0")
    assert (case.name, seed, case.chained) == (name, "0.3.0", True)
    assert not chosen("import killed 0.3.0")[0].chained
    monkeypatch.setattr("benchmarks.reliability.__main__.try_one", lambda *_: None)
    monkeypatch.setattr("benchmarks.reliability.__main__.enable_compilation_cache", lambda _: None)
    monkeypatch.setattr(sys, "argv", ["reliability", "--again", f"{name} 0.3.0"])
    main()
    told = capsys.readouterr().out
    assert told.startswith(f"{name}: in a new directory, not in that of the trials before 0.3.0")
