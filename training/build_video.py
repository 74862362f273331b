"""Build a video model from the settings of pretraining, or load a trained model from its run."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx
from gymnasium import Space, spaces

from agents import ActionCodec
from configs.presets import resolve
from configs.video import PretrainConfig
from envs import EnvConfig, as_said
from recordings.data import data_fields, images_of, is_there, unplaced
from replay import ClipSampler, Field, ReplayStore, SequenceSampler, first_steps
from replay.recorded import with_width
from training import hosts
from training.checkpoint import restore_newest
from training.config_io import holds_run, load_config, read_config
from training.overview import video_overview
from training.spaces import Spaces, ask, read_spaces
from worldmodel.baselines.dlh import DLH
from worldmodel.baselines.lmc import LMC
from worldmodel.baselines.svg import SVG
from worldmodel.baselines.vta import VTA
from worldmodel.clockwork_video import ClockworkVideo
from worldmodel.learner import Learner, Params, make_optimizer
from worldmodel.pretraining import estimate, initial_aux, make_loss
from worldmodel.records import Records
from worldmodel.video_model import Clips, VideoModel


def clockwork(config: PretrainConfig, spaces: Spaces, rngs: nnx.Rngs) -> VideoModel:
    """Build a CW-VAE, NoTmpAbs, RSSM, or the world model of an agent."""
    return ClockworkVideo(config.model, spaces.shapes, spaces.width, config.objective, rngs)


MODELS: dict[str, Callable[[PretrainConfig, Spaces, nnx.Rngs], VideoModel]] = {
    "dlh": lambda config, spaces, rngs: DLH(config.model, config.dlh, spaces.shapes, rngs),
    "lmc": lambda config, spaces, rngs: LMC(config.model, config.lmc, spaces.shapes, rngs),
    "svg": lambda config, spaces, rngs: SVG(config.model, config.svg, spaces.shapes, rngs),
    "vta": lambda config, spaces, rngs: VTA(config.model, config.vta, spaces.shapes, rngs),
}
"""Models by preset; all other presets are clockwork models. To add a model, add a row here and its
name in `configs/video.py`."""


class BuiltVideo(Learner[VideoModel]):
    """The model described by a config: module and update.

    Args:
      spaces: the observations and actions that it reads (`video_spaces`).
    """

    def __init__(self, config: PretrainConfig, spaces: Spaces):
        self.config, self.spaces, self.marked = config, spaces, marks_plans(config)
        super().__init__(
            self._model,
            make_loss,
            lambda _, model: initial_aux(model, config.batch, config.streams),
            make_optimizer(config.optimizer),
            estimate,
        )
        self.model = self.module

    def _model(self) -> VideoModel:
        make = MODELS.get(self.config.preset, clockwork)
        return make(self.config, self.spaces, nnx.Rngs(self.config.seed))

    def sampler(self, store: ReplayStore, after: int = 0) -> SequenceSampler:
        """Sampler of clips or, for a causal model, of sequences with their lead-in. It draws this
        process's rows of each batch, from videos shared by all processes or from its own shard.

        Args:
          after: updates made so far; with shards, sampling restarts there with a new seed.
        """
        c = self.config
        sizes: dict[str, Any] = {"batch": c.batch, "length": c.length, "seed": c.seed}
        if c.data.shard:
            sizes["batch"] = hosts.share("batch", c.batch)
            sizes["seed"] += hosts.OTHER_PROCESS * hosts.index() + LATER * after
        else:
            sizes["share"] = hosts.index(), hosts.count()
        if c.model.window == "causal":
            return SequenceSampler(store, stride=c.model.strides[-1], **sizes)
        return ClipSampler(store, streams=c.streams, **sizes)

    def clips(self, batch: dict[str, Any]) -> Clips:
        """Convert a sampled batch to the form that the loss takes."""
        continues = batch.get("continues", np.zeros(len(batch["mask"]), bool))
        return Clips(to_records(batch, self.spaces.width, self.marked), continues)


def video_spaces(config: PretrainConfig, fields: Mapping[str, Field]) -> Spaces:
    """Spaces of what a world model reads from a data set; for an agent's model, the actions are
    those of its environment, as replayed."""
    obs = {name: field for name, field in fields.items() if name.startswith("obs/")}
    seen = [(name.removeprefix("obs/"), _box(field)) for name, field in obs.items()]
    shapes = {name: tuple(space.shape or ()) for name, space in seen}
    if config.preset == "agent":
        agent = resolve("auto", config.data.env, "auto", False, "float32")
        width = ActionCodec(ask(agent).action).width + marks_plans(config)
    else:
        width = fields["action"].shape[0] if "action" in fields else 0
    action = spaces.Box(-1.0, 1.0, (width,), np.float32)
    return Spaces(spaces.Dict(seen), action, video_overview(shapes, images_of(config.data)))


def _box(field: Field) -> Space[Any]:
    low, high = (0, 255) if field.dtype == "uint8" else (-np.inf, np.inf)
    return spaces.Box(low, high, field.shape, np.dtype(field.dtype).type)


MARKED_BEFORE = "dmc:", "gym:Pendulum-v1", "pure:"
"""Environments whose presets already marked plans before all presets did (docs/adr/0031)."""


def marks_plans(config: PretrainConfig) -> bool:
    """Whether the model belongs to an agent whose actions carry plan marks."""
    if config.preset != "agent":
        return False
    marked = config.plans_marked
    if marked is None:
        marked = (config.data.env or "").startswith(MARKED_BEFORE)
    return marked and config.model.strides[-1] > 1


def to_records(batch: dict[str, Any], action_width: int, marked: bool) -> Records:
    """Convert a sampled batch to records, with its actions fitted by `replay.recorded.with_width`.

    Raises:
      UserError: if the width of the store's actions differs from the model's.
    """
    fitted = with_width(batch, action_width, marked)
    return Records(**{name: fitted[name] for name in Records._fields})


def beginnings(
    model: VideoModel, store: ReplayStore, count: int, length: int, marked: bool
) -> Records:
    """The first ``length`` records of the first ``count`` episodes of a store that are long enough,
    [count, length, ...]; ``marked`` as in ``to_records``.

    Raises:
      UserError: if there are fewer such episodes.
    """
    return to_records(first_steps(store, count, length), model.action_width, marked)


def with_lead(model: VideoModel, records: Records) -> Records:
    """Prepend the empty lead-in that the model's loss expects, if any, to records that begin with
    an episode's first."""

    def before(x: np.ndarray) -> np.ndarray:
        return np.pad(x, [(0, 0), (model.lead, 0), *[(0, 0)] * (x.ndim - 2)])

    return jax.tree.map(before, records)


LATER = 7_919  # seed increment per update made before sampling restarts


class VideoRun(NamedTuple):
    """A trained model loaded from its run."""

    config: PretrainConfig
    spaces: Spaces
    model: VideoModel  # with its parameters
    params: Params
    step: int  # updates trained


def is_video_run(run: Path) -> bool:
    """Whether a directory is a run of pretrain_video.py."""
    return holds_run(run) and "data" in read_config(run)


def read_video_config(run: Path, env: str | None = None) -> PretrainConfig:
    """Read the settings of a run of pretrain_video.py. If the run's data are missing on this
    machine, the settings point to the default data folder instead.

    Args:
      env: the name of the environment of its data as given by the user.
    Raises:
      UserError: if there is no run, or its data come from an environment that cannot be trusted.
    """
    config = load_config(PretrainConfig, run)
    if config.data.env:
        named = as_said(EnvConfig(config.data.env), env, run).name
        config = replace(config, data=replace(config.data, env=named))
    return config if is_there(config.data) else replace(config, data=unplaced(config.data))


def kept_video_settings(logdir: Path, env: str | None) -> PretrainConfig | None:
    """Settings of the run in a directory, as `read_video_config`; None if it has no video run. They
    stay as they were, even if the presets have changed since."""
    return read_video_config(logdir, env) if is_video_run(logdir) else None


def load_video_run(run: Path) -> VideoRun:
    """Load a trained world model from its run's directory.

    Raises:
      UserError: as `read_video_config`, or if there is no checkpoint or it does not fit the config.
    """
    config = read_video_config(run)
    found = read_spaces(run) or video_spaces(config, data_fields(config.data))
    built = BuiltVideo(config, found)
    restored = restore_newest(run, built.abstract())
    params = restored.state.params
    return VideoRun(config, found, built.join(params), params, restored.step)
