"""What every training run does, whatever it learns from: update, log, save, resume, be stopped.

`train_agent.py` adds the environment, `pretrain_video.py` the video. The update is opaque here: a
function of (state, batch, key). Read next: `logger.py`, `checkpoint.py`.
"""

import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from training.checkpoint import CheckpointStore
from training.device import memory_use
from training.logger import RunLogger


@dataclass
class Counters:
    """How far a run is; checkpointed."""

    steps: int = 0  # environment steps, or updates where there is no environment
    updates: int = 0
    episodes: int = 0


@dataclass
class Training:
    """The learning half of a run and what it carries."""

    update: Callable[[Any, Any, Any], tuple[Any, Any]]
    sample: Callable[[], Any]  # a batch for `update`
    sampler: Any  # has `state()` and `restore(state)`, JSON
    state: Any  # checkpointed; consumed by `update`
    saves: CheckpointStore
    logger: RunLogger
    seed: int
    counters: Counters = field(default_factory=Counters)
    stride: int = 1  # steps that one round of the loop makes
    stop: bool = False
    pending: list[Any] = field(default_factory=list)  # metrics of updates not yet logged
    logged: tuple[float, int, int] = (0.0, 0, 0)  # time, steps and updates of the last log

    def resume(self, started: float) -> None:
        """Picks up the newest checkpoint, if there is one; ``started``: time.monotonic()."""
        if self.saves.latest() is not None:
            restored = self.saves.restore(self.state)
            self.state, self.counters = restored.state, Counters(**restored.meta["counters"])
            self.sampler.restore(restored.meta["sampler"])
        self.logged = (started, self.counters.steps, self.counters.updates)

    def stop_on_interrupt(self) -> None:
        """Ctrl-C ends the loop after the present round."""
        signal.signal(signal.SIGINT, lambda *_: setattr(self, "stop", True))

    def key(self, purpose: int, count: int) -> Any:
        """A key of its own for every use: of the seed, the purpose and a counter."""
        key = jax.random.fold_in(jax.random.key(self.seed), purpose)
        return jax.random.fold_in(key, count)

    def due(self, every: int) -> bool:
        """Whether the last round crossed a multiple of ``every`` steps; never for 0."""
        before = self.counters.steps - self.stride
        return every > 0 and self.counters.steps // every > before // every

    def learn(self, purpose: int) -> None:
        """One update."""
        key = self.key(purpose, self.counters.updates)
        self.state, metrics = self.update(self.state, self.sample(), key)
        self.counters.updates += 1
        self.pending.append(metrics)
        if self.counters.updates == 1:
            jax.block_until_ready(metrics)
            print(f"first update done {time.monotonic() - self.logged[0]:.0f} s after the start")

    def log(self, more: Mapping[str, float], what: str) -> None:
        """Means of the updates since the last line, speeds and memory; ``what`` a step is."""
        now, counters = time.monotonic(), self.counters
        seconds = now - self.logged[0]
        values = {
            f"speed/{what}_per_s": (counters.steps - self.logged[1]) / seconds,
            "speed/updates_per_s": (counters.updates - self.logged[2]) / seconds,
            **more,
            **memory_use(),
        }
        if self.pending:
            stacked = jax.device_get(self.pending)
            values |= {name: float(np.mean([m[name] for m in stacked])) for name in stacked[0]}
        self.logger.scalars(counters.steps, values)
        self.pending, self.logged = [], (now, counters.steps, counters.updates)

    def save(self) -> None:
        """Checkpoint of everything that the run carries."""
        meta = {"counters": vars(self.counters), "sampler": self.sampler.state()}
        self.saves.save(self.counters.steps, self.state, meta)

    def close(self) -> None:
        """Logs and checkpoints are on disk."""
        self.logger.close()
        self.saves.close()
