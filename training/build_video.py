"""From the settings of video pretraining to its objects, and a trained model back from its run."""

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from agents import ActionCodec
from agents.agent import action_width as agent_width
from agents.agent import plans_marked
from configs.presets import resolve
from configs.video import PretrainConfig
from recordings.data import data_fields
from replay import ClipSampler, Field, ReplayStore, SequenceSampler, first_steps
from replay.recorded import with_width
from training.build import Spaces
from training.checkpoint import CheckpointStore
from training.config_io import CONFIG, holds_run, load_config
from worldmodel import ClockworkVAE
from worldmodel.learner import (
    Params,
    TrainState,
    initial_state,
    join,
    make_optimizer,
    make_update,
    split,
)
from worldmodel.pretraining import Clips, estimate, initial_aux, make_loss
from worldmodel.records import Records


class BuiltVideo:
    """The world model of a config over a data set's observations: module and update.

    Args:
      fields: of the data set's records.
    """

    def __init__(self, config: PretrainConfig, fields: Mapping[str, Field]):
        self.config, self.width = config, action_width(config, fields)
        self.marked = marks_plans(config)
        self.shapes = {
            name.removeprefix("obs/"): tuple(field.shape)
            for name, field in fields.items()
            if name.startswith("obs/")
        }
        self.model: ClockworkVAE = nnx.eval_shape(self._model)  # its parameters are shapes only
        self.optimizer = make_optimizer(config.optimizer)
        self.graph, _ = split(self.model)

    def _model(self) -> ClockworkVAE:
        rngs = nnx.Rngs(self.config.seed)
        return ClockworkVAE(self.config.model, self.shapes, self.width, rngs)

    @cached_property
    def update(self) -> Any:
        """The jitted update."""
        config = self.config
        loss = make_loss(self.graph, config.objective, config.streams)
        return make_update(loss, self.optimizer, estimate=estimate)

    def join(self, params: Params) -> ClockworkVAE:
        """The model with these parameters."""
        model: ClockworkVAE = join(self.graph, params)
        return model

    def initial(self) -> TrainState:
        """State before the first update."""
        params = jax.jit(lambda: split(self._model())[1])()  # one program, not one per array
        aux = initial_aux(self.model, self.config.batch, self.config.streams)
        return initial_state(params, aux, self.optimizer)

    def sampler(self, store: ReplayStore) -> SequenceSampler:
        """Clips, or for a causal model sequences with their lead-in."""
        c = self.config
        if c.model.window == "causal":
            return SequenceSampler(
                store, batch=c.batch, length=c.length, stride=self.model.stride, seed=c.seed
            )
        return ClipSampler(store, batch=c.batch, length=c.length, streams=c.streams, seed=c.seed)

    def clips(self, batch: dict[str, Any]) -> Clips:
        """A sampled batch as the loss takes it."""
        continues = batch.get("continues", np.zeros(len(batch["mask"]), bool))
        return Clips(to_records(batch, self.width, self.marked), continues)


def action_width(config: PretrainConfig, fields: Mapping[str, Field]) -> int:
    """Floats of an action: the data's, or for an agent's model those of its environment."""
    if config.preset == "agent":
        agent = resolve("auto", config.data.env, "auto", False, "float32")
        return agent_width(agent.agent, ActionCodec(Spaces.of(agent).action, agent.agent.actions))
    return fields["action"].shape[0] if "action" in fields else 0


def marks_plans(config: PretrainConfig) -> bool:
    """Whether the model is that of an agent whose actions carry a mark of plans."""
    if config.preset != "agent":
        return False
    return plans_marked(resolve("auto", config.data.env, "auto", False, "float32").agent)


def to_records(batch: dict[str, Any], action_width: int, marked: bool) -> Records:
    """A sampled batch as records, its actions as `replay.recorded.with_width` gives them.

    Raises:
      ValueError: if the store's actions are of another width than the model's.
    """
    fitted = with_width(batch, action_width, marked)
    return Records(**{name: fitted[name] for name in Records._fields})


def beginnings(
    model: ClockworkVAE, store: ReplayStore, count: int, length: int, marked: bool
) -> Records:
    """The first ``length`` records of the first ``count`` episodes of a store that have as many,
    after an empty lead-in where the model wants one: [count, lead+length, ...]; ``marked`` as in
    ``to_records``.

    Raises:
      ValueError: if there are fewer such episodes.
    """
    records = to_records(first_steps(store, count, length), model.action_width, marked)

    def before(x: np.ndarray) -> np.ndarray:
        return np.pad(x, [(0, 0), (model.lead, 0), *[(0, 0)] * (x.ndim - 2)])

    return jax.tree.map(before, records)


class VideoRun(NamedTuple):
    """A trained world model from its run."""

    config: PretrainConfig
    model: ClockworkVAE  # with its parameters
    params: Params
    step: int  # updates trained


def is_video_run(run: Path) -> bool:
    """Whether a directory is a run of pretrain_video.py."""
    return holds_run(run) and "data" in json.loads((run / CONFIG).read_text(encoding="utf-8"))


def load_video_run(run: Path) -> VideoRun:
    """A trained world model from its directory.

    Raises:
      ValueError: if there is no run, no checkpoint, or it does not fit its config.
    """
    config = load_config(PretrainConfig, run)
    built = BuiltVideo(config, data_fields(config.data))
    saves = CheckpointStore(run / "checkpoints", config.keep)
    restored = saves.restore(jax.eval_shape(built.initial))
    saves.close()
    params = restored.state.params
    return VideoRun(config, built.join(params), params, restored.step)


def start_from(state: TrainState, run: Path) -> TrainState:
    """An agent's first state with the world model of a pretraining run in place of its own.

    Raises:
      ValueError: if there is no such run, or its model is another one.
    """
    loaded = load_video_run(run)
    ours = {jax.tree_util.keystr(k): x.shape for k, x in _leaves(state.params["model"])}
    theirs = {jax.tree_util.keystr(k): x.shape for k, x in _leaves(loaded.params)}
    different = sorted(k for k in ours.keys() | theirs.keys() if ours.get(k) != theirs.get(k))
    if different:
        first = different[0]
        raise ValueError(
            f"init_from: expected the agent's world model, with {first} of shape "
            f"{ours.get(first, 'none')}, received {theirs.get(first, 'none')} in {run} and "
            f"{len(different) - 1} more differences; pretrain it with --preset agent, --data.env "
            "of this environment, and the same strides and size"
        )
    print(f"world model of {run}, {loaded.step:,} updates on {loaded.config.data.name}")
    average = {**state.average, "model": jax.tree.map(jnp.array, loaded.params)}  # both are donated
    return state._replace(params={**state.params, "model": loaded.params}, average=average)


def _leaves(params: Params) -> list[tuple[Any, Any]]:
    return jax.tree_util.tree_leaves_with_path(params)
