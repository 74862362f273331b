"""Train an agent in an environment, or evaluate a trained one.

  python train_agent.py --env minerl_navigate
  python train_agent.py --eval RUN --episodes 20

The loop below is act, store, learn, report, save. Read next: `agents/dreamer.py`, what it learns;
`configs/schema.py`, every setting.
"""

import json
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np

from agents.agent import plans_marked
from agents.driver import Collector, Episode, Played
from agents.policy import initial_policy
from agents.statistics import plus_minus, summary
from configs import TrainConfig
from configs.data import DataConfig
from configs.video import PretrainConfig
from recordings.data import open_train
from replay import MixedSampler, ReplayStore, SequenceSampler, estimate
from replay.atomic import write_text
from training.build import Built
from training.build_video import start_from
from training.checkpoint import CheckpointStore
from training.config_io import (
    check_same_config,
    holds_run,
    load_config,
    write_run_files,
)
from training.learning import Counters, Training
from training.logger import RunLogger
from training.picture import bar_limits, pictures, true_above_imagined
from training.progress import Progress
from training.video import upscale, write_video
from worldmodel.learner import Params
from worldmodel.openloop import predict
from worldmodel.records import Records

RECENT = 20  # episodes over which the success rate is shown
FPS = 10


@dataclass
class Run:
    """A training run: what learns, and what acts."""

    built: Built
    learning: Training
    collector: Collector
    replay: ReplayStore
    recent: deque[Episode] = field(default_factory=lambda: deque(maxlen=RECENT))

    @property
    def config(self) -> TrainConfig:
        """Its settings."""
        return self.built.config

    @property
    def counters(self) -> Counters:
        """How far it is."""
        return self.learning.counters

    @property
    def params(self) -> Params:
        """Of the agent, now."""
        return self.learning.state.params


ACT, LEARN, SHOW = range(3)  # purposes of keys


def train(config: TrainConfig) -> bool:
    """Runs to its end, or to Ctrl-C; both save. Returns whether it came to its end."""
    run = open_run(config)
    learning = run.learning
    learning.stop_on_interrupt()
    try:
        with Progress(config.steps) as progress:
            while run.counters.steps < config.steps and not learning.stop:
                act(run)
                learn(run)
                report(run, progress)
                if learning.due(config.save_every):
                    learning.save()
        learning.save()
        if learning.stop:
            print(f"stopped at step {run.counters.steps:,}; the same command resumes it, with")
            print(f"  --logdir {config.logdir}")
        else:
            finish(run)
        return not learning.stop
    finally:
        run.replay.close()
        learning.close()
        run.collector.stepper.envs.close()


def act(run: Run) -> None:
    """One step of every environment, into replay."""
    learning, counters = run.learning, run.counters
    for episode in run.collector.step(run.params, learning.key(ACT, counters.steps)):
        run.recent.append(episode)
        counters.episodes += 1
        values = {"episode/return": episode.score, "episode/length": episode.length}
        if episode.success is not None:
            values["episode/success"] = float(episode.success)
        learning.logger.scalars(counters.steps, values)
    counters.steps += learning.stride


def learn(run: Run) -> None:
    """As many updates as the steps so far call for."""
    config, counters = run.config, run.counters
    owed = int((counters.steps - config.prefill) * config.updates_per_step)
    while counters.updates < owed and run.replay.steps and not run.learning.stop:
        run.learning.learn(LEARN)


def report(run: Run, progress: Progress) -> None:
    """The live line always; metrics, videos and evaluations when due."""
    counters, config = run.counters, run.config
    successes = [e.success for e in run.recent if e.success is not None]
    rate = float(np.mean(successes)) if successes else None
    score = run.recent[-1].score if run.recent else None
    progress.update(counters.steps, counters.updates, score, rate)
    if run.learning.due(config.log_every):
        log_metrics(run)
    if run.learning.due(config.video_every) and counters.updates:
        show_prediction(run)
    if run.learning.due(config.eval_every) and counters.updates and counters.steps < config.steps:
        evaluate_now(run, config.eval_episodes)


def log_metrics(run: Run) -> None:
    """What was learned and stored since the last line."""
    replay = {"replay/steps": run.replay.steps, "replay/gb": run.replay.bytes / 1e9}
    run.learning.log(replay, "env_steps")


def show_prediction(run: Run) -> None:
    """Open-loop prediction of replayed sequences, true above imagined, as a GIF summary."""
    records = jax.tree.map(lambda x: x[:4], run.learning.sample())
    model = run.built.agent.model
    if run.config.length <= 2 * model.stride:
        return
    context = max(model.stride, run.config.length // 4 // model.stride * model.stride)
    key = run.learning.key(SHOW, run.counters.steps)
    frames = prediction(run.built, run.params, records, context, key)
    run.learning.logger.video(run.counters.steps, "open_loop", frames, FPS)


def prediction(built: Built, params: Any, records: Records, context: int, key: Any) -> np.ndarray:
    """Frames of `openloop.predict` under these parameters."""
    agent = built.join(params)
    loop = predict(agent.model, records, context, key)
    return true_above_imagined(
        jax.device_get(loop.true), jax.device_get(loop.predicted), loop.context
    )


def evaluate_now(run: Run, episodes: int) -> tuple[Played, dict[str, float]]:
    """Evaluates the greedy policy of the averaged parameters and logs it, with a video."""
    average = run.learning.state.average
    played = run.built.evaluate(average, episodes, greedy=True, watch=True)
    values = summary(played.episodes)
    logger = run.learning.logger
    logger.scalars(run.counters.steps, {f"eval/{k}": v for k, v in values.items()})
    logger.video(run.counters.steps, "episode", episode_frames(played, 200), FPS)
    return played, values


def episode_frames(played: Played, most: int) -> np.ndarray:
    """At most so many frames of what the first agent saw, evenly spaced; vectors drawn as bars."""
    assert played.seen is not None
    frames = pictures(played.seen, bar_limits(played.seen))
    return frames[:: -(-len(frames) // most)]


def write_episode(played: Played, path: Path) -> None:
    """The first episode as a video."""
    write_video(path, upscale(episode_frames(played, 1000), 4), 2 * FPS)
    print(f"an episode: {path}")


def finish(run: Run) -> None:
    """Evaluation and an episode's video."""
    log_metrics(run)
    config, logdir = run.config, run.config.logdir
    played, values = evaluate_now(run, config.eval_episodes)
    write_text(logdir / "evaluation.json", json.dumps(values, indent=1) + "\n")
    print(f"greedy   {shown(values)}")
    write_episode(played, logdir / "episode.mp4")


def open_run(config: TrainConfig) -> Run:
    """Builds a run, or picks it up where it was saved."""
    started = time.monotonic()
    built = Built(config)
    check_same_config(config.logdir, config)
    resumed = holds_run(config.logdir)
    print(estimate(built.fields(), config.replay, config.logdir))
    if not resumed:
        write_run_files(config.logdir, config)
    replay = ReplayStore(config.logdir / "replay", built.fields(), config.replay)
    saves = CheckpointStore(config.logdir / "checkpoints", config.keep)
    sampler, initial = open_sampler(built, replay), built.initial()
    if config.init_from is not None and saves.latest() is None:
        initial = start_from(initial, config.init_from)
    learning = Training(
        update=built.update,
        sample=lambda: Records(**sampler.sample()),
        sampler=sampler,
        state=initial,
        saves=saves,
        logger=RunLogger(config.logdir, resume_step=saves.latest() or 0 if resumed else None),
        seed=config.seed,
        stride=config.env.num_envs,
    )
    learning.resume(started)
    steps = learning.counters.steps
    stepper = built.stepper(config.env.num_envs, config.seed + 7919 * steps)
    carry = initial_policy(built.agent, stepper.size, config.agent.replan)
    collector = Collector(stepper, built.policy(greedy=False), carry, replay)
    print(f"{'resuming' if resumed else 'writing'} {config.logdir} at step {steps:,}")
    return Run(built, learning, collector, replay)


def open_sampler(built: Built, replay: ReplayStore) -> SequenceSampler | MixedSampler:
    """Of replay, and where asked of recordings as well.

    Raises:
      ValueError: if the share of recordings leaves either with no sequence.
    """
    config, stride = built.config, built.agent.model.stride
    rows = round(config.video_ratio * config.batch)
    sizes: dict[str, int] = {"length": config.length, "stride": stride, "seed": config.seed}
    starts = config.episode_starts
    if config.video_ratio == 0:
        return SequenceSampler(replay, batch=config.batch, **sizes, episode_starts=starts)
    if not 0 < rows < config.batch:
        raise ValueError(
            f"video_ratio: expected 1 to {config.batch - 1} of {config.batch} sequences, received "
            f"{rows}; raise --batch, or change --video-ratio"
        )
    if config.recordings is not None:
        data = DataConfig(name=str(config.recordings))
    else:
        assert config.init_from is not None  # `schema.check`
        data = load_config(PretrainConfig, config.init_from).data
    video = open_train(data)
    own = SequenceSampler(replay, batch=config.batch - rows, **sizes, episode_starts=starts)
    recorded = SequenceSampler(video, batch=rows, **sizes)
    return MixedSampler(own, recorded, marked=plans_marked(config.agent))


def shown(values: dict[str, float]) -> str:
    """Numbers of ``summary`` in one line."""
    text = "return " + plus_minus(values["return"], values.get("return_95"), 2, " (95%)")
    if "success" in values:
        text += f", success {values['success']:.0%}"
    text += f", length {values['length']:.1f} steps"
    return f"{text}; discounted {values['discounted']:.2f}, foreseen {values['foreseen']:.2f}"
