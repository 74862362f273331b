"""Runs that older versions wrote evaluate to their numbers, go on, and imagine. See README.md."""

import json
import tarfile
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from analysis.imagine import ImagineConfig, imagine
from configs import parse_train
from configs.before import FORMAT
from configs.schema import TrainConfig
from configs.video import PretrainConfig
from training.agent_source import AgentSource
from training.build import kept_settings, load_run
from training.config_io import load_config, read_config
from training.loop import train
from training.older import format_of
from training.video_source import VideoSource

pytestmark = pytest.mark.usefixtures("unchecked")

RUNS = Path(__file__).parent / "runs"
CAREFUL = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # Python 3.11.4 and later


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Where every stored run has been unpacked."""
    folder = tmp_path_factory.mktemp("golden")
    for path in RUNS.glob("*.tar.xz"):
        with tarfile.open(path) as archive:
            archive.extractall(folder, **CAREFUL)
    return folder


def greedy(run: Path) -> float:
    built, params, _ = load_run(run)
    episodes = built.evaluate(params, 2, greedy=True).episodes
    return sum(episode.score for episode in episodes) / len(episodes)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pendulum_04f8b22", -1265.27),
        ("codes_04f8b22", -1373.29),
        ("marked_28fb7a9", -1372.65),
        ("navigate_7c08377", -2.75),
    ],
)
def test_an_agent_evaluates_as_when_it_was_written(runs, name, expected, capsys):
    assert greedy(runs / name) == pytest.approx(expected, abs=0.5)
    said = "was written without a digest: it is not looked through" in capsys.readouterr().err
    assert said == (format_of(read_config(runs / name)) < 3)


def test_an_agent_imagines(runs, tmp_path):
    output = tmp_path / "out.gif"
    imagine(ImagineConfig(run=runs / "pendulum_04f8b22", output=output, worlds=1, ticks=2))
    assert output.stat().st_size > 0


def test_a_new_run_starts_from_an_agent_and_from_its_replay(runs, tmp_path):
    """Its settings are its own, as long as the shapes fit."""
    donor = runs / "pendulum_04f8b22"
    behaviour = ("--horizon", "3", "--agent.behaviour.discount", "0.9")
    flags = ["--env", "gym:Pendulum-v1", "--size", "debug", "--batch", "4", "--length", "16"]
    flags += ["--strides", "1,4"]
    flags += [*behaviour, "--init-from", str(donor), "--recordings-share", "0.5"]
    config = parse_train([*flags, "--logdir", str(tmp_path / "new")], False, "float32")
    source = AgentSource(config)
    state, given = source.first_state(), load_run(donor).params
    for part in (state.params, state.average):
        taken = {name: part[name] for name in given}
        jax.tree.map(np.testing.assert_array_equal, taken, given)
        assert part.keys() - given.keys() == {"ensemble"}  # of novelty, which that run did not seek
    jax.tree.map(np.testing.assert_array_equal, state.aux.slow_critic, given["critic"])
    source.start(0, None, None)
    blank = {name: np.zeros(f.shape, f.dtype) for name, f in source.replay.fields.items()}
    source.replay.append(9, {**blank, "is_first": np.True_}, last=True)
    rewards = source.sampler.sample()["reward"]
    assert not rewards[:2].any() and rewards[2:].all(1).any()  # half of the rows are its replay
    source.close()
    other = parse_train([*flags, "--strides", "1,2", "--logdir", str(tmp_path)], False, "float32")
    with pytest.raises(ValueError, match="init_from: expected the agent's parameters.* same envir"):
        AgentSource(other)


def test_an_agent_goes_on(runs):
    run = runs / "pendulum_04f8b22"
    assert format_of(read_config(run)) == 1
    flags = ["--batch", "2", "--updates-per-step", "0.4", "--eval-episodes", "1"]
    flags += ["--logdir", str(run), "--steps", "1010"]
    config = parse_train(flags, False, "float32", kept_settings)
    assert config.preset == "pendulum" and config.agent == load_config(TrainConfig, run).agent
    assert train(config, AgentSource)
    assert format_of(read_config(run)) == FORMAT
    _, _, steps = load_run(run)
    assert steps == 1_010
    counters = json.loads((run / "checkpoints" / "1010" / "meta" / "metadata").read_text())
    assert counters["counters"]["updates"] == 126 + 4  # 0.4 of the ten new steps, no more


@pytest.mark.parametrize(
    ("name", "context", "expected"),
    [("video_04f8b22", 36, 3860.97), ("mazes_8618e7f", 8, 42893.64)],
)
def test_a_video_run_evaluates_as_when_it_was_written_and_imagines(
    runs, tmp_path, name, context, expected
):
    run = runs / name
    config = load_config(PretrainConfig, run)
    data = replace(config.data, folder=tmp_path)
    (run / "evaluation.json").unlink()  # as of a run that was stopped before its evaluation
    assert train(replace(config, logdir=run, data=data), VideoSource)
    found = json.loads((run / "evaluation.json").read_text())
    assert found["loss/model"] == pytest.approx(expected, abs=0.05)
    imagine(ImagineConfig(run=run, output=tmp_path / "out.gif", context=context, ticks=1, worlds=1))
