"""`analyse_agent.py` as a user runs it: images beside vectors, vectors alone, and its mistakes."""

import base64
import contextlib
import io
import json
import re
from dataclasses import replace

import jax
import numpy as np
import pytest
from PIL import Image
from processes import run_here
from video_runs import first_state

from analysis.agent.analyse import write_report
from analysis.agent.overview import overview
from configs.cli import parse_train
from envs import EnvConfig
from replay.atomic import write_text
from training.build import Built, load_run
from training.checkpoint import CheckpointStore
from training.config_io import write_run_files

pytestmark = pytest.mark.usefixtures("unchecked")

SMALL = ["--size", "debug", "--eval-episodes", "2", "--horizon", "3"]
METRICS = [
    {"step": 100, "episode/return": -900.0, "kl/level1": 3.0, "kl/level2": 2.0},
    {"step": 200, "eval/return": -123.456, "eval/return_95": 7.5, "eval/success": 0.25},
]


def make_run(logdir, *flags):
    """A run of train_agent.py that has not learned anything yet."""
    config = replace(parse_train([*SMALL, *flags], False, "float32"), logdir=logdir)
    saves = CheckpointStore(logdir / "checkpoints", 1)
    saves.save(200, first_state(Built(config)), {})
    saves.close()
    write_run_files(logdir, config)
    write_text(logdir / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in METRICS))
    return logdir


def command(*args):
    """Runs the command in this process; returns what it printed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        run_here("analyse_agent.py", *args)
    return printed.getvalue()


def figures(page):
    """The page's pictures by their captions."""
    found = re.findall(r'<img alt="([^"]*)" src="data:image/png;base64,([^"]+)"', page)
    return {
        alt: np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))
        for alt, data in found
    }


@pytest.fixture
def pendulum(agent_run):
    """What the command printed of a trained run, its report and numbers."""
    page = (agent_run.path / "report.html").read_text()
    return agent_run, page, json.loads((agent_run.path / "report.json").read_text())


def test_the_report_needs_nothing_beside_it(pendulum):
    run, page, _ = pendulum
    assert page.startswith("<!doctype html>") and page.rstrip().endswith("</html>")
    sources = re.findall(r'(?:src|href)="([^"]{0,40})', page)
    assert sum(x.startswith("data:image/png;base64,") for x in sources) == 4
    assert sum(x.startswith("data:video/mp4;base64,") for x in sources) == 1 == len(sources) - 4
    for alt, image in figures(page).items():
        assert image.shape[1] > 800 and image.std() > 10, alt
    assert f"report:   {run.path / 'report.html'}" in run.printed
    assert "nats per tick" in run.printed


def test_it_says_what_ran(pendulum):
    run, page, numbers = pendulum
    start, ticks = numbers["episodes"][0]["what_if"]["start"], 8
    for words in (
        "analyse_agent.py --run",
        "<td>gym:Pendulum-v1</td>",
        "<td>1 2 environment steps per tick</td>",
        f"{run.steps} environment steps, seed 0",
        "<td>commit</td>",
        "How it learned",
        "200 environment steps",
        "ended by a time limit",
        "filtered again as a whole",
        f"From step {start} of this episode the top level alone imagines {ticks} ticks of 2",
        "agent.behaviour.horizon",
    ):
        assert words in page, words


def test_it_says_what_it_ran_with(tmp_path):
    run = make_run(tmp_path / "swing", "--env", "gym:Pendulum-v1")
    built, _, step = load_run(run)
    page = overview(run, built, step)
    assert "200 environment steps, seed 0" in page


def test_its_numbers_are_beside_it(pendulum):
    _, _, numbers = pendulum
    assert "analyse_agent.py --run" in numbers["command"]
    assert len(numbers["random_returns"]) == 2  # as many as its evaluations have
    (one,) = numbers["episodes"]
    assert one["steps"] == 200 and one["terminal"] is False and one["return"] < 0
    assert len(one["kl"]) == 2 and all(x > 0 for x in one["kl"])
    assert len(one["prior_entropy"]) == 2 and one["window_reward_foreseen_error"] > 0
    found = one["what_if"]
    assert found["start"] % 4 == 0
    assert list(found["imagined_return"]) == [
        "the actor's choice", "action = 0", "action = 2", "action = -2",
    ]  # fmt: skip
    assert found["observed_return"] < 0


@pytest.mark.slow
def test_images_three_levels_and_an_episode_that_ends_early(tmp_path):
    """Navigate's spaces, more than one episode, no metrics and no evaluation; by JAX_DEBUG_NANS."""
    run = make_run(
        tmp_path / "walk", "--env.backend", "builtin", "--env.time-limit", "40",
        "--strides", "1", "2", "4",
    )  # fmt: skip
    (run / "metrics.jsonl").unlink()
    output = tmp_path / "sub.html"
    with jax.debug_nans(True):
        printed = command(
            "--run", run, "--output", output, "--episodes", 2, "--ticks", 1, "--rows", 3,
            "--samples", 1, "--columns", 3, "--start", 1000, "--random", 1,
        )  # fmt: skip
    page = output.read_text()
    assert "has not been evaluated" in page and "How it learned" not in page
    assert "random actions, the same seeds" in page
    assert "Episode 1" in page and "Episode 2" in page and "builtin" in page
    numbers = json.loads(output.with_suffix(".json").read_text())
    assert len(numbers["episodes"]) == 2 and printed.count("KL per level") == 2
    for one in numbers["episodes"]:
        assert len(one["kl"]) == 3 and len(one["what_if"]["imagined_return"]) == 3
        assert one["steps"] == 10 and one["what_if"]["start"] == 4  # room for a tick of 4 steps
    assert len(figures(page)) >= 3  # captions repeat between episodes


def test_a_failed_report_is_one_line_and_no_more(tmp_path, capsys):
    write_report(tmp_path / "nowhere", EnvConfig("pure:pendulum"))
    out = capsys.readouterr().out
    assert out.startswith("no report: ") and "nowhere" in out and out.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ((), "--run"),
        (("--run", "nowhere"), "nowhere"),
        (("--run", "nowhere", "--episodes", 0), "episodes: expected 1 or more"),
        (("--run", "nowhere", "--ticks", 0), "ticks: expected 1 or more"),
        (("--run", "nowhere", "--start", -1), "start: expected 0 or more"),
        (("--run", "nowhere", "--random", -1), "random: expected 0 or more"),
        (("--run", "nowhere", "--output", "x.png"), "ending in .html"),
    ],
)
def test_a_mistake_is_one_line(capsys, flags, words):
    with pytest.raises(SystemExit) as stopped:
        command(*flags)
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and words in error and error.count("\n") == 1
