"""Seeds as one program: what each leaves, stopping and resuming, what is refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common import RunFailed, UserError, read_json
from configs import TrainConfig, parse_train
from configs.cli import take_seeds
from training import read_metrics
from training.build import load_run
from training.checkpoint import CHECKPOINTS
from training.config_io import load_config
from training.loop import EVALUATION, best_score
from training.seeds import Stuck, Together, load_state, run_of, train_seeds

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
        assert [row["step"] for row in ends[:4]] == [22, 22, 48, 48]  # 13 rounds an episode
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
    with pytest.raises(RunFailed, match=r"seed 3 at step 48, which stay"):
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


def test_what_is_done_is_left_alone_and_other_settings_are_refused(
    whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train_seeds(settings(whole), [3, 5]) == []
    assert "nothing to do" in capsys.readouterr().out
    with pytest.raises(UserError, match="prefill: 20 there, 30 now"):
        train_seeds(replace(settings(whole), prefill=30), [3])


def test_what_a_compiled_run_does_not_take_is_refused_before_anything_is_written(
    tmp_path: Path, whole: Path
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
    with pytest.raises(UserError, match="seeds: expected whole numbers, received none"):
        take_seeds(["--seeds", "--env", "a"])
    with pytest.raises(UserError, match="0 or more"):
        take_seeds(["--seeds", "-1"])
    for text in ("0-4", "a", "1.5"):
        with pytest.raises(UserError, match=f"seeds: expected whole numbers, received '{text}'"):
            take_seeds(["--seeds", "0", text])
