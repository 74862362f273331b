"""A run that was stopped and goes on comes to what one that was not stopped comes to: bit for bit
where environments can tell their state, and for video; else as docs/design.md (Runs) says."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from agents import ActionCodec
from agents.driver import Played, play
from common import EnvironmentFailed
from common.signals import listening
from configs import parse_train
from configs.schema import TrainConfig
from training import agent_source, read_metrics
from training.agent_source import AgentSource
from training.build import Built
from training.checkpoint import restore_newest
from training.loop import train
from training.spaces import ask
from worldmodel.learner import Learner

FLAGS = ["--size", "debug", "--batch", "2", "--length", "8", "--prefill", "12", "--steps", "96"]
FLAGS += ["--updates-per-step", "1.5", "--log-every", "6", "--save-every", "20", "--keep", "1"]
FLAGS += ["--eval-every", "24", "--eval-episodes", "1", "--video-every", "0"]
FLAGS += ["--env.num-envs", "2", "--replay.chunk-steps", "5"]
FLAGS += ["--agent.model.stoch", "3", "--agent.model.deter", "8", "--agent.model.hidden", "8"]
FLAGS += ["--agent.model.embed", "8"]
PURE = ["--env", "pure:pendulum", "--env.time-limit", "13", "--replay.capacity-steps", "80"]
WALK = ["--env", f"{Path(__file__).with_name('walk.py')}:Walk", "--env.workers"]
CLOCKS = ("time", "speed/", "memory/", "env/restarts")


class Small(Built):
    """Two numbers in place of an agent: they predict rewards, and act by what they predict. All
    that an agent's run carries is there: averages, an aux, a policy's memory, noise by keys."""

    def __init__(self, config: TrainConfig, spaces: Any) -> None:
        self.config, self.spaces, self.together = config, spaces, 16
        self.codec = ActionCodec(spaces.action)
        Learner.__init__(
            self,
            lambda: nnx.Linear(3, 1, rngs=nnx.Rngs(0)),
            lambda graph: self._loss,
            lambda *_: jnp.zeros(()),
            optax.adam(1e-2),
            keep_average=True,
        )
        model = SimpleNamespace(stride=4, action_width=1)
        self.agent: Any = SimpleNamespace(model=model, config=config.agent)
        self._act = jax.jit(self._policy)

    def _loss(self, params: Any, aux: Any, batch: Any, key: Any) -> Any:
        noise = jax.random.normal(key, batch.reward.shape)
        foreseen = (batch.obs["observation"] @ params["kernel"])[..., 0] + params["bias"][0]
        loss = jnp.mean(batch.mask * (foreseen - batch.reward / (1 + aux) + 0.1 * noise) ** 2)
        aux = 0.9 * aux + 0.1 * jnp.std(batch.reward)
        return loss, (aux, {"loss/total": loss, "return/scale": aux})

    def policy(self, greedy: bool) -> Any:
        return self._act

    def _policy(self, params: Any, carry: Any, obs: Any, is_first: Any, key: Any) -> Any:
        memory = jnp.where(is_first[:, None], 0.0, carry) + obs["observation"]
        noise = jax.random.normal(key, (len(is_first), 1))
        return memory, jnp.clip(jnp.tanh(memory @ params["kernel"]) + 0.1 * noise, -1, 1)

    def evaluate(self, params: Any, episodes: int, greedy: bool, watch: bool = False) -> Played:
        """Of no actions."""

        def wave(stepper: Any, first: bool) -> Played:
            zeros = np.zeros((stepper.size, 1), np.float32)
            played = play(stepper, lambda *_: zeros, watch, 0.9, self.config.eval_steps)
            return played._replace(episodes=[e._replace(foreseen=0.0) for e in played.episodes])

        return self._in_waves(episodes, wave)


def small(patch: pytest.MonkeyPatch) -> type[Built]:
    def memory(agent: Any, size: int, replan: int) -> jax.Array:
        return jnp.zeros((size, 3))

    patch.setattr(agent_source, "initial_policy", memory)
    return Small


class Watched(AgentSource):
    """Calls ``hooks[name](n)`` before the n-th call of a method."""

    hooks: dict[str, Callable[[int], None]] = {}

    def __init__(self, config: TrainConfig):
        super().__init__(config)
        self.counts: dict[str, int] = {}

    def _tell(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1
        self.hooks.get(name, lambda n: None)(self.counts[name])

    def act(self, *args: Any) -> Any:
        self._tell("act")
        return super().act(*args)

    def sample(self) -> Any:
        self._tell("sample")
        return super().sample()

    def evaluate(self, *args: Any) -> Any:
        self._tell("evaluate")
        return super().evaluate(*args)


def stop_at(count: int) -> Callable[[int], None]:
    def hook(n: int) -> None:
        if n == count:
            os.kill(os.getpid(), signal.SIGTERM)

    return hook


def settings(logdir: Path, env: list[str]) -> TrainConfig:
    return parse_train([*FLAGS, *env, "--logdir", str(logdir)], False, "float32")


def go(logdir: Path, env: list[str], **hooks: Callable[[int], None]) -> bool:
    """The command, once."""

    class Source(Watched):
        pass

    Source.hooks = hooks
    with listening():
        return train(settings(logdir, env), Source)


@pytest.fixture(scope="module", params=["small", pytest.param("agent", marks=pytest.mark.slow)])
def shared(request: pytest.FixtureRequest, unchecked: None) -> Iterator[Built]:
    """What all runs train; an agent itself among the slow tests."""
    patch = pytest.MonkeyPatch()
    config = settings(Path("unused"), PURE)
    kind = small(patch) if request.param == "small" else Built
    patch.setattr(agent_source, "Built", kind)
    yield kind(config, ask(config))
    patch.undo()


@pytest.fixture(scope="module")
def whole(shared: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was not stopped, of which a copy was made as a kill would leave it: at step 56,
    with the checkpoint of step 40, and with steps after it in replay and in the metrics."""
    logdir = tmp_path_factory.mktemp("whole") / "run"

    def copy_once(n: int) -> None:
        if n == 29:
            shutil.copytree(logdir, logdir.with_name("killed"))

    assert go(logdir, PURE, act=copy_once)
    return logdir


def rows(logdir: Path) -> list[dict[str, Any]]:
    """Metrics without what a clock or the machine tells."""
    found = read_metrics(logdir / "metrics.jsonl")
    return [{k: v for k, v in row.items() if not k.startswith(CLOCKS)} for row in found]


def records(logdir: Path) -> dict[str, np.ndarray]:
    """All that replay holds, by the names of files without their checksum."""
    files = sorted((logdir / "replay" / "chunks").iterdir())
    return {file.name.rpartition("-")[0]: np.load(file) for file in files}


def same(logdir: Path, other: Path, built: Built) -> None:
    """Metrics, state and replay are equal, bit for bit."""
    for ours, theirs in zip(rows(logdir), rows(other), strict=True):
        assert ours == theirs
    states = [restore_newest(run, built.abstract()).state for run in (logdir, other)]
    jax.tree.map(np.testing.assert_array_equal, *states)
    stored = [records(run) for run in (logdir, other)]
    assert stored[0].keys() == stored[1].keys()
    for name, array in stored[0].items():
        assert array.tobytes() == stored[1][name].tobytes()


def test_a_pure_run_that_is_stopped_thrice_comes_to_the_same(whole, shared, tmp_path):
    """Among the updates of a step, before a step, and in an evaluation."""
    logdir = tmp_path / "run"
    assert not go(logdir, PURE, sample=stop_at(17))
    assert not go(logdir, PURE, act=stop_at(9))
    assert not go(logdir, PURE, evaluate=stop_at(1))
    assert go(logdir, PURE)
    same(logdir, whole, shared)


def test_a_pure_run_that_is_killed_comes_to_the_same(whole, shared):
    killed = whole.with_name("killed")
    assert rows(killed)[-1]["step"] > restore_newest(killed, shared.abstract()).step
    assert go(killed, PURE)
    same(killed, whole, shared)


def fail_at(count: int) -> Callable[[int], None]:
    def hook(n: int) -> None:
        if n == count:
            raise ZeroDivisionError("ends a run as a kill does: unsaved")

    return hook


def test_a_pace_that_changes_holds_from_there_on_though_the_run_is_killed(shared, tmp_path):
    """Before its first save: with the new pace already in its settings."""
    logdir, faster = tmp_path / "run", [*PURE, "--updates-per-step", "6"]
    assert not go(logdir, PURE, act=stop_at(15))
    before = restore_newest(logdir, shared.abstract()).meta["counters"]
    with pytest.raises(ZeroDivisionError):
        go(logdir, faster, act=fail_at(1))
    assert not go(logdir, faster, act=stop_at(1))
    after = restore_newest(logdir, shared.abstract()).meta["counters"]
    assert before["steps"] == 30 and before["ahead"] == 0
    assert after["updates"] == before["updates"]
    assert after["ahead"] == before["updates"] - 6 * (30 - 12)


def test_a_run_that_is_extended_keeps_its_last_evaluation(whole, tmp_path, capsys):
    shutil.copytree(whole, tmp_path / "run")
    before = rows(whole)
    assert go(tmp_path / "run", [*PURE, "--steps", "100"])
    assert rows(tmp_path / "run")[: len(before)] == before and "eval/return" in before[-1]
    assert "removed" not in capsys.readouterr().err


def test_environments_are_closed_though_the_run_could_not_begin(shared, tmp_path, monkeypatch):
    closed = []

    class Source(AgentSource):
        def close(self) -> None:
            closed.append(self)
            super().close()

    monkeypatch.setattr("training.loop.RunLogger", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(settings(tmp_path, PURE), Source)
    assert len(closed) == 1


@pytest.mark.parametrize("kill", [False, True])
def test_other_environments_begin_anew_and_counts_and_contents_agree(shared, tmp_path, kill):
    """Episodes in progress end cut; what came after the checkpoint has gone; no step is lost."""
    logdir = tmp_path / "run"

    def copy_once(n: int) -> None:
        if n == 15 and kill:
            shutil.copytree(logdir, tmp_path / "killed")

    assert not go(logdir, [*WALK, "sync"], act=lambda n: (copy_once(n), stop_at(17)(n)))
    logdir = tmp_path / "killed" if kill else logdir
    found = restore_newest(logdir, shared.abstract())
    assert found.step == (20 if kill else 34)
    counted = []

    def count(n: int) -> None:
        if n == 1:
            counted.append(sum(map(len, records(logdir).values())))

    assert go(logdir, [*WALK, "sync"], act=count)
    assert counted == [found.step + 2]  # and the first records of both environments
    assert sum(name.endswith("cut") for name in records(logdir)) == 4  # two then, two at the end
    assert [row["step"] for row in rows(logdir) if "loss/total" in row] == [*range(18, 97, 6)]


def test_the_state_that_goes_on_is_what_was_saved(shared, tmp_path):
    """Of a run of another environment: learner, draws, counters and pending means are exact."""
    logdir = tmp_path / "run"
    assert not go(logdir, [*WALK, "sync"], sample=stop_at(17))
    before = restore_newest(logdir, shared.abstract())
    assert before.meta["means"]["count"] > 0 and before.meta["counters"]["phase"] == 1
    assert not go(logdir, [*WALK, "sync"], sample=stop_at(1))
    after = restore_newest(logdir, shared.abstract())
    assert after.meta["counters"]["updates"] == before.meta["counters"]["updates"] + 1


def test_environments_in_processes_come_to_what_they_come_to_in_one(shared, tmp_path):
    """Without overlap bit for bit, and no step is under way when a batch is drawn; with it one is,
    and as many updates are made."""

    def seen(logdir: Path, env: list[str]) -> set[bool]:
        found = set()

        class Source(Watched):
            def sample(self) -> Any:
                assert self.collector is not None
                found.add(self.collector.stepper.under_way)
                return super().sample()

        assert train(settings(logdir, [*env, "--steps", "32", "--eval-episodes", "0"]), Source)
        return found

    assert seen(tmp_path / "one", [*WALK, "sync"]) == {False}
    assert seen(tmp_path / "apart", [*WALK, "async", "--no-overlap"]) == {False}
    same(tmp_path / "apart", tmp_path / "one", shared)
    assert seen(tmp_path / "overlap", [*WALK, "async"]) == {True}
    updates = [restore_newest(tmp_path / run, shared.abstract()).meta for run in ("one", "overlap")]
    assert updates[0]["counters"] == updates[1]["counters"]


def test_a_step_that_is_under_way_at_a_stop_is_in_replay(shared, tmp_path):
    """As of environments in one process: counts and contents agree, and what is left is done."""
    logdir, counted = tmp_path / "run", []

    def count(n: int) -> None:
        if n == 1:
            counted.append(sum(map(len, records(logdir).values())))

    assert not go(logdir, [*WALK, "async"], sample=stop_at(17))
    found = restore_newest(logdir, shared.abstract())
    assert found.meta["counters"]["phase"] == 1
    assert go(logdir, [*WALK, "async"], act=count)
    assert counted == [found.step + 2]


def test_environments_that_fail_again_and_again_end_a_run_which_is_saved(shared, tmp_path, caplog):
    logdir = tmp_path / "run"
    failing = [*WALK, "async", "--env.options", "raises", "9", "--eval-every", "0"]
    with pytest.raises(EnvironmentFailed, match="failure 5 in a row"):
        go(logdir, failing)
    assert "step 9: step raised RuntimeError: fell; it is restarted, and its episode" in caplog.text
    found = restore_newest(logdir, shared.abstract())
    assert found.step >= 4 * 2 * 9
    cut = [name for name in records(logdir) if name.endswith("cut")]
    assert len(cut) >= 2 * 4
