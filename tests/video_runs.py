"""Runs of `pretrain_video.py` that have not learned anything yet, for what reads runs."""

from dataclasses import replace
from pathlib import Path

from configs.video_presets import parse_pretrain
from recordings.data import data_fields
from training.build_video import BuiltVideo, video_spaces
from training.checkpoint import CheckpointStore
from training.config_io import write_run_files
from training.spaces import keep_spaces


def make_run(logdir: Path, *flags: object) -> Path:
    """A run of these flags at update 7, its parameters as at the start."""
    config = replace(parse_pretrain([str(x) for x in flags], False, "float32"), logdir=logdir)
    built = BuiltVideo(config, video_spaces(config, data_fields(config.data)))
    saves = CheckpointStore(logdir / "checkpoints", 1)
    saves.save(7, built.initial(), {})
    saves.close()
    write_run_files(logdir, config)
    keep_spaces(logdir, built.spaces)
    return logdir
