"""`pretrain_video.py` as a user runs it: stopped, resumed, ended; data made once and shared."""

import json
import signal

import jax
import numpy as np
import pytest
from processes import finish, start, wait_for_update

from analysis.imagine import ImagineConfig, imagine
from configs import parse_train
from configs.video_presets import parse_pretrain
from training import read_metrics
from training.build import Built
from training.build_video import load_video_run
from training.loop import train
from training.start import open_donor, start_from
from training.video_source import VideoSource

SMALL = ["--size", "debug", "--strides", "1", "2", "4", "--context", "8", "--length", "12"]
SMALL += ["--batch", "2", "--log-every", "2", "--save-every", "5", "--eval-every", "4"]
SMALL += ["--video-every", "8", "--data.episodes", "4", "--data.length", "30"]
SMALL += ["--data.test-episodes", "2", "--data.test-length", "30"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with streams that Ctrl-C stopped and the same command resumed and finished."""
    folder = tmp_path_factory.mktemp("pretrain")
    flags = [
        *SMALL,
        "--streams",
        "True",
        "--logdir",
        folder / "run",
        "--data.folder",
        folder / "data",
    ]
    first = start("pretrain_video.py", *flags, "--steps", 10**6)
    wait_for_update(first, folder / "run" / "metrics.jsonl")
    first.send_signal(signal.SIGINT)
    out, err = finish(first)
    assert first.returncode == 0, err
    stopped = int(out.split("stopped at update ")[1].split(";")[0].replace(",", ""))
    second = start("pretrain_video.py", *flags, "--steps", stopped + 9)
    out, err = finish(second)
    assert second.returncode == 0, err
    return folder, stopped, out


def test_a_run_ends_with_evaluation_a_video_and_where_to_look(run):
    folder, stopped, out = run
    assert f"at update {stopped:,}" in out and "resuming" in out
    for line in ("held out: loss", "kl/level3", "evaluate_video.py --run", "tensorboard --logdir"):
        assert line in out
    assert (folder / "run" / "predicted.mp4").stat().st_size > 0
    values = json.loads((folder / "run" / "evaluation.json").read_text())
    assert np.isfinite(list(values.values())).all() and "nll/image" in values


def test_a_resumed_run_neither_drops_nor_doubles(run):
    folder, stopped, _ = run
    steps = [r["step"] for r in read_metrics(folder / "run" / "metrics.jsonl") if "loss/total" in r]
    assert steps == sorted(set(steps)) and steps[-1] <= stopped + 9


def test_a_run_that_was_stopped_comes_to_what_one_that_was_not_comes_to(run, unchecked):
    """Bit for bit: metrics but for clocks and memory, and the parameters."""
    folder, stopped, _ = run
    flags = [*SMALL, "--streams", "True", "--steps", stopped + 9, "--logdir", folder / "whole"]
    flags = [str(flag) for flag in (*flags, "--data.folder", folder / "data")]
    assert train(parse_pretrain(flags, False, "float32"), VideoSource)
    clocks = ("time", "speed/", "memory/")
    found = [
        [
            {name: value for name, value in row.items() if not name.startswith(clocks)}
            for row in read_metrics(folder / name / "metrics.jsonl")
        ]
        for name in ("run", "whole")
    ]
    assert found[0] == found[1]
    params = [load_video_run(folder / name).params for name in ("run", "whole")]
    jax.tree.map(np.testing.assert_array_equal, *params)


def test_the_data_were_made_once(run):
    folder, _, out = run
    assert "generating" not in out
    names = sorted(p.name.rpartition("-")[0] for p in (folder / "data").iterdir())
    assert names == ["moving_digits-test", "moving_digits-train"]


def test_the_trained_model_loads(run):
    folder, stopped, _ = run
    loaded = load_video_run(folder / "run")
    assert loaded.step == stopped + 9 and loaded.model.strides == (1, 2, 4)


def test_its_future_is_imagined(run, capsys):
    folder, _, _ = run
    output = folder / "future.gif"
    imagine(ImagineConfig(run=folder / "run", output=output, context=7, ticks=100, worlds=2))
    assert output.stat().st_size > 0
    assert "8 frames seen, then 20 imagined" in capsys.readouterr().out  # 30 long, blocks of 4
    with pytest.raises(ValueError, match="has no agent"):
        imagine(ImagineConfig(run=folder / "run", output=output, actions="policy"))
    with pytest.raises(ValueError, match="lower --context or --worlds"):
        imagine(ImagineConfig(run=folder / "run", output=output, context=30))


def test_other_settings_are_refused_and_nothing_is_touched(run):
    folder, _, _ = run
    before = sorted((p, p.stat().st_mtime_ns) for p in (folder / "run").rglob("*"))
    where = ["--logdir", folder / "run", "--data.folder", folder / "data"]
    other = start("pretrain_video.py", *SMALL, *where, "--streams", "--seed", 3)
    out, err = finish(other)
    assert other.returncode == 2 and "Traceback" not in err
    first, listed, last = err.strip().splitlines()
    assert first.startswith("error: ") and listed == "  seed: 0 there, 3 now"
    assert "another --logdir" in last
    assert before == sorted((p, p.stat().st_mtime_ns) for p in (folder / "run").rglob("*"))


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """The agent's own world model, pretrained on video of its world."""
    folder = tmp_path_factory.mktemp("agent")
    flags = ["--preset", "agent", "--data", "navigate", "--size", "debug", "--steps", "2"]
    flags += ["--data.folder", folder / "data", "--data.episodes", "2", "--data.length", "40"]
    flags += ["--data.test-episodes", "1", "--data.test-length", "40", "--context", "16"]
    process = start(
        "pretrain_video.py", *flags, "--batch", "2", "--length", "16", "--logdir", folder / "video"
    )
    out, err = finish(process)
    assert process.returncode == 0, err
    return folder


def agent_flags(folder, logdir):
    flags = ["--env", "minerl_navigate", "--env.backend", "builtin", "--size", "debug"]
    flags += ["--init-from", folder / "video", "--recordings-share", "0.5", "--env.num-envs", "2"]
    flags += ["--env.time-limit", "80", "--prefill", "60", "--steps", "80", "--batch", "2"]
    flags += ["--length", "16", "--eval-episodes", "1", "--video-every", "0", "--log-every", "10"]
    flags += ["--report", "False"]
    return [*flags, "--logdir", folder / logdir]


def test_an_agent_starts_from_a_pretrained_model_and_keeps_watching(pretrained):
    process = start("train_agent.py", *agent_flags(pretrained, "run"))
    out, err = finish(process)
    assert process.returncode == 0, err
    assert f"world model of {pretrained / 'video'}, 2 updates on navigate" in out
    assert any("loss/total" in r for r in read_metrics(pretrained / "run" / "metrics.jsonl"))


def test_the_agents_first_model_is_the_pretrained_one(pretrained):
    args = [str(x) for x in agent_flags(pretrained, "other")]
    built = Built(parse_train(args, False, "float32"))
    state = start_from(built.initial(), open_donor(built, pretrained / "video"))
    loaded = load_video_run(pretrained / "video")
    for model in (state.params["model"], state.average["model"]):
        jax.tree.map(np.testing.assert_array_equal, model, loaded.params)
    other = Built(parse_train([*args, "--strides", "1", "2"], False, "float32"))
    with pytest.raises(ValueError, match="expected the agent's parameters, .*--preset agent"):
        open_donor(other, pretrained / "video")
    coded = Built(parse_train([*args, "--agent.codec", "latent"], False, "float32"))
    with pytest.raises(ValueError, match="init_from: .* top level reads actions.* 'latent'"):
        open_donor(coded, pretrained / "video")
