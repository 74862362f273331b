"""The trial of clocks: statistics by hand, the settings of its arms, a report of written runs."""

import re
import shlex
import shutil
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from benchmarks.trial import __main__ as trial
from benchmarks.trial import report
from benchmarks.trial.__main__ import TEST_SEEDS, first_best, trial_cells, tune_cells
from benchmarks.trial.arms import ARMS, GRID, TUNED, Arm, Setting, flags, tuned_as
from benchmarks.trial.chance import Chance, chance
from benchmarks.trial.cost import Cost, cost
from benchmarks.trial.scores import holm, interval, iqm, order, permutation, spearman
from benchmarks.trial.tasks import EVALUATIONS, STARTS, TEST, TUNING
from common import UserError, dump_json, read_json
from configs import parse_train
from envs.pure import PureEnv, Transition
from training.curves import LAST
from training.due import crossed


def test_interquartile_mean_is_of_the_middle_half_of_all_runs():
    assert iqm([np.array([0.0, 1, 2, 3]), np.array([4.0, 5, 6, 100])]) == np.mean([2, 3, 4, 5])
    low, high = interval([np.full(4, 0.5), np.full(4, 0.5)])
    assert (low, high) == (0.5, 0.5)
    rng = np.random.default_rng(0)
    low, high = interval([rng.normal(size=10), rng.normal(size=10)])
    assert low < 0.3 and high > -0.3 and 0.4 < high - low < 2


def test_permutations_see_a_difference_and_none():
    rng = np.random.default_rng(0)
    one, other = ([rng.normal(shift, 1, 10) for _ in range(3)] for shift in (2, 0))
    assert permutation(one, other) < 0.001
    assert permutation(one, one) == 1.0
    noise = [rng.normal(size=10) for _ in range(3)]
    assert permutation(noise, other) > 0.05


def test_order_is_spearmans_within_tasks():
    assert spearman(np.array([1, 2, 3, 4]), np.array([[1, 3, 2, 4]]))[0] == pytest.approx(0.8)
    rising = [[np.array([k, k + 0.1]), np.array([10.0 * k])] for k in (1.0, 2.0, 3.0, 4.0)]
    rho, p = order((1, 2, 4, 8), rising)
    first = spearman(np.repeat([1, 2, 4, 8], 2), np.concatenate([x[0] for x in rising])[None])[0]
    assert rho == pytest.approx((first + 1.0) / 2)
    assert p < 0.01


def test_holm_by_hand():
    """Three: 0.01·3, 0.02·2 and 0.04·1, each at least the one before."""
    assert holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.6, 0.9]) == [1.0, 1.0]


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
@pytest.mark.parametrize("task", TEST, ids=lambda task: task.name)
def test_arms_differ_in_the_clock_alone(arm, task):
    """In environment frames: the same horizon, discount, λ, noise, gates, updates and data."""
    held = arm.held
    config = parse_train(
        [*task.command(held, arm.stride), *flags(arm, GRID[0], task)], False, "float32"
    )
    agent, behaviour = config.agent, config.agent.behaviour
    stride = agent.model.strides[-1]
    assert config.env.action_repeat == held
    assert config.steps * held == task.frames
    learned = config.updates_per_step * (config.steps - config.prefill)  # see docs/protocol.md
    expected = task.updates * (1 - task.prefill / task.frames)
    assert learned == pytest.approx(expected, rel=1e-3)
    assert behaviour.horizon * held == 16 and agent.model.half_life * held == task.half_life
    assert behaviour.discount == pytest.approx(0.99**held, rel=1e-6)
    assert behaviour.lam == pytest.approx(0.95**held, rel=1e-6)
    assert config.prefill * held == task.prefill and config.sequence * held >= task.length
    assert config.batch * config.sequence * held == task.batch * task.length  # frames per update
    assert agent.newest == (arm.letter != "F")
    assert (agent.recent_decoder > 0) == (task.memory and arm.letter != "F")
    clocks = {"A": (1, 1), "B": (1, 1), "C": (1, 1), "D": (1, 4)}
    assert (stride, agent.plan_steps) == clocks.get(arm.letter, (arm.steps, arm.steps))
    assert len(agent.model.strides) == (1 if arm.letter in "ACD" else 2)


@pytest.mark.parametrize("arm", [Arm("A", 1), Arm("C", 4)], ids=lambda arm: arm.name)
@pytest.mark.parametrize("task", (*TUNING, *TEST), ids=lambda task: task.name)
def test_there_are_twelve_evaluations_at_most_of_which_three_count(task, arm):
    """At every crossing of a multiple before the last step, and after it (`training/seeds.py`);
    none before the first update."""
    held = arm.held
    config = parse_train(
        [*task.command(held, arm.stride), *flags(arm, GRID[0], task)], False, "float32"
    )
    rounds = range(config.env.num_envs, config.steps, config.env.num_envs)
    at = [s for s in rounds if crossed(s - config.env.num_envs, s, config.eval_every)]
    assert len(at) + 1 == EVALUATIONS
    learned = [s for s in at if (s - config.prefill) * config.updates_per_step >= 1]
    assert len(learned) + 1 == EVALUATIONS - (task.prefill >= task.frames / EVALUATIONS)
    assert sum(s > LAST * config.steps for s in at) + 1 == 3


def test_what_the_protocol_says_is_what_runs():
    assert len(GRID) == 2 and TEST_SEEDS == tuple(range(100, 110))
    assert {task.env for task in TUNING}.isdisjoint(task.env for task in TEST)
    assert len(list(tune_cells())) == 2 * 2 * 6
    chosen = {arm.name: GRID[0] for arm in TUNED}
    assert len({cell.name for cell in trial_cells(chosen)}) == 7 * 8
    assert tuned_as(Arm("E", 8)) == Arm("E", 4)


@pytest.mark.parametrize("strides", ["1", "1 2", "1 4", "1 8", "1 2 4"])
def test_defaults_are_what_tuning_found(strides):
    """In environment steps, for any strides; B alone, of levels that tick every step, took 32."""
    chosen = trial.tuned()
    assert {name for name, setting in chosen.items() if setting != chosen["E4"]} == {"B"}
    config = parse_train(
        ["--env", "gym:CartPole-v1", "--strides", *strides.split()], False, "float32"
    )
    assert config.agent.behaviour.horizon == chosen["E4"].horizon
    assert config.agent.imagined * config.agent.plan_steps == chosen["E4"].horizon


def test_a_run_that_was_stopped_is_no_result(tmp_path, monkeypatch, capsys):
    """It ends with code 0, by a signal, before its end."""
    monkeypatch.setattr(trial, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(sys, "executable", shutil.which("true"))
    cell = next(tune_cells())
    assert not trial.run(cell, tmp_path) and not cell.result.exists()
    assert "stopped with code 0" in capsys.readouterr().out


def test_a_tie_goes_to_the_first():
    grid = [Setting(horizon, 0.3) for horizon in (8, 16, 32, 64)]
    assert first_best(dict(zip(grid, (0.0, 0.9, 0.905, 0.895), strict=True))) == grid[1]


def test_the_report_of_written_runs(tmp_path):
    """Four arms of one task; E4 is better by construction, and costs half."""
    rng, found = np.random.default_rng(0), {}
    costs = {"A": Cost(0.5, 2.0, 0.015), "E2": Cost(0.5, 2.0, 0.016), "E4": Cost(0.0, 1.0, 0.015)}
    for arm, mean in (("A", 100.0), ("E2", 300.0), ("E4", 500.0)):
        late = (mean + 20 * rng.normal(size=(2, 10))).tolist()
        found[arm] = {
            "arm": arm, "seeds": list(TEST_SEEDS), "failed": {}, "versions": {}, "load": 0.5,
            "command": "python train_agent.py …",
            "steps": [20, 40], "updates": [45, 90], "sampled": late, "greedy": late,
            "last_quarter": {"sampled": late[-1], "greedy": late[-1]},
        }  # fmt: skip
    path = report.write_report(tmp_path, {"pure:reacher": found}, {"pure:reacher": costs}, {})
    text = path.read_text()
    assert "| 1. E4 over A | 1 (not all yet) |" in text and "2. E4 over D4" not in text
    assert "`pure:reacher` (90 products a seed)" in text and "Holm" in text
    cheap = {"pure:reacher": found | {"C4": found["E4"] | {"updates": [4, 9]}}}
    own = {"pure:reacher": costs | {"C4": Cost(0.0, 1.0, 0.015)}}
    (tmp_path / "with C").mkdir()
    text = report.write_report(tmp_path / "with C", cheap, own, {}).read_text()
    whole, rest = text.split("## Hypotheses")[0].split("Without arm C")
    assert "(9 products a seed)" in whole and "(90 products a seed)" in rest and "C4 |" not in rest
    text = path.read_text()
    assert costs["A"].at(found["A"]) == [100.0, 200.0]
    assert (tmp_path / "hypothesis_1.png").stat().st_size > 0
    assert " | 0.0004 | – |" in text  # not judged before all tasks have run
    everywhere = {task.env: found for task in TEST}
    chances = {task.env: Chance(task.random, 0.1, 2048) for task in TEST}
    text = report.write_report(tmp_path, everywhere, {}, chances).read_text()
    p, corrected = map(float, re.findall(r"E4 over A \| 7 \| .* \| (.*) \| (.*) \|", text)[0])
    assert 0 < p < 0.001 and corrected == pytest.approx(4 * p)  # of four, though one is judged
    (row,) = re.findall(
        r"\| 1. E4 over A \| .* \| (.*) \| .* \| (.*) \|", text.split("is given")[1]
    )
    assert float(row[0]) == p and 0 < float(row[1]) < 0.01  # at the same returns, and on five tasks
    assert "| `pure:reacher` | 54 | 54 ± 0.1 | 2,048 |" in text
    task = next(task for task in TEST if task.env == "pure:reacher")
    at_budget = report.score(task, found["A"], "sampled", costs["A"], 100.0)
    np.testing.assert_array_equal(at_budget, found["A"]["sampled"][0])  # half of its run
    assert np.isnan(
        report.score(task, found["A"], "sampled", costs["A"], 10.0)
    ).all()  # before its first one


def test_results_of_another_command_are_refused(tmp_path, monkeypatch):
    """A tuning result under the preset's former name is one of the same command."""
    monkeypatch.setattr(trial, "RESULTS", tmp_path)
    cell = next(tune_cells())
    assert cell.read() is None
    given = ["python", "train_agent.py", *cell.command]
    cell.result.parent.mkdir(parents=True)
    before = shlex.join(given).replace(
        "--preset general --size xs --agent.novelty 0", "--preset pure --size xs"
    )
    for command in (shlex.join(given), before):
        cell.result.write_text(dump_json({"command": command}))
        assert cell.read() == {"command": command}
    cell.result.write_text(dump_json({"command": shlex.join([*given, "--batch", "3"])}))
    with pytest.raises(UserError, match="expected a result of python train_agent.py"):
        cell.read()


def test_every_kept_result_is_of_todays_command():
    cells = [*tune_cells(), *trial_cells(trial.tuned())]
    assert sum(cell.read() is not None for cell in cells) > 50


def test_chance_by_hand():
    """Half of the episodes last one step of 1, the others two: 1.5 ± 0.5/√2048."""
    found = chance(Short())
    assert found.episodes == 128 * STARTS and found.mean == pytest.approx(1.5, abs=0.06)
    assert found.error == pytest.approx(0.5 / found.episodes**0.5, rel=0.01)


class Short(PureEnv):
    """Pays 1 a step; action 1 of 0 and 1 ends the episode, which lasts 2 steps at most."""

    length, terminates = 2, True
    observation_space = Box(0, 1, (1,))
    action_space = Discrete(2)

    def reset(self, key):
        return jnp.zeros(1)

    def step(self, state, action, key):
        return Transition(state, jnp.asarray(1.0), action == 1)

    def observe(self, state):
        return state


def test_seeds_that_failed_count_with_the_random_score():
    task = TEST[0]
    result = {
        "seeds": [100, 101], "failed": {"102": 400}, "steps": [5], "updates": [10],
        "greedy": [[5.0, 6.0]], "last_quarter": {"greedy": [7.0, 8.0]},
    }  # fmt: skip
    assert report.score(task, result, "greedy").tolist() == [7, 8, task.random]
    assert report.score(task, result, "greedy", Cost(0.0, 1.0, 0.015), 10.0).tolist() == [
        5,
        6,
        task.random,
    ]
    assert report.score(task, {"seeds": [], "failed": {"1": 2}}, "greedy").tolist() == [task.random]


def test_costs_of_different_processors_or_commits_are_not_mixed(monkeypatch, tmp_path):
    """A cell is measured once; costs of another commit or processor are dropped."""
    measured, path = [], tmp_path / "costs.json"
    monkeypatch.setattr(trial, "cost", lambda *_: measured.append(0) or Cost(0.1, 2.0, 0.015))
    one, other, *_ = tune_cells()

    def known(cell, processor, commit):
        monkeypatch.setattr(trial, "processor", lambda: processor)
        monkeypatch.setattr(trial, "commit", lambda: commit)
        trial.measure_cost(cell, path)
        return read_json(path)[cell.task.env], len(measured)

    assert {*known(one, "fast", "a")[0]} == {one.arm.name}
    assert known(one, "fast", "a+changes")[1] == 1  # the file itself is part of the checkout
    assert {*known(other, "fast", "a")[0]} == {one.arm.name, other.arm.name}
    assert {*known(other, "fast", "b")[0]} == {other.arm.name}
    assert {*known(one, "slow", "b")[0]} == {one.arm.name}


@pytest.mark.slow
def test_cost_is_that_of_the_runs_own_program(tmp_path):
    """Both parts take time, and no files are left but in the directory given."""
    flags = "--env pure:pendulum --size debug --strides 1 --length 8 --batch 2 --env.num-envs 2 "
    flags += "--prefill 80 --log-every 80 --steps 4000 --seeds 0 1 "
    flags += "--agent.model.deter 8 --agent.model.hidden 8"
    with jax.debug_key_reuse(False):  # a seed's key is read by every call of its program
        found = cost(flags.split(), tmp_path / "run", 0.0)
    assert 0 < found.step < found.update and found.product > 0
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
