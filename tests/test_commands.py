"""The README's commands, as a user runs them: a run is watched, stopped, resumed, looked into."""

import json
import signal
import time

import jax
import numpy as np
import pytest
from processes import finish, last_update, run_here, start, wait_for_update

from agents.policy import initial_policy
from agents.statistics import summary
from analysis.agent.evaluate import EvalConfig, evaluate
from analysis.imagine import ImagineConfig, imagine
from training import CheckpointStore, read_metrics
from training.build import EVAL_SEED, load_run
from training.checkpoint import BEST

SMALL = ["--env", "gym:Pendulum-v1", "--size", "debug", "--prefill", "200", "--log-every", "100"]
SMALL += ["--updates-per-step", "0.03", "--batch", "4", "--length", "16", "--eval-episodes", "2"]
SMALL += ["--save-every", "400", "--video-every", "400", "--eval-every", "0"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that was killed, resumed by the same command, stopped by Ctrl-C, resumed, finished:
    (directory, steps at its stops, steps at its end, what the last two commands printed)."""
    logdir = tmp_path_factory.mktemp("runs") / "run"
    log, saves = logdir / "metrics.jsonl", logdir / "checkpoints"
    flags = [*SMALL, "--logdir", logdir, "--steps"]

    def saved():
        return max((int(p.name) for p in saves.iterdir() if p.name.isdigit()), default=0)

    first = start("train_agent.py", *flags, 1_000_000)
    wait_for_update(first, log)
    while not saved():
        time.sleep(0.1)
        assert first.poll() is None
    first.kill()
    first.communicate()
    killed = saved()
    second = start("train_agent.py", *flags, 1_000_000)
    wait_for_update(second, log, after=last_update(log))
    second.send_signal(signal.SIGINT)
    resumed, err = finish(second)
    assert second.returncode == 0, err
    stopped = saved()
    steps = (stopped // 4 + 220) * 4
    third = start("train_agent.py", *flags, steps)
    out, err = finish(third)
    assert third.returncode == 0, err
    return logdir, (killed, stopped), steps, (resumed, out)


def test_a_run_goes_on_from_its_last_checkpoint(run):
    logdir, (killed, stopped), _, (resumed, out) = run
    assert f"resuming {logdir} at step {killed:,}" in resumed
    assert "stopped at step" in resumed and f"--logdir {logdir}" in resumed
    assert f"resuming {logdir} at step {stopped:,}" in out and stopped > killed


def test_a_run_ends_with_evaluation_videos_and_where_to_look(run):
    logdir, _, _, (_, out) = run
    for line in (
        "device: CPU",
        "greedy   return -",
        "episode.mp4",
        f"report:   {logdir / 'report.html'}",
        f"tensorboard --logdir {logdir}",
    ):
        assert line in out
    names = ["episode.mp4", "imagined.mp4", "imagined.npz", "report.html", "report.json"]
    for name in (*names, "config.json", "versions.json"):
        assert (logdir / name).stat().st_size > 0
    assert json.loads((logdir / "evaluation.json").read_text())["length"] == 200


def test_a_resumed_run_neither_drops_nor_doubles(run):
    logdir, (killed, stopped), steps, _ = run
    rows = read_metrics(logdir / "metrics.jsonl")
    logged = [row["step"] for row in rows if "replay/steps" in row]
    assert logged == sorted(set(logged)) and logged[-1] >= steps
    for stop in (killed, stopped):
        assert any(step <= stop for step in logged) and any(step > stop for step in logged)
    assert rows[-1]["step"] >= steps
    collected = [row["replay/steps"] for row in rows if "replay/steps" in row][-1]
    assert collected >= stopped - 4 * 200  # at most the unfinished episodes of 4 environments


def test_metrics_tell_what_a_user_watches(run):
    rows = read_metrics(run[0] / "metrics.jsonl")
    names = set().union(*rows)
    for name in ("kl/level1", "kl/level2", "prior_entropy/level2", "loss/actor", "loss/critic"):
        assert name in names
    for name in ("window_reward/imagined", "window_reward/observed", "window_reward/gap"):
        assert name in names
    for name in ("speed/env_steps_per_s", "speed/updates_per_s", "memory/host_peak_gib"):
        assert name in names
    assert {"episode/return", "eval/return"} <= names


def test_imagine_writes_a_video_and_predictions_per_tick(run, tmp_path):
    logdir = run[0]
    output = tmp_path / "out.gif"
    config = ImagineConfig(run=logdir, output=output, context=8, ticks=5, actions="policy")
    imagine(config)
    assert output.read_bytes()[:6] in (b"GIF87a", b"GIF89a")
    numbers = np.load(tmp_path / "out.npz", allow_pickle=False)
    assert numbers["reward"].shape == numbers["cont"].shape == (3, 5)
    assert numbers["value"].shape == (3, 6) and numbers["action"].shape == (3, 5, 4)
    assert numbers["time"].tolist() == [12, 16, 20, 24, 28]
    assert (numbers["observed_valid"] == 1).all() and (numbers["observed_reward"] < 0).all()


def test_eval_prints_sampled_and_greedy(run, tmp_path, capsys):
    output = tmp_path / "episode.gif"
    config = EvalConfig(run=run[0], episodes=2, output=output)
    evaluate(config)
    out = capsys.readouterr().out
    assert "sampled  return -" in out and "greedy   return -" in out and "± " in out
    assert output.stat().st_size > 0


def last_state(run):
    """The run as it is built, the parameters that act, and the last checkpoint's state."""
    built, params, _ = load_run(run[0])
    store = CheckpointStore(run[0] / "checkpoints", built.config.keep)
    state = store.restore(jax.eval_shape(built.initial)).state
    store.close()
    return built, params, state


def test_each_update_moves_the_scale_of_vectors(run):
    built, _, state = last_state(run)
    assert built.config.agent.model.scale_vectors
    assert int(state.params["model"]["scale"]["batches"]) == int(state.step) > 0


def test_what_is_evaluated_is_the_average(run):
    built, params, state = last_state(run)
    jax.tree.map(np.testing.assert_array_equal, params, state.average)
    written = json.loads((run[0] / "evaluation.json").read_text())["return"]
    best = load_run(run[0], folder=BEST)  # the last evaluation was the only one
    jax.tree.map(np.testing.assert_array_equal, best.params, params)
    average, newest = (
        summary(built.evaluate(p, 2, greedy=True).episodes)["return"]
        for p in (state.average, state.params)
    )
    assert average == pytest.approx(written, rel=1e-5)
    assert newest != pytest.approx(written, rel=1e-5)


def test_what_the_critic_foresaw_of_an_evaluation(run):
    """Its value of the top belief at each episode's first observation, under the average."""
    built, params, _ = load_run(run[0])
    written = json.loads((run[0] / "evaluation.json").read_text())
    stepper, carry = built.stepper(2, EVAL_SEED), initial_policy(built.agent, 2, 1)
    obs = stepper.reset().obs
    stepper.envs.close()
    key = jax.random.fold_in(jax.random.key(EVAL_SEED), 0)
    carry, _ = built.policy(greedy=True)(params, carry, obs, np.ones(2, bool), key)
    value = built.join(params).predict_value(carry.filter.belief.features)
    assert written["foreseen"] == pytest.approx(float(value.mean()), rel=1e-4)
    assert written["return"] < written["discounted"] < 0


def test_another_config_is_refused_and_nothing_is_touched(run, capsys):
    logdir = run[0]
    before = {p: p.stat().st_mtime_ns for p in sorted(logdir.rglob("*"))}
    other = [*SMALL, "--logdir", str(logdir), "--horizon", "3", "--seed", "7", "--steps", "9000"]
    with pytest.raises(SystemExit):
        run_here("train_agent.py", *other)
    first, *listed, last = capsys.readouterr().err.splitlines()
    assert first.startswith("error: ") and first.endswith("was written by another config:")
    assert listed == ["  seed: 0 there, 7 now", "  agent.behaviour.horizon: 5 there, 3 now"]
    assert "another --logdir" in last
    assert {p: p.stat().st_mtime_ns for p in sorted(logdir.rglob("*"))} == before


def refused(args, capsys):
    """The one line with which a command is refused."""
    with pytest.raises(SystemExit) as stop:
        run_here("train_agent.py", *args)
    captured = capsys.readouterr()
    assert stop.value.code == 2
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), captured.err
    return lines[0]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--foo", "3"], ["--foo"]),
        (["--steps", "many"], ["--steps", "many"]),
        (["--size", "xxl"], ["debug, xs, s, m, l"]),
        (["--preset", "pendulun"], ["did you mean 'pendulum'"]),
        (["--env", "minerl_navigat"], ["did you mean 'minerl_navigate'"]),
        (["--env", "gym:Nothing-v7"], ["Nothing"]),
        (["--strides", "1", "4", "6"], ["1 4 6", "dividing"]),
        (["--strides", "2", "4"], ["1 first"]),
        (["--horizon", "0"], ["horizon", "1 or more"]),
        (["--replan", "4"], ["--replan"]),
        (["--length", "30"], ["--length 32"]),
        (["--batch", "0"], ["batch", "1 or more"]),
        (["--eval", "nowhere", "--episodes", "3"], ["nowhere"]),
    ],
)
def test_a_mistake_is_one_line_and_touches_nothing(args, words, capsys, tmp_path):
    logdir = [] if "--eval" in args else ["--logdir", str(tmp_path / "run")]
    line = refused([*args, *logdir], capsys)
    for word in words:
        assert word in line
    assert not (tmp_path / "run").exists()


def test_help_is_readable_with_units(capsys):
    with pytest.raises(SystemExit) as stop:
        run_here("train_agent.py", "--help")
    out = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert stop.value.code == 0
    assert "--steps INT Environment steps at which the run ends" in out
    assert "Short for: --env = --env.name" in out
