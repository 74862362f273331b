"""Runs beside each other: which are one arm, what they came to by hand, and the page of it."""

import json
import re
import shutil

import numpy as np
import pytest
from processes import run_here
from scipy import stats

from analysis.arms import Arm, at_end, curve, difference, gather
from analysis.comparison import CompareConfig, compare, results, verdict
from common import UserError
from configs import parse_train
from training.config_io import write_run_files


def make_run(folder, seed, returns, *flags):
    """A run as it lies on disk after evaluations at steps 100, 200, …"""
    args = ["--env", "gym:Pendulum-v1", "--size", "debug", "--seed", str(seed), *flags]
    run = folder / f"seed_{seed}"
    write_run_files(run, parse_train([*args, "--logdir", str(run)], False, "float32"))
    rows = [
        {"step": 100 * n, "time": 0.0, "eval/return": score, "kl/level1": 2.0 + n}
        for n, score in enumerate(returns, 1)
    ]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return run


@pytest.fixture
def folder(tmp_path):
    """Three seeds with strides 1, one with 1 4."""
    for seed, returns in enumerate([(-9, -5), (-7, -4), (-8, -3)]):
        make_run(tmp_path / "flat", seed, returns, "--strides", "1")
    make_run(tmp_path / "clock", 0, (-6, -2), "--strides", "1", "4")
    return tmp_path


def test_runs_that_differ_in_their_seed_alone_are_one_arm(folder):
    flat, clock = gather([folder / "flat", folder / "clock" / "seed_0"])
    assert [len(flat.runs), len(clock.runs)] == [3, 1]
    assert [flat.name, clock.name] == ["strides 1", "strides 1 4"]
    (again,) = gather([folder / "clock"])
    assert again.name == "clock" and again.runs == clock.runs


def test_a_curve_is_the_mean_over_seeds_with_students_interval(folder):
    (flat,) = gather([folder / "flat"])
    found = curve(flat, "eval/return")
    assert found.time.tolist() == [100, 200] and found.mean.tolist() == [-8, -4]
    half = stats.t.ppf(0.975, 2) * np.std([-5, -4, -3], ddof=1) / np.sqrt(3)
    np.testing.assert_allclose(found.half[1], half)
    step, [ends] = at_end([flat], "eval/return")
    assert step == 200 and ends.tolist() == [-5, -4, -3]


def test_seeds_at_other_steps_are_read_between_their_rows():
    rows = (
        [{"step": s, "x": float(s)} for s in (0, 10, 20)],
        [{"step": s, "x": 1.0} for s in (5, 15)],
    )
    found = curve(Arm("a", (), {}, rows), "x")
    assert found.time.tolist() == [5, 10, 15] and found.mean.tolist() == [3, 5.5, 8]
    assert curve(Arm("a", (), {}, rows), "y") is None


def learns(name, last, seeds=3):
    """An arm whose return is its step / 1000, and more in later seeds, evaluated every 50 000."""
    steps = range(last % 50_000, last + 1, 50_000)
    rows = ([{"step": s, "eval/return": s / 1000 + seed} for s in steps] for seed in range(seeds))
    return Arm(name, (), {}, tuple(rows))


def test_arms_are_compared_at_the_last_step_that_all_have_reached():
    """The one that was trained for longer is not better, nor is it when its steps lie between."""
    short, long, between = learns("short", 100_000), learns("long", 300_000), learns("b", 260_000)
    for other in (long, between):
        step, ends = at_end([short, other], "eval/return")
        assert step == 100_000 and [end.tolist() for end in ends] == [[100, 101, 102]] * 2
        text = verdict([short, other])
        assert "at step 100,000, the last that all have reached" in text
        assert "by 0 ± " in text and "no more than seeds may explain" in text
    late = long._replace(rows=tuple(rows[3:] for rows in long.rows))  # from 150 000 on
    assert [len(end) for end in at_end([short, late], "eval/return")[1]] == [3, 0]
    assert np.isnan(at_end([short], "eval/loss/model")[0])


def test_a_difference_is_welchs():
    one, other = np.array([3.0, 5.0, 4.0]), np.array([1.0, 2.0, 0.5, 2.5])
    gap, half = difference(one, other)
    low, high = stats.ttest_ind(one, other, equal_var=False).confidence_interval(0.95)
    np.testing.assert_allclose([gap - half, gap + half], [low, high])
    assert np.isnan(difference(one, other[:1])[1])


def test_the_verdict_says_whether_seeds_explain_it(folder):
    arms = gather([folder / "flat", folder / "clock"])
    assert "strides 1 4: -2.000 (1 seed); strides 1: -4.000 ± 2.484" in verdict(arms)
    assert "<td>return of the greedy agent</td><td>200</td>" in results(arms)
    assert verdict(arms).endswith("cannot be told what seeds explain.")
    for seed, returns in ((1, (-5, -2.1)), (2, (-5, -1.9))):
        make_run(folder / "clock", seed, returns, "--strides", "1", "4")
    arms = gather([folder / "flat", folder / "clock"])
    assert "by 2 ± 2.5 (95%): no more than seeds may explain" in verdict(arms)


def test_the_command_writes_one_page(folder, capsys):
    output = folder / "page.html"
    run_here("compare_runs.py", folder / "flat", folder / "clock", "--output", output)
    page = output.read_text()
    assert f"report: {output}" in capsys.readouterr().out
    assert "<td>agent.model.strides</td><td>1</td><td>1 4</td>" in page
    assert page.count("<td>200</td>") == 4 + 2 and "compare_runs.py" in page
    sources = re.findall(r'(?:src|href)="([^"]{0,30})', page)
    assert len(sources) == 1 and sources[0].startswith("data:image/png;base64,")


def test_real_runs_of_both_kinds(agent_run, video_run, tmp_path):
    for run, words in ((agent_run, "return of the greedy agent"), (video_run, "held-out video")):
        page = compare(CompareConfig((run.path,), tmp_path / "one.html"), "").read_text()
        assert words in page and "differ in their seeds alone" in page and "KL of level 1" in page


def test_what_cannot_be_compared_is_told(agent_run, video_run, tmp_path):
    with pytest.raises(UserError, match="received both"):
        gather([agent_run.path, video_run.path])
    with pytest.raises(UserError, match="expected the directory of a run, received"):
        gather([tmp_path])
    with pytest.raises(UserError, match="received none; name one or more"):
        gather([])
    with pytest.raises(UserError, match="ending in .html"):
        compare(CompareConfig((tmp_path,), tmp_path / "x.png"), "")


def test_runs_of_one_name_are_told_apart(folder):
    shutil.copytree(folder / "flat" / "seed_0", folder / "other" / "flat" / "seed_0")
    run = make_run(
        folder / "other" / "flat", 0, (-1, -1), "--batch", "3", "--horizon", "3", "--prefill", "9"
    )  # fmt: skip
    assert [arm.name for arm in gather([folder / "flat", run])] == ["flat (1)", "flat (2)"]
