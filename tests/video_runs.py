"""Runs that have not learned anything yet, for what reads runs."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from fixtures.models import drawn_params

from configs.video_presets import parse_pretrain
from recordings.data import data_fields
from training.build_video import BuiltVideo, video_spaces
from training.checkpoint import CheckpointStore
from training.config_io import write_run_files
from training.spaces import keep_spaces
from worldmodel.learner import Learner, TrainState


def first_state(learner: Learner[Any]) -> TrainState:
    """A state before any update, which no program makes: parameters by numpy, zeros elsewhere."""
    shapes = learner.abstract()
    params = drawn_params(shapes.params, 0.0)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    average = params if jax.tree.leaves(shapes.average) else ()
    return zeros._replace(params=params, average=average)


def make_run(logdir: Path, *flags: object) -> Path:
    """A run of `pretrain_video.py` with these flags, at update 7."""
    config = replace(parse_pretrain([str(x) for x in flags], False, "float32"), logdir=logdir)
    built = BuiltVideo(config, video_spaces(config, data_fields(config.data)))
    saves = CheckpointStore(logdir / "checkpoints", 1)
    saves.save(7, first_state(built), {})
    saves.close()
    write_run_files(logdir, config)
    keep_spaces(logdir, built.spaces)
    return logdir
