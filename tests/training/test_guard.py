"""What a run does when it cannot go on as it was: bad updates. With a model of two numbers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from gymnasium import spaces

from common import RunFailed
from configs.video import PretrainConfig
from training import CheckpointStore, read_metrics
from training.checkpoint import restore_newest
from training.loop import BAD_BATCH, STUCK, Evaluation, train
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
    """``target``: of the number of the batch, from 1 on."""

    acts, stride, learner = False, 1, LEARNER
    spaces = Spaces(spaces.Dict(x=spaces.Box(0, 1, (1,))), spaces.Discrete(2))

    def __init__(self, target: Callable[[int], float], film: Any = None):
        self.target, self.drawn = target, 0

    def first_state(self) -> Any:
        return LEARNER.initial()

    def start(self, steps: int, sampler: Any) -> None:
        self.drawn = 0 if sampler is None else sampler["drawn"]

    def act(self, params: Any, key: Any) -> list[Any]:
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
        return Evaluation({"loss": float("nan")}, "evaluated", None)

    def write_film(self, state: Any, film: Any, key: Any) -> None:
        pass

    def close(self) -> None:
        pass


def settings(folder: Path, **given: Any) -> PretrainConfig:
    return PretrainConfig(logdir=folder / "run", log_every=10, eval_every=0, **given)


def run(config: PretrainConfig, target: Callable[[int], float]) -> bool:
    return train(config, lambda _: TinySource(target))


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
