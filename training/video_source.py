"""The `Source` of a video model's run: training videos and held-out ones.

Read next: `worldmodel/pretraining.py`, the loss; `configs/video_presets.py`, the paper's settings.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from agents.driver import Episode
from common import UserError
from configs.video import PretrainConfig
from recordings.data import open_stores
from replay import ReplayStore
from training import hosts
from training.build_video import BuiltVideo, beginnings, video_spaces, with_lead
from training.config_io import holds_run, load_config
from training.labels import imagined_texts
from training.loop import FPS, Evaluation
from training.overview import lines
from training.picture import true_above_imagined
from training.video import Film, labelled, write_video
from worldmodel.learner import Metrics, Params, TrainState
from worldmodel.openloop import predict_video
from worldmodel.records import Records
from worldmodel.video_model import Clips

HELD_OUT = 16  # videos on which the loss is evaluated
SHOWN = 4  # videos side by side


def cut_window(length: int, stride: int) -> str:
    """A warning if clips end within a tick of the top level, which then learns to remember for
    less long (docs/adr/0030); empty if clips consist of whole ticks."""
    if not length % stride:
        return ""
    whole = max(stride, round(length / stride) * stride)
    return (
        f"clips of {length} frames end within a tick of the top level ({stride} frames); --length "
        f"{whole} would let it remember longer\n"
    )


def check_batch(config: PretrainConfig) -> None:
    """Raise UserError if a run that carries states across clips is resumed with another batch."""
    if config.streams and holds_run(config.logdir):
        before = load_config(PretrainConfig, config.logdir).batch
        if config.batch != before:
            raise UserError(
                f"batch: expected {before}, received {config.batch}: with --streams, a state for "
                f"each of the {before} clips is carried on; set --batch {before}"
            )


def check_lengths(config: PretrainConfig, train: ReplayStore, held_out: ReplayStore) -> None:
    """Raise UserError, with lengths that fit, if videos are too short to learn or to evaluate."""
    evaluated = max(config.length, 2 * config.context)
    longest = train.index.longest, whole_of(held_out)
    clips = config.model.window == "lookahead"  # causal models are taught short episodes too
    if (longest[0] >= config.length or not clips) and longest[1] >= evaluated:
        return
    stride, most = config.model.strides[-1], min(longest)
    context, length = most // 2 // stride * stride, min(config.length, most // stride * stride)
    remedy = f"set --context {context} --length {length}"
    if not context:
        remedy = f"lower --strides, whose top ticks every {stride} frames"
    raise UserError(
        f"data: expected videos of {config.length} frames to train on (--length) and of "
        f"{evaluated} held out (also twice --context), received at most {longest[0]} and "
        f"{longest[1]}; {remedy}, or give longer videos"
    )


def whole_of(store: ReplayStore) -> int:
    """Frames of the longest video that is there from its beginning."""
    return max((s.steps for s in store.index.segments if s.whole), default=0)


class VideoSource:
    """Clips of the videos of a data set; a step is an update."""

    acts, stride = False, 1

    def __init__(self, config: PretrainConfig):
        check_batch(config)
        train_store, test_store = open_stores(config.data)
        print(
            f"data: {train_store.steps:,} frames in {train_store.episodes:,} videos for training, "
            f"{test_store.steps:,} in {test_store.episodes:,} held out"
        )
        check_lengths(config, train_store, test_store)
        print(end=cut_window(config.length, config.model.strides[-1]))
        self.config, self.spaces = config, video_spaces(config, train_store.fields)
        print(lines(self.spaces.overview))
        self.learner = BuiltVideo(config, self.spaces)
        self.shared, self.store = not config.data.shard, train_store
        self.sampler = self.learner.sampler(train_store)
        self.held_out = held_out_records(self.learner, test_store)
        self.counts = [[x.steps, x.episodes] for x in (train_store, test_store)]

    def first_state(self) -> TrainState:
        """The state before the first update."""
        return self.learner.initial()

    def start(
        self, steps: int, sampler: Mapping[str, Any] | None, carry: Mapping[str, Any] | None
    ) -> None:
        """Resume sampling where the run was saved; with shards (`data.shard`), restart it."""
        if not self.shared:
            fields = {name: [*f.shape, f.dtype] for name, f in self.store.fields.items()}
            hosts.check_same("data: fields of the records", fields)
            self.sampler = self.learner.sampler(self.store, steps)
            return
        hosts.check_same("data: frames and videos", self.counts)
        if sampler is not None:
            self.sampler.restore(dict(sampler))

    def carry(self) -> None:
        """None: the states of streams belong to the learner."""

    def act(self, params: Params, key: Any) -> list[Episode]:
        """Do nothing: there are no environments."""
        return []

    def arrive(self) -> list[Episode]:
        """Do nothing, as `act`."""
        return []

    def owed(self, steps: int) -> int:
        """Number of updates due: one per step."""
        return steps

    def sample(self) -> Clips:
        """A batch of clips."""
        return self.learner.clips(self.sampler.sample())

    def sampler_state(self) -> dict[str, Any]:
        """State of the random draws, as JSON-compatible values."""
        return self.sampler.state()

    def stored(self, updates: int) -> dict[str, float]:
        """Number of frames seen so far."""
        return {"data/frames_seen": updates * self.config.batch * self.config.length}

    def show(self, state: TrainState, key: Any) -> np.ndarray:
        """Open-loop prediction of held-out videos."""
        return self._film(state, key).frames

    def _film(self, state: TrainState, key: Any) -> Film:
        """The same, with a label above each frame: seen or imagined."""
        records = jax.tree.map(lambda x: x[:SHOWN], self.held_out)
        loop = self._predict(state.params, records, key)
        true, drawn = jax.device_get((loop.true, loop.predicted))
        context = int(loop.context)
        frames = true_above_imagined(true, drawn, context)
        return Film(frames, imagined_texts(len(frames), context))

    def evaluate(self, state: TrainState, key: Any) -> Evaluation:
        """The loss and its parts on held-out videos."""
        records = with_lead(self.learner.module, self.held_out)
        found = jax.device_get(self._loss(state.params, records, key))
        values = {name: float(value) for name, value in found.items()}
        return Evaluation(values, told(values), None, -values["loss/model"])

    def write_film(self, state: TrainState, film: Film | None, key: Any) -> None:
        """Write an open-loop prediction of held-out videos."""
        path = self.config.logdir / "predicted.mp4"
        write_video(path, labelled(self._film(state, key)), FPS)
        print(f"open-loop prediction, true above predicted: {path}")

    def close(self) -> None:
        """Do nothing: there is nothing to close."""

    @cached_property
    def _loss(self) -> Any:
        """The loss's metrics: a jitted function of (params, records, key)."""

        def loss(params: Params, records: Records, key: PRNGKeyArray) -> Metrics:
            return self.learner.join(params).loss(records, key)[1]

        return jax.jit(loss)

    @cached_property
    def _predict(self) -> Any:
        """Open-loop prediction: a jitted function of (params, records, key)."""
        context = self.config.context
        return jax.jit(lambda p, r, k: predict_video(self.learner.join(p), r, context, k))


def told(values: Mapping[str, float]) -> str:
    """An evaluation in one line: the loss and, for models with levels, their KL."""
    parts = [f"{name} {value:.2f}" for name, value in values.items() if name.startswith("kl/")]
    loss = f"held out: loss {values['loss/model']:.2f} nats per frame"
    return "; ".join(filter(None, [loss, ", ".join(parts)]))


def held_out_records(built: BuiltVideo, store: ReplayStore) -> Records:
    """The beginnings of held-out videos, as long as a clip or twice the context, if that is longer.

    Raises:
      UserError: if no held-out video is that long.
    """
    config = built.config
    length = max(config.length, 2 * config.context)
    long = sum(s.whole and s.steps >= length for s in store.index.segments)
    return beginnings(built.model, store, max(1, min(HELD_OUT, long)), length, built.marked)
