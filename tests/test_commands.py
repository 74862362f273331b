"""The README's commands, as a user runs them: a run is watched, resumed, looked into."""

import json
import shutil

import jax
import numpy as np
import pytest
from fixtures.runs import PENDULUM
from processes import run_here

from agents.policy import initial_policy
from agents.statistics import summary
from analysis.agent.evaluate import EvalConfig, evaluate
from analysis.imagine import ImagineConfig, imagine
from training import CheckpointStore, read_metrics
from training.build import EVAL_SEED, load_run
from training.checkpoint import BEST, STATE
from training.trained import load_agent

pytestmark = pytest.mark.usefixtures("unchecked")


def test_a_run_learns_and_is_not_evaluated_where_that_is_not_asked(begun_agent):
    assert "no evaluation (--eval-episodes 0)" in begun_agent.printed


def test_a_run_goes_on_from_its_last_checkpoint(begun_agent, agent_run):
    assert f"resuming {agent_run.path} at step {begun_agent.steps}" in agent_run.printed
    assert "to scale up" not in agent_run.printed


def test_a_run_ends_with_evaluation_videos_and_where_to_look(agent_run):
    for line in (
        "device: CPU",
        "greedy   return -",
        "episode.mp4",
        f"report:   {agent_run.path / 'report.html'}",
        f"tensorboard --logdir {agent_run.path}",
    ):
        assert line in agent_run.printed
    names = ["episode.mp4", "imagined.mp4", "imagined.npz", "report.html", "report.json"]
    for name in (*names, "config.json", "versions.json"):
        assert (agent_run.path / name).stat().st_size > 0
    assert json.loads((agent_run.path / "evaluation.json").read_text())["length"] == 200


def test_a_resumed_run_neither_drops_nor_doubles(begun_agent, agent_run):
    """A row at every hundred steps. The first part ended where its episodes did."""
    rows = read_metrics(agent_run.path / "metrics.jsonl")
    logged = [row["step"] for row in rows if "replay/steps" in row]
    assert logged == list(range(100, agent_run.steps + 1, 100))
    collected = [row["replay/steps"] for row in rows if "replay/steps" in row]
    assert collected[-1] >= agent_run.steps - 2 and sorted(collected) == collected


def test_metrics_tell_what_a_user_watches(agent_run):
    rows = read_metrics(agent_run.path / "metrics.jsonl")
    names = set().union(*rows)
    for name in ("kl/level1", "kl/level2", "prior_entropy/level2", "loss/actor", "loss/critic"):
        assert name in names
    for name in ("window_reward/imagined", "window_reward/observed", "window_reward/gap"):
        assert name in names
    for name in ("speed/env_steps_per_s", "speed/updates_per_s", "memory/host_peak_gib"):
        assert name in names
    assert {"episode/return", "eval/return"} <= names


def test_imagine_writes_a_video_and_predictions_per_tick(agent_run, tmp_path):
    logdir = agent_run.path
    output = tmp_path / "out.gif"
    config = ImagineConfig(run=logdir, output=output, context=8, ticks=5, actions="policy")
    imagine(config)
    assert output.read_bytes()[:6] in (b"GIF87a", b"GIF89a")
    numbers = np.load(tmp_path / "out.npz", allow_pickle=False)
    assert numbers["reward"].shape == numbers["cont"].shape == (3, 5)
    assert numbers["value"].shape == (3, 6) and numbers["action"].shape == (3, 5, 2)
    assert numbers["time"].tolist() == [10, 12, 14, 16, 18]
    assert (numbers["observed_valid"] == 1).all() and (numbers["observed_reward"] < 0).all()


def test_eval_prints_sampled_and_greedy(agent_run, tmp_path, capsys):
    output = tmp_path / "episode.gif"
    config = EvalConfig(run=agent_run.path, episodes=2, output=output)
    evaluate(config)
    out = capsys.readouterr().out
    assert "sampled  return -" in out and "greedy   return -" in out and "± " in out
    assert output.stat().st_size > 0


@pytest.fixture
def doubles():
    """As by JAX_ENABLE_X64=1, or where an environment's code has turned it on."""
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


def test_a_run_goes_on_and_acts_in_float32_whatever_is_turned_on(agent_run, tmp_path, doubles):
    run = tmp_path / "run"
    shutil.copytree(agent_run.path, run)
    more = agent_run.steps + 20
    run_here("train_agent.py", *PENDULUM, "--steps", more, "--logdir", run, "--report", "False")
    with np.load(run / "checkpoints" / str(more) / STATE) as saved:
        kinds = {saved[name].dtype.name for name in saved.files}
    assert "float32" in kinds and "float64" not in kinds
    obs = np.zeros((1, 3), np.float32)
    assert load_agent(run).act(obs, [True])[0].dtype == np.float32


def last_state(run):
    """The run as it is built, the parameters that act, and the last checkpoint's state."""
    built, params, _ = load_run(run)
    store = CheckpointStore(run / "checkpoints", built.config.keep)
    state = store.restore(jax.eval_shape(built.initial)).state
    store.close()
    return built, params, state


def test_each_update_moves_the_scale_of_vectors(agent_run):
    built, _, state = last_state(agent_run.path)
    assert built.config.agent.model.scale_vectors
    assert int(state.params["model"]["scale"]["batches"]) == int(state.step) > 0


def test_what_is_evaluated_is_the_average(agent_run):
    built, params, state = last_state(agent_run.path)
    jax.tree.map(np.testing.assert_array_equal, params, state.average)
    told = json.loads((agent_run.path / "evaluation.json").read_text())
    written = told["return"]
    best = load_run(agent_run.path, folder=BEST)  # the last evaluation was the only one
    jax.tree.map(np.testing.assert_array_equal, best.params, params)
    average, newest = (
        summary(built.evaluate(p, 2, greedy=True).episodes)["return"]
        for p in (state.average, state.params)
    )
    assert average == pytest.approx(written, rel=1e-5)
    assert newest != pytest.approx(written, rel=1e-5)
    assert newest == pytest.approx(told["newest_return"], rel=1e-5)
    loaded = load_run(agent_run.path, newest=True).params
    jax.tree.map(np.testing.assert_array_equal, loaded, state.params)


def test_what_the_critic_foresaw_of_an_evaluation(agent_run):
    """Its value of the top belief at each episode's first observation, under the average. By the
    same program: of a critic that has learned little, bins up to e^20 leave mostly rounding."""
    built, params, _ = load_run(agent_run.path)
    written = json.loads((agent_run.path / "evaluation.json").read_text())
    stepper, carry = built.stepper(2, EVAL_SEED), initial_policy(built.agent, 2, 1)
    obs = stepper.reset().obs
    stepper.envs.close()
    key = jax.random.fold_in(jax.random.key(EVAL_SEED), 0)
    carry, _ = built.policy(greedy=True)(params, carry, obs, np.ones(2, bool), key)
    value = built.value(params, carry.filter.belief)
    assert written["foreseen"] == pytest.approx(float(value.mean()), rel=1e-4)
    assert written["return"] < written["discounted"] < 0


def test_another_config_is_refused_and_nothing_is_touched(agent_run, capsys):
    logdir = agent_run.path
    before = {p: p.stat().st_mtime_ns for p in sorted(logdir.rglob("*"))}
    other = [*PENDULUM, "--logdir", str(logdir), "--horizon", "3", "--seed", "7"]
    with pytest.raises(SystemExit):
        run_here("train_agent.py", *other)
    first, *listed, last = capsys.readouterr().err.splitlines()
    assert first.startswith("error: ") and first.endswith("was written by another config:")
    assert listed == ["  seed: 0 there, 7 now", "  agent.behaviour.horizon: 16 there, 3 now"]
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
        (["--preset", "genral"], ["did you mean 'general'"]),
        (["--env", "minerl_navigat"], ["did you mean 'minerl_navigate'"]),
        (["--env", "gym:Nothing-v7"], ["Nothing"]),
        (["--strides", "1", "4", "6"], ["1 4 6", "dividing"]),
        (["--strides", "2", "4"], ["1 first"]),
        (["--horizon", "0"], ["horizon", "1 or more"]),
        (["--replan", "4"], ["--replan"]),
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
    assert "--env STR, --env.name STR" in out
