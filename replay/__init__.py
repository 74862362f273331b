"""Replay: episodes on disk, sampled through memory maps. Read `store.py`, then `sampler.py`."""

from replay.clips import ClipSampler
from replay.episodes import first_steps
from replay.mixed import MixedSampler
from replay.sampler import SequenceSampler
from replay.store import (
    Field,
    ReplayConfig,
    ReplayStore,
    describe_size,
    read_fields,
    standard_fields,
)

__all__ = [
    "ClipSampler",
    "Field",
    "MixedSampler",
    "ReplayConfig",
    "ReplayStore",
    "SequenceSampler",
    "describe_size",
    "first_steps",
    "read_fields",
    "standard_fields",
]
