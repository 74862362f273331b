"""Typed settings of runs, with presets per environment or data set. Read `schema.py` first."""

from configs.cli import parse_train
from configs.presets import resolve
from configs.schema import TrainConfig, check

__all__ = ["TrainConfig", "check", "parse_train", "resolve"]
