"""What a run does when it cannot go on as it was: bad updates, broken environments, signals, other
processes. With a model of two numbers."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from gymnasium import spaces
from processes import PATIENCE, ROOT, full_disk, wait_for_update

from common import EnvironmentFailed, RunFailed, UserError
from common.entry import enter
from common.signals import Stopped, listening
from configs import TrainConfig
from configs.video import PretrainConfig
from envs import EnvConfig
from replay.atomic import TEMPORARY
from training import CheckpointStore, read_metrics
from training.agent_source import AgentSource
from training.checkpoint import BEST, restore_newest, write_leaves
from training.config_io import LOCK
from training.loop import (
    BAD_BATCH,
    NOTHING_LEARNED,
    STUCK,
    Evaluation,
    best_score,
    is_better,
    train,
)
from training.spaces import Spaces
from worldmodel.learner import Learner


class Batch(NamedTuple):
    """Where a number is to go."""

    target: np.ndarray


def tiny_learner() -> Learner[nnx.Linear]:
    """Of a linear map of one number."""

    def make() -> nnx.Linear:
        return nnx.Linear(1, 1, rngs=nnx.Rngs(0))

    def loss(params: Any, aux: Any, batch: Batch, key: Any) -> Any:
        value = jnp.mean((params["kernel"] - batch.target) ** 2)
        return value, (aux, {"loss/total": value})

    return Learner(make, lambda graph: loss, lambda *_: jnp.zeros(()), optax.adam(1e-2))


LEARNER = tiny_learner()


class TinySource:
    """``target``: of the number of the batch, from 1 on; ``hook`` is called before each."""

    acts, shared, stride, learner = False, True, 1, LEARNER
    spaces = Spaces(spaces.Dict(x=spaces.Box(0, 1, (1,))), spaces.Discrete(2))

    def __init__(self, target: Callable[[int], float], hook: Callable[[int], None]):
        self.target, self.hook, self.drawn = target, hook, 0

    def first_state(self) -> Any:
        return LEARNER.initial()

    def start(self, steps: int, sampler: Any, carry: Any) -> None:
        self.drawn = 0 if sampler is None else sampler["drawn"]

    def carry(self) -> None:
        return None

    @staticmethod
    def score(drawn: int) -> float | None:
        return None

    def act(self, params: Any, key: Any) -> list[Any]:
        self.hook(self.drawn + 1)
        return []

    def arrive(self) -> list[Any]:
        return []

    def owed(self, steps: int) -> int:
        return steps

    def sample(self) -> Batch:
        self.drawn += 1
        return Batch(np.full((1, 1), self.target(self.drawn), np.float32))

    def sampler_state(self) -> dict[str, Any]:
        return {"drawn": self.drawn}

    def stored(self, updates: int) -> dict[str, float]:
        return {}

    def show(self, state: Any, key: Any) -> None:
        return None

    def evaluate(self, state: Any, key: Any) -> Evaluation:
        return Evaluation({"loss": float("nan")}, "evaluated", None, self.score(self.drawn))

    def write_film(self, state: Any, film: Any, key: Any) -> None:
        pass

    def close(self) -> None:
        pass


def settings(folder: Path, **given: Any) -> PretrainConfig:
    return PretrainConfig(logdir=folder / "run", log_every=10, eval_every=0, **given)


def run(
    config: PretrainConfig,
    target: Callable[[int], float] = lambda n: 5.0,
    hook: Callable[[int], None] = lambda n: None,
) -> bool:
    return train(config, lambda _: TinySource(target, hook))


def test_skipped_updates_are_counted_and_left_out_of_means(tmp_path):
    """Updates 3, 13 and 14 are bad; all others begin from their loss at the start, or below."""
    config = settings(tmp_path, steps=20)
    assert run(config, lambda n: np.nan if n in (3, 13, 14) else 5.0)
    rows = [row for row in read_metrics(config.logdir / "metrics.jsonl") if "grad_norm" in row]
    assert [row["update/skipped"] for row in rows] == [1, 3]
    assert all(np.isfinite(row["loss/total"]) for row in rows)
    meta = restore_newest(config.logdir, LEARNER.abstract()).meta
    assert meta["counters"]["skipped"] == 3


def test_a_run_that_cannot_learn_ends_with_the_batch_and_a_good_checkpoint(tmp_path):
    config = settings(tmp_path, steps=1000, save_every=20)
    with pytest.raises(RunFailed, match=f"received {STUCK} updates in a row"):
        run(config, lambda n: 5.0 if n <= 30 else np.inf)
    batch = np.load(config.logdir / BAD_BATCH, allow_pickle=False)
    assert np.isinf(batch["target"]).all()
    found = restore_newest(config.logdir, LEARNER.abstract())
    assert int(found.state.step) == 30
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found.state))
    lines = (config.logdir / "metrics.jsonl").read_text()
    assert "NaN" not in lines and "Infinity" not in lines
    with pytest.raises(RunFailed, match=f"received {STUCK} updates in a row"):  # and once more
        run(config, lambda n: np.inf)
    assert run(replace(config, steps=40))


def test_a_run_that_made_no_update_says_so(tmp_path, monkeypatch, capsys):
    run(settings(tmp_path / "some", steps=5))
    assert NOTHING_LEARNED not in capsys.readouterr().out
    monkeypatch.setattr(TinySource, "owed", lambda self, steps: 0)
    run(settings(tmp_path / "none", steps=5))
    assert NOTHING_LEARNED in capsys.readouterr().out
    monkeypatch.setattr(PretrainConfig, "updates_per_step", 0.0, raising=False)
    run(settings(tmp_path / "only acts", steps=5))
    assert NOTHING_LEARNED not in capsys.readouterr().out


def test_an_evaluation_without_a_number_is_null(tmp_path):
    config = settings(tmp_path, steps=2)
    assert run(config, lambda n: 5.0)
    assert json.loads((config.logdir / "evaluation.json").read_text()) == {"loss": None}


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_state_that_is_not_finite_is_never_written(tmp_path, bad):
    saves = CheckpointStore(tmp_path / "checkpoints", 2)
    state = {"params": {"w": jnp.ones(3)}, "count": jnp.zeros((), int), "key": jax.random.key(0)}
    saves.save(1, state, {})
    worse = state | {"params": {"w": jnp.array([1.0, bad, 1.0])}}
    with pytest.raises(RunFailed, match=r"step 2: .* received others in params/w; .* steps \[1\]"):
        saves.save(2, worse, {})
    assert saves.steps() == [1]
    saves.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_ends_and_the_run_goes_on(tmp_path, number, capfd):
    def send(n: int) -> None:
        if n == 8:
            os.kill(os.getpid(), number)

    config = settings(tmp_path, steps=20)
    with listening():
        assert not run(config, hook=send)
    assert restore_newest(config.logdir, LEARNER.abstract()).step == 8
    told = capfd.readouterr()
    assert "stopping after this step, to save; a second signal ends at once" in told.err
    assert "stopped at update 8; to resume:" in told.out
    assert run(config)


KILLED = """
import sys
from pathlib import Path
from test_guard import run, settings

run(settings(Path(sys.argv[1]), steps=10**6, save_every=70))
"""


def test_a_run_that_was_killed_goes_on_from_its_last_checkpoint(tmp_path):
    """And its log neither drops nor doubles a row."""
    config = settings(tmp_path, steps=10**6, save_every=70)
    log = config.logdir / "metrics.jsonl"
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    paths = {"PYTHONPATH": os.pathsep.join(("tests", "tests/training"))}
    with subprocess.Popen(command, cwd=ROOT, env=os.environ | paths) as process:
        wait_for_update(process, log, after=100)
        process.kill()
    saved = restore_newest(config.logdir, LEARNER.abstract()).step
    drawn: list[int] = []
    assert run(replace(config, steps=saved + 100), hook=drawn.append)
    assert drawn[0] == saved + 1
    steps = [row["step"] for row in read_metrics(log) if "loss/total" in row]
    assert steps == list(range(10, saved + 101, 10))


def test_a_signal_within_an_evaluation_ends_it(tmp_path, monkeypatch):
    def interrupted(*_: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(PATIENCE)

    config = settings(tmp_path, steps=20)
    every = replace(config, eval_every=5)
    with monkeypatch.context() as patch:
        patch.setattr(TinySource, "evaluate", interrupted)
        with listening():
            assert not run(every)
        assert restore_newest(config.logdir, LEARNER.abstract()).step == 5
        with listening(), pytest.raises(Stopped):
            run(config)
    assert restore_newest(config.logdir, LEARNER.abstract()).step == 20
    assert run(config)


@pytest.mark.parametrize("error", [EnvironmentFailed("lost"), UserError("a nan"), RunFailed("end")])
def test_a_run_is_saved_before_its_environments_error_is_told(tmp_path, error):
    def broken(n: int) -> None:
        if n == 8:
            raise error

    config = settings(tmp_path, steps=20)
    with pytest.raises(type(error), match=str(error)):
        run(config, hook=broken)
    found = restore_newest(config.logdir, LEARNER.abstract())
    assert found.step == int(found.state.step) == 7
    assert run(config)


class OldReset(gymnasium.Env[Any, Any]):
    """Resets without a seed."""

    observation_space, action_space = spaces.Box(-1, 1, (3,)), spaces.Discrete(2)

    def reset(self) -> Any:  # type: ignore[override]
        return np.zeros(3, np.float32), {}


def test_the_environment_is_tried_before_anything_is_written(tmp_path):
    config = TrainConfig(logdir=tmp_path / "run", env=EnvConfig(name=f"{__name__}:OldReset"))
    with pytest.raises(UserError, match=r"expected reset\(self, \*, seed=None, options=None\)"):
        train(config, AgentSource)
    assert not config.logdir.exists()


def test_a_finished_run_has_nothing_to_do_until_it_is_given_more(tmp_path, capsys):
    config = settings(tmp_path, steps=20)
    assert run(config)
    files = {path: path.stat().st_mtime_ns for path in config.logdir.rglob("*")}
    capsys.readouterr()

    def untouched(_: Any) -> Any:
        raise AssertionError("what it learns from was made")

    assert not train(config, untouched)
    assert capsys.readouterr().out.startswith(f"{config.logdir} has already finished: nothing to")
    assert {path: path.stat().st_mtime_ns for path in config.logdir.rglob("*")} == files
    assert run(replace(config, steps=40))
    assert restore_newest(config.logdir, LEARNER.abstract()).step == 40


def test_a_run_whose_longer_end_was_not_evaluated_is_evaluated(tmp_path, monkeypatch):
    config = settings(tmp_path, steps=20)
    assert run(config)
    with monkeypatch.context() as patch:
        patch.setattr(TinySource, "evaluate", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(replace(config, steps=40))
    assert run(replace(config, steps=40))


def test_one_process_trains_in_a_directory(tmp_path):
    """Of any source; the other is refused before it touches anything."""
    config = settings(tmp_path, steps=20)

    def second(n: int) -> None:
        if n == 8:
            with pytest.raises(UserError, match="expected no other writer.*process"):
                run(config)

    assert run(config, hook=second)


def test_what_a_kill_left_of_the_first_write_does_not_block_a_directory(tmp_path):
    config = settings(tmp_path, steps=5)
    config.logdir.mkdir()
    (config.logdir / f"{TEMPORARY}config-0123abcd.json").write_text("{")
    (config.logdir / LOCK).touch()
    assert run(config)
    assert not list(config.logdir.glob(f"{TEMPORARY}*"))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").touch()
    with pytest.raises(UserError, match="holds files but no config.json"):
        run(replace(config, logdir=tmp_path / "other"))


def test_a_full_disk_ends_a_run_which_goes_on_when_there_is_room(tmp_path):
    """Neither the lines of metrics nor TensorBoard's events wait for ever; no line is lost."""
    config = replace(settings(tmp_path, steps=400, save_every=50), log_every=1)
    with full_disk(60_000), pytest.raises(OSError, match="File too large"):
        run(config)
    assert 50 <= (restore_newest(config.logdir, LEARNER.abstract()).step or 0) < 400
    assert run(config)
    rows = [r for r in read_metrics(config.logdir / "metrics.jsonl") if "loss/total" in r]
    assert [row["step"] for row in rows] == list(range(1, 401))


def test_a_run_goes_on_while_a_checkpoint_is_written(tmp_path, monkeypatch):
    config, go, waited = settings(tmp_path, steps=40, save_every=20), threading.Event(), []

    def slow(*given: Any) -> None:
        waited.append(go.wait(PATIENCE))
        write_leaves(*given)

    def release(n: int) -> None:
        if n == 30:
            assert CheckpointStore(config.logdir / "checkpoints", 1).steps() == []
            go.set()

    monkeypatch.setattr("training.checkpoint.write_leaves", slow)
    assert run(config, hook=release)
    assert CheckpointStore(config.logdir / "checkpoints", 1).steps() == [20, 40] and all(waited)


def test_a_checkpoint_that_cannot_be_written_ends_the_run_before_the_next_is_due(
    tmp_path, monkeypatch
):
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    drawn: list[int] = []

    def slow(n: int) -> None:
        drawn.append(n)
        time.sleep(0.05 * (n > 20))

    monkeypatch.setattr("training.checkpoint.write_leaves", full)
    with pytest.raises(OSError, match="No space left"):
        run(settings(tmp_path, steps=100, save_every=20), hook=slow)
    assert 20 <= drawn[-1] < 40


def test_metrics_are_fetched_once_for_a_line(tmp_path, monkeypatch):
    """Ten updates each. A checkpoint fetches the state and what is not in a line yet; there are two
    of them, at the last step and after its evaluation."""
    fetched: list[int] = []
    fetch = jax.device_get

    def counting(tree: Any) -> Any:
        fetched.append(len(tree))
        return fetch(tree)

    monkeypatch.setattr("training.loop.jax.device_get", counting)
    assert run(settings(tmp_path, steps=40))
    assert [n for n in fetched if n == 10] == [10] * 4 and len(fetched) <= 4 + 2 * 2


def test_the_best_by_evaluation_is_kept_beside_the_last(tmp_path, monkeypatch, capsys):
    """Scores rise to the third evaluation, and fall; a run that goes on knows the best so far."""
    monkeypatch.setattr(TinySource, "score", staticmethod(lambda drawn: -abs(drawn - 15.0)))
    config = replace(settings(tmp_path, steps=12), eval_every=5)
    assert run(config)
    best = restore_newest(config.logdir, LEARNER.abstract(), BEST)
    assert best.step == int(best.state.step) == 12 and best.meta["score"] == -3.0
    assert run(replace(config, steps=31))
    best = restore_newest(config.logdir, LEARNER.abstract(), BEST)
    assert best.step == int(best.state.step) == 15 and best.meta["score"] == 0.0
    assert restore_newest(config.logdir, LEARNER.abstract()).step == 31
    (config.logdir / BEST / "15" / "digest.json").unlink()
    assert run(replace(config, steps=36))
    assert "the next evaluation replaces it" in capsys.readouterr().out
    assert restore_newest(config.logdir, LEARNER.abstract(), BEST).step == 35


def test_a_score_that_is_nan_is_never_the_best(tmp_path, monkeypatch):
    """Nor does one that an earlier version kept, as null, keep the run from being resumed."""
    scores = {5: np.nan, 10: -1.0}
    monkeypatch.setattr(TinySource, "score", staticmethod(lambda drawn: scores.get(drawn, -2.0)))
    config = replace(settings(tmp_path, steps=7), eval_every=5)
    monkeypatch.setattr("training.loop.is_better", lambda score, best: best is None or score > best)
    assert run(replace(config, steps=5)) and best_score(config.logdir) is None
    monkeypatch.undo()
    monkeypatch.setattr(TinySource, "score", staticmethod(lambda drawn: scores.get(drawn, -2.0)))
    assert run(config) and best_score(config.logdir) == -2.0
    assert run(replace(config, steps=17)) and best_score(config.logdir) == -1.0
    assert not is_better(np.nan, None) and not is_better(np.inf, None)


def test_every_step_and_every_update_has_a_key_of_its_own(tmp_path, monkeypatch):
    given = {"act": [], "update": []}

    def told(name, key):
        given[name].append(tuple(jax.random.key_data(key).tolist()))

    def updated(state, batch, key):
        told("update", key)
        return update(state, batch, key)

    update = LEARNER.update
    monkeypatch.setattr(TinySource, "act", lambda self, params, key: told("act", key) or [])
    monkeypatch.setitem(LEARNER.__dict__, "update", updated)
    assert run(settings(tmp_path, steps=6))
    assert [len(set(keys)) for keys in given.values()] == [6, 6]


@pytest.mark.parametrize("name", ["a b", "ünï 漢字", "[x]*?'\"", "-x", os.fsdecode(b"\xff")])
def test_a_run_lies_in_any_place_that_has_a_name(tmp_path, name):
    config = settings(tmp_path / name, steps=4)
    assert run(config)
    assert run(replace(config, steps=8))
    assert restore_newest(config.logdir, LEARNER.abstract()).step == 8


def test_a_place_that_may_not_be_written_to_is_one_line(tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "file").touch()
    with pytest.raises(SystemExit) as stop:
        enter(lambda: run(settings(tmp_path / "run" / "file", steps=4)) and None)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "expected a readable and writable path, received: Not a directory" in line
