"""Seeds as one program: what each leaves, stopping and resuming, what is refused."""

import json
import shutil
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents.memory import Memory
from common import RunFailed, UserError, read_json
from configs import TrainConfig, parse_train
from configs.cli import take_seeds
from training import read_metrics, seeds
from training.agent_source import AgentSource
from training.build import Built, load_run
from training.checkpoint import CHECKPOINTS
from training.config_io import load_config, write_run_files
from training.loop import EVALUATION, best_score, train
from training.seeds import Stuck, Together, by_step, load_state, run_of, train_seeds
from training.spaces import read_spaces

pytestmark = pytest.mark.usefixtures("unchecked")  # the checker of keys fails on batched loops

FLAGS = "--env pure:pendulum --size debug --strides 1 --length 8 --batch 2 --prefill 20 --steps 96 "
FLAGS += "--env.num-envs 2 --env.time-limit 12 --updates-per-step 0.1 --eval-episodes 2 "
FLAGS += "--log-every 16 --eval-every 48 --save-every 48 --report False"


def settings(logdir: Path) -> TrainConfig:
    return replace(parse_train(FLAGS.split(), False, "float32"), logdir=logdir)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seeds 3 and 5 in one go."""
    folder = tmp_path_factory.mktemp("whole")
    assert train_seeds(settings(folder), [3, 5]) == [run_of(folder, 3), run_of(folder, 5)]
    return folder


def rows(run: Path) -> list[dict[str, Any]]:
    left_out = ("time", "speed", "memory")
    kept = read_metrics(run / "metrics.jsonl")
    return [{k: v for k, v in row.items() if not k.startswith(left_out)} for row in kept]


def test_each_seed_is_a_run_like_any(whole: Path) -> None:
    for seed in (3, 5):
        run = run_of(whole, seed)
        config = load_config(TrainConfig, run)
        assert (config.seed, config.logdir) == (seed, run)
        built, params, step = load_run(run)
        assert step == 96 and (run / "episode.mp4").stat().st_size > 0
        assert jax.tree.structure(params) == jax.tree.structure(dict(built.shapes))
        found = rows(run)
        ends = [row for row in found if "episode/return" in row]
        assert [row["step"] for row in ends[:4]] == [24, 24, 50, 50]  # 13 rounds an episode
        assert {row["episode/length"] for row in ends} == {12}
        losses = [row for row in found if "loss/total" in row]
        assert len(losses) == 5 and all(row["update/skipped"] == 0 for row in losses)
        evaluated = [row for row in found if "eval/return" in row]
        assert [row["step"] for row in evaluated] == [48, 96]
        last = json.loads((run / EVALUATION).read_text())
        assert last["return"] == evaluated[-1]["eval/return"] and last["length"] == 12
        assert last["newest_return"] == evaluated[-1]["eval/newest_return"] != last["return"]
        assert best_score(run) == max(row["eval/return"] for row in evaluated)
    assert rows(run_of(whole, 3)) != rows(run_of(whole, 5))
    curves = json.loads((whole / "curves.json").read_text())
    assert (curves["seeds"], curves["steps"], curves["updates"]) == ([3, 5], [48, 96], [2, 7])
    assert curves["greedy"][1][1] == last["return"]
    assert curves["last_quarter"]["sampled"][1] == last["sampled_return"]


def opened(config: TrainConfig, run: TrainConfig) -> Together:
    """What resumes a run."""
    together = Together(config, [run], Built(config, read_spaces(run.logdir)))
    with ExitStack() as stack:
        together.open(stack)
    return together


def test_fewer_steps_than_were_made_destroy_nothing(whole: Path, tmp_path: Path) -> None:
    """A run of 96 steps, ended by `--steps 32`, and gone on with to 128."""
    config, run = replace(settings(tmp_path), eval_episodes=0), run_of(tmp_path, 3)
    shutil.copytree(run_of(whole, 3), run)
    (run / EVALUATION).unlink()
    before = load_state(run).memory
    assert before.time == 49 and before.obs[:, 17:].any()
    assert train_seeds(replace(config, steps=32), [3]) == [run]
    for memory in (load_state(run).memory, one_memory(replace(config, steps=128), run)):
        assert memory.time == 49
        np.testing.assert_array_equal(memory.obs[:, :49], before.obs)
        np.testing.assert_array_equal(memory.reward[:, :49], before.reward)


def one_memory(config: TrainConfig, run: Path) -> Memory:
    """That with which seed 3 goes on."""
    memory: Memory = opened(config, replace(config, seed=3, logdir=run)).state.memory
    return jax.tree.map(lambda x: x[0], memory)


def test_a_checkpoint_of_step_0_is_another_than_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A seed that is new has no state to be stacked with those of the others."""
    newest = {run_of(Path("x"), 3): 0, run_of(Path("x"), 5): None, run_of(Path("x"), 6): 0}
    monkeypatch.setattr(seeds, "newest_step", newest.get)
    runs = [replace(settings(run), seed=int(run.name[5:])) for run in newest]
    assert [[run.seed for run in group] for group in by_step(runs)] == [[3, 6], [5]]


def test_the_run_of_a_seed_is_not_resumed_alone(whole: Path) -> None:
    run = run_of(whole, 3)
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    with pytest.raises(UserError, match=rf"at step 96; add --seeds 3 and .* --logdir {whole}$"):
        train(replace(load_config(TrainConfig, run), steps=128), AgentSource)
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_a_pace_that_changes_holds_from_there_on_though_the_run_is_killed(
    whole: Path, tmp_path: Path
) -> None:
    """Before its first save, with the new pace already in its settings."""
    config = replace(settings(tmp_path), updates_per_step=0.5, steps=128)
    run = replace(config, seed=3, logdir=run_of(tmp_path, 3))
    shutil.copytree(run_of(whole, 3), run.logdir)
    write_run_files(run.logdir, run)  # as the killed command did
    counters = opened(config, run).seeds[0].counters
    assert (counters.steps, counters.updates) == (96, 7) and counters.ahead == 7 - (96 - 20) // 2


@pytest.mark.slow
def test_what_was_stopped_and_resumed_ends_as_what_was_not(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    advance = Together.advance

    def stop_after(self: Together, progress: Any) -> None:
        advance(self, progress)
        if self.steps >= 64:
            self.stop()

    with monkeypatch.context() as patch:
        patch.setattr(Together, "advance", stop_after)
        assert train_seeds(settings(tmp_path), [3, 5]) == []
    assert not (run_of(tmp_path, 3) / EVALUATION).exists()
    train_seeds(settings(tmp_path), [3, 5])
    for seed in (3, 5):
        one, other = (run_of(folder, seed) for folder in (whole, tmp_path))
        assert rows(one) == rows(other)
        for was, now in zip(*(jax.tree.leaves(load_state(x)) for x in (one, other)), strict=True):
            np.testing.assert_array_equal(was, now)


def not_finite(monkeypatch: pytest.MonkeyPatch, poor: set[int]) -> None:
    """No update of these seeds is finite: rewards in their memories are not."""
    advance = Together.advance

    def poisoned(self: Together, progress: Any) -> None:
        which = jnp.array([seed.config.seed in poor for seed in self.seeds])
        poison = jnp.where(which, jnp.nan, 0.0)[:, None, None]

        def put(change: Any) -> None:
            memory = self.state.memory
            self.state = self.state._replace(memory=memory._replace(reward=change(memory.reward)))

        put(lambda reward: reward + poison)
        try:
            advance(self, progress)
        finally:
            put(jnp.nan_to_num)

    monkeypatch.setattr(Together, "advance", poisoned)
    monkeypatch.setattr("training.seeds.STUCK", 2)


@pytest.mark.slow
def test_seeds_that_cannot_learn_are_named_and_go_on_when_they_can(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        not_finite(patch, {3, 5})
        with pytest.raises(RunFailed, match=r"2 updates in a row .* seed 3 at step 48, seed 5 at"):
            train_seeds(settings(tmp_path), [3, 5])
    found = read_json(tmp_path / "curves.json")
    assert (found["seeds"], found["failed"]) == ([], {"3": 48, "5": 48})
    monkeypatch.setattr("training.seeds.STUCK", 2)
    assert len(train_seeds(settings(tmp_path), [3, 5])) == 2
    assert read_json(tmp_path / "curves.json")["failed"] == {}


@pytest.mark.slow
def test_the_other_seeds_go_on_without_one_that_cannot_learn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    not_finite(monkeypatch, {3})
    with pytest.raises(RunFailed, match=r"seed 3 at step 48, whose states from"):
        train_seeds(settings(tmp_path), [3, 5])
    found = read_json(tmp_path / "curves.json")
    assert (found["seeds"], found["steps"], found["failed"]) == ([5], [48, 96], {"3": 48})


def test_a_seed_that_cannot_learn_is_told_of_where_the_others_are_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a signal: the command is to fail, though the others were saved in time."""

    def go_on(self: Together) -> bool:
        if any(run.seed == 3 for run in self.runs):
            raise Stuck({3: 48})
        return False

    monkeypatch.setattr(Together, "go_on", go_on)
    with pytest.raises(RunFailed, match="for seed 3 at step 48, .* the others were stopped; lower"):
        train_seeds(settings(tmp_path), [3, 5])
    assert not (tmp_path / "curves.json").exists()


def test_the_others_are_evaluated_and_saved_before_one_that_cannot_learn_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    together, done = Together.__new__(Together), []
    counters = SimpleNamespace(steps=32, updates=1)
    saves = SimpleNamespace(check=lambda: None)
    seed = SimpleNamespace(counters=counters, recent=[], saves=saves, config=settings(Path("x")))
    together.config, together.seeds = seed.config, [seed]  # type: ignore[list-item]
    together.state = together.keys = np.zeros(1)
    report = SimpleNamespace(in_row=np.array([100]))
    together.compiled = lambda *_: (together.state, report)
    monkeypatch.setattr(jax, "device_get", lambda x: x)
    monkeypatch.setattr(seeds, "one", lambda x, _: x)
    monkeypatch.setattr(Together, "orders", lambda _: None)
    monkeypatch.setattr(Together, "count", lambda *_: setattr(counters, "steps", 48))
    monkeypatch.setattr(Together, "log", lambda *_: None)
    monkeypatch.setattr(Together, "evaluate", lambda _: done.append("evaluated"))
    monkeypatch.setattr(Together, "save_soon", lambda _: done.append("saved"))
    with pytest.raises(Stuck):
        together.advance(SimpleNamespace(update=lambda *_: None))  # type: ignore[arg-type]
    assert done == ["evaluated", "saved"]


def test_what_is_done_is_left_alone_and_other_settings_are_refused(
    whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train_seeds(settings(whole), [3, 5]) == []
    assert "nothing to do" in capsys.readouterr().out
    with pytest.raises(UserError, match="prefill: 20 there, 30 now"):
        train_seeds(replace(settings(whole), prefill=30), [3])


def test_what_a_compiled_run_does_not_take_is_refused_before_anything_is_written(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(tmp_path / "new")
    with pytest.raises(UserError, match="seeds: expected each once"):
        train_seeds(config, [1, 1])
    gym = replace(config, env=replace(config.env, name="gym:Pendulum-v1"))
    with pytest.raises(UserError, match="expected an environment in pure JAX"):
        train_seeds(gym, [1])
    with pytest.raises(UserError, match="replay.capacity_steps: expected at least 96 steps"):
        train_seeds(replace(config, replay=replace(config.replay, capacity_steps=50)), [1])
    apart = replace(config, env=replace(config.env, workers="ray"))
    with pytest.raises(UserError, match="env.workers: expected none or sync with --seeds"):
        train_seeds(apart, [1])
    monkeypatch.setitem(sys.modules, "trackio", None)
    with pytest.raises(UserError, match="track: expected trackio, which is not installed"):
        train_seeds(replace(config, track=("trackio",)), [1])
    with pytest.raises(UserError, match="one of a single run"):
        train_seeds(replace(config, logdir=run_of(whole, 3)), [1])
    assert not (tmp_path / "new").exists()


def test_checkpoints_of_another_kind_are_refused(
    whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = run_of(whole, 3) / CHECKPOINTS / "96"
    meta = path / "meta" / "metadata"
    kept = meta.read_text()
    monkeypatch.setattr("training.checkpoint._damage", lambda *_: None)
    meta.write_text(kept.replace('"memory"', '"other"'))
    with pytest.raises(UserError, match="expected checkpoints of a compiled run"):
        load_state(run_of(whole, 3))
    meta.write_text(kept)


def test_seeds_are_taken_from_the_flags() -> None:
    assert take_seeds(["--env", "a", "--seeds", "0", "2", "--size", "xs"]) == (
        [0, 2],
        ["--env", "a", "--size", "xs"],
    )
    assert take_seeds(["--seeds=3,4", "--env", "a"]) == ([3, 4], ["--env", "a"])
    assert take_seeds(["--seed", "3"]) == ([], ["--seed", "3"])
    for flags in (["--seed", "3"], ["--seed=3"]):
        with pytest.raises(UserError, match="seed: expected one of --seed and --seeds, received b"):
            take_seeds([*flags, "--seeds", "0", "1"])
    with pytest.raises(UserError, match="seeds: expected whole numbers, received none"):
        take_seeds(["--seeds", "--env", "a"])
    with pytest.raises(UserError, match="0 or more"):
        take_seeds(["--seeds", "-1"])
    for text in ("0-4", "a", "1.5"):
        with pytest.raises(UserError, match=f"seeds: expected whole numbers, received '{text}'"):
            take_seeds(["--seeds", "0", text])
