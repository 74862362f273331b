"""Train a world model on video, without an environment.

  python pretrain_video.py --data moving_digits --preset cwvae

The same update, store, logs and checkpoints as `train_agent.py`. Read next:
`worldmodel/pretraining.py`, the loss; `configs/video_presets.py`, the paper's settings.
"""

import json
import time
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from configs.video import PretrainConfig
from recordings.data import open_stores
from replay import ReplayStore
from replay.atomic import write_text
from training.build_video import BuiltVideo, beginnings
from training.checkpoint import CheckpointStore
from training.config_io import check_same_config, holds_run, write_run_files
from training.learning import Training
from training.logger import RunLogger
from training.picture import true_above_imagined
from training.progress import Progress
from training.video import write_video
from worldmodel.learner import Metrics, Params
from worldmodel.objective import model_loss
from worldmodel.openloop import predict
from worldmodel.records import Records

HELD_OUT = 16  # videos on which the loss is evaluated
SHOWN = 4  # videos side by side
FPS = 10

LEARN, EVALUATE, SHOW = range(3)  # purposes of keys


@dataclass
class Run:
    """A pretraining run: what learns, and what it is evaluated on."""

    built: BuiltVideo
    learning: Training
    held_out: Records  # the beginnings of held-out videos

    @property
    def config(self) -> PretrainConfig:
        """Its settings."""
        return self.built.config

    @property
    def params(self) -> Params:
        """Of the model, now."""
        return self.learning.state.params

    @cached_property
    def evaluate(self) -> Any:
        """Jitted: the loss's metrics under (params, records, key)."""
        return jax.jit(self._evaluate)

    @cached_property
    def predict(self) -> Any:
        """Jitted: open-loop prediction under (params, records, key)."""
        context = self.config.context
        return jax.jit(lambda p, r, k: predict(self.built.join(p), r, context, k))

    def _evaluate(self, params: Params, records: Records, key: PRNGKeyArray) -> Metrics:
        model = self.built.join(params)
        batch, length = records.mask.shape
        noise = model.draw_noise(key, batch, length - model.lead)
        return model_loss(model, records, model.observe(records, noise), self.config.objective)[1]


def train(config: PretrainConfig) -> None:
    """Runs a pretraining run to its end, or to Ctrl-C; both save."""
    run = open_run(config)
    learning = run.learning
    learning.stop_on_interrupt()
    try:
        with Progress(config.steps, environment=False) as progress:
            while learning.counters.steps < config.steps and not learning.stop:
                learning.learn(LEARN)
                learning.counters.steps += 1
                report(run, progress)
                if learning.due(config.save_every):
                    learning.save()
        learning.save()
        if learning.stop:
            print(f"stopped at update {learning.counters.updates:,}; the same command resumes it,")
            print(f"  with --logdir {config.logdir}")
        else:
            finish(run)
    finally:
        learning.close()


def report(run: Run, progress: Progress) -> None:
    """The live line always; metrics, videos and evaluations when due."""
    learning, config = run.learning, run.config
    progress.update(learning.counters.steps, learning.counters.updates)
    if learning.due(config.log_every):
        frames = config.batch * config.length
        learning.log({"data/frames_seen": learning.counters.updates * frames}, "steps")
    if learning.due(config.video_every):
        learning.logger.video(learning.counters.steps, "open_loop", prediction(run), FPS)
    if learning.due(config.eval_every) and learning.counters.steps < config.steps:
        evaluate_now(run)


def evaluate_now(run: Run) -> dict[str, float]:
    """The loss and what it is made of on held-out videos, logged."""
    learning = run.learning
    values = run.evaluate(run.params, run.held_out, learning.key(EVALUATE, 0))
    values = {name: float(value) for name, value in jax.device_get(values).items()}
    learning.logger.scalars(learning.counters.steps, {f"eval/{k}": v for k, v in values.items()})
    return values


def prediction(run: Run) -> np.ndarray:
    """Open-loop prediction of held-out videos, true above predicted."""
    records = jax.tree.map(lambda x: x[:SHOWN], run.held_out)
    loop = run.predict(run.params, records, run.learning.key(SHOW, 0))
    true, drawn = jax.device_get((loop.true, loop.predicted))
    return true_above_imagined(true, drawn, int(loop.context))


def finish(run: Run) -> None:
    """Evaluation, a predicted video, and where to look."""
    logdir = run.config.logdir
    values = evaluate_now(run)
    write_text(logdir / "evaluation.json", json.dumps(values, indent=1) + "\n")
    parts = [f"{name} {value:.2f}" for name, value in values.items() if name.startswith("kl/")]
    print(f"held out: loss {values['loss/model']:.2f} nats per frame; " + ", ".join(parts))
    write_video(logdir / "predicted.mp4", prediction(run), FPS)
    print(f"open-loop prediction, true above predicted: {logdir / 'predicted.mp4'}")
    print(f"evaluate: python evaluate_video.py --run {logdir}")
    print(f"analyse:  python analyse_video.py --run {logdir}")
    print(f"look:     tensorboard --logdir {logdir}")


def open_run(config: PretrainConfig) -> Run:
    """Builds a run, or picks it up where it was saved."""
    started = time.monotonic()
    check_same_config(config.logdir, config)
    train_store, test_store = open_stores(config.data)
    print(
        f"data: {train_store.steps:,} frames of {train_store.episodes:,} videos to train on, "
        f"{test_store.steps:,} of {test_store.episodes:,} held out"
    )
    built = BuiltVideo(config, train_store.fields)
    sampler = built.sampler(train_store)
    held_out = held_out_records(built, test_store)
    resumed = holds_run(config.logdir)
    if not resumed:
        write_run_files(config.logdir, config)
    saves = CheckpointStore(config.logdir / "checkpoints", config.keep)
    learning = Training(
        update=built.update,
        sample=lambda: built.clips(sampler.sample()),
        sampler=sampler,
        state=built.initial(),
        saves=saves,
        logger=RunLogger(config.logdir, resume_step=(saves.latest() or 0) if resumed else None),
        seed=config.seed,
    )
    learning.resume(started)
    done = learning.counters.steps
    print(f"{'resuming' if resumed else 'writing'} {config.logdir} at update {done:,}")
    return Run(built, learning, held_out)


def held_out_records(built: BuiltVideo, store: ReplayStore) -> Records:
    """The beginnings of held-out videos: a clip's length, or twice the context if that is more.

    Raises:
      ValueError: if no held-out video is that long.
    """
    config, stride = built.config, built.model.stride
    length = max(config.length, -(-2 * config.context // stride) * stride)
    long = sum(s.whole and s.steps >= length for s in store.index.segments)
    return beginnings(built.model, store, max(1, min(HELD_OUT, long)), length, built.marked)
