"""The comparison of defaults with a flat agent and with PPO: its commands, and its table."""

import gymnasium
import numpy as np
import pytest

from benchmarks.environments import report
from benchmarks.environments.ppo import play
from benchmarks.environments.tasks import ARMS, TASKS, flags, settings
from common import UserError, dump_json
from configs import parse_train


@pytest.mark.parametrize("task", TASKS)
def test_ours_is_the_environment_alone(task):
    """Besides DeepMind Control's 100 000 frames, and the back end that needs no game."""
    named = {word for word in flags(task, "ours") if word.startswith("--")}
    assert named <= {"--env", "--env.options", "--env.backend", "--steps"}
    ours, flat = (parse_train(flags(task, arm), False, "float32") for arm in ("ours", "flat"))
    assert ours.agent.model.strides[-1] > 1 and flat.agent.model.strides == (1,)
    assert ours.steps == flat.steps and ours.preset == flat.preset


def test_the_table_counts_seeds_at_the_bar_by_kind(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "RESULTS", tmp_path / "environments")

    def keep(task, arm, seed, **kinds):
        path = report.result_of(task, arm, seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dump_json({"seed": seed, "settings": settings(task, arm), **kinds}))

    task = "gym:CartPole-v1"
    for seed, sampled, greedy in ((10, [474, 476], [500, 500]), (2, [400, 500], [500, 448])):
        keep(task, "ours", seed, sampled=sampled, greedy=greedy)
    keep(task, "ppo", 0, sampled=[100, 200], greedy=[300, 300])
    walked = {"sampled": [160, 60], "greedy": [60, 60]}
    found = {"sampled_success": [1, 0], "greedy_success": [0, 0]}
    keep("minerl_navigate", "ours", 0, **walked, **found)
    report.write_report(tmp_path / "environments.md")
    rows = (tmp_path / "environments.md").read_text().splitlines()
    assert rows[-2:] == [
        "| `gym:CartPole-v1` | return ≥ 475 | 450 (474); 475 (500): 1 (1) of 2 | – "
        "| 150 (300): 0 (0) of 1 |",
        "| `minerl_navigate` | success ≥ 0.5 | 0.50 (0.00): 1 (0) of 1 | – | – |",
    ]
    assert rows[-4].count("|") == rows[-1].count("|") == 3 + len(ARMS)


def test_results_of_other_settings_are_refused(tmp_path, monkeypatch):
    """Of one arm, and of the command that would take a stored result for today's."""
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    task = "gym:CartPole-v1"
    today = settings(task, "ours")
    for seed, kept in ((3, today), (4, today | {"batch": 99})):
        path = report.result_of(task, "ours", seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dump_json({"seed": seed, "settings": kept}))
    with pytest.raises(UserError, match=rf"ours-4.*expected batch {today['batch']}, received 99"):
        report.read_results(task, "ours")
    report.check_settings(tmp_path, dict(today), today)
    lacking = {name: value for name, value in today.items() if name != "batch"}
    with pytest.raises(UserError, match="received None; its settings"):
        report.check_settings(tmp_path, lacking, today)
    ppo = settings(task, "ppo")
    assert ppo["steps"] == today["steps"] and ppo["env.name"] == task
    assert not any(name.startswith("agent.") for name in ppo)


def test_an_action_without_dimensions_is_a_number():
    """stable-baselines3 answers one choice with an array that FrozenLake cannot look up."""

    class Down:
        def predict(self, obs, deterministic):
            return np.array(1), None

    assert play(gymnasium.make("FrozenLake-v1", is_slippery=False), Down(), 0, True) == 0.0
