"""A run of a linear map in one of several processes, which `test_hosts.py` starts.

python tests/training/on_hosts.py LOGDIR STEPS --hosts ADDRESS:PORT,INDEX,COUNT
"""

import os
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from test_guard import TinySource, settings

from common.entry import enter
from training import hosts
from training.hosts import join, leave_others
from training.loop import train
from worldmodel.learner import Learner

ROWS = 6


class Rows(NamedTuple):
    """Numbers, of which the update also reads noise of each."""

    x: np.ndarray  # [B, 3]


def make_learner() -> Learner[nnx.Linear]:
    def loss(params: Any, aux: Any, batch: Rows, key: Any) -> Any:
        seen = batch.x + 0.1 * jax.random.normal(key, batch.x.shape)
        value = jnp.mean((seen @ params["kernel"] - batch.x) ** 2)
        return value, (aux + 1, {"loss/total": value})

    return Learner(
        lambda: nnx.Linear(3, 3, use_bias=False, rngs=nnx.Rngs(0)),
        lambda graph: loss,
        lambda *_: jnp.zeros((), jnp.int32),
        optax.adam(1e-2),
        keep_average=True,
    )


class Shared(TinySource):
    """Of each batch the rows of this process."""

    learner = make_learner()  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__(lambda n: 0.0, lambda n: None)

    def first_state(self) -> Any:
        return self.learner.initial()

    def sample(self) -> Any:
        self.drawn += 1
        drawn = np.random.default_rng(self.drawn).normal(size=(ROWS, 3)).astype(np.float32)
        share = ROWS // jax.process_count()
        return Rows(drawn[jax.process_index() * share :][:share])


def main(logdir: Path, steps: int) -> None:
    if jax.process_index() == 1:
        steps = int(os.environ.get("STEPS_OF_THE_SECOND", steps))
    config = settings(logdir, steps=steps, save_every=20, batch=ROWS)
    ended = train(config, lambda _: Shared())
    if ended and jax.process_index() == 0:
        time.sleep(float(os.environ.get("LAST_SECONDS_OF_THE_FIRST", 0)))
    leave_others()


if __name__ == "__main__":
    hosts.SECONDS = int(os.environ.get("SECONDS_OF_SILENCE", hosts.SECONDS))
    enter(lambda: (lambda args: main(Path(args[0]), int(args[1])))(join(sys.argv[1:])))
