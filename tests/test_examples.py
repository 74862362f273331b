"""Every example of `examples/` runs as a user starts it, but for fewer updates."""

import re
import runpy
from functools import partial
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from processes import ROOT, run_here

from training.trained import TrainedAgent

EXAMPLES = ROOT / "examples"
pytestmark = pytest.mark.usefixtures("unchecked")  # as users have them


def main(name, function="main"):
    """Its function, for other numbers than it is run with."""
    return runpy.run_path(str(EXAMPLES / name))[function]


def test_an_environment_of_one_s_own(capsys):
    run_here("examples/own_environment.py")
    assert re.fullmatch(
        r"random actions: \d+ steps, reward 0.99, .*True.*\n", capsys.readouterr().out
    )


def test_videos_of_one_s_own(tmp_path, capsys):
    run_here("examples/own_videos.py", tmp_path)
    out = capsys.readouterr().out
    assert "held out ['" in out and "frames to train on, (32, 32, 3) each" in out


def test_an_agent_in_a_loop(agent_run, capsys):
    main("agent_in_a_loop.py")(str(agent_run.path), 12)
    out = capsys.readouterr().out
    for words in ("12 steps", "window rewards (16, 5)", "3 actions for three", "return over 2"):
        assert words in out


def test_a_loop_over_several_environments_tells_the_agent_of_each_reset(agent_run, monkeypatch):
    """Gymnasium resets in the step after an end: episodes of 5 steps begin at 0, 6 and 12."""
    told, make, act = [], gymnasium.make_vec, TrainedAgent.act

    def told_of(agent, obs, first, **options):
        if np.ndim(first):
            told.append(np.asarray(first).tolist())
        return act(agent, obs, first, **options)

    monkeypatch.setattr(gymnasium, "make_vec", partial(make, max_episode_steps=5))
    monkeypatch.setattr(TrainedAgent, "act", told_of)
    main("agent_in_a_loop.py", "act_in_several")(str(agent_run.path), 14)
    assert told == [[step in (0, 6, 12)] * 3 for step in range(14)]


def losses(out):
    return [float(x) for x in re.findall(r"(-?\d+\.\d+)(?= nats|, after)", out)]


@pytest.mark.slow
def test_the_world_model_alone(capsys):
    main("world_model_alone.py")(20)
    out = capsys.readouterr().out
    first, last = losses(out)
    assert last < first / 2 and "imagined from step 8 on, (8, 12, 3)" in out


@pytest.mark.slow
def test_a_cell_of_one_s_own(capsys):
    main("custom_cell.py")(20)
    first, last = losses(capsys.readouterr().out)
    assert last < first


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_is_short_and_says_how_it_is_run(path: Path):
    text = path.read_text()
    assert len(text.splitlines()) < 90 and f"python examples/{path.name}" in text
