"""Replay: episodes on disk, sampled by memory map. Read `store.py`, then `sampler.py`."""

from replay.prefetch import Prefetcher
from replay.sampler import SequenceSampler
from replay.store import Field, ReplayConfig, ReplayStore, estimate, read_fields, standard_fields

__all__ = [
    "Field",
    "Prefetcher",
    "ReplayConfig",
    "ReplayStore",
    "SequenceSampler",
    "estimate",
    "read_fields",
    "standard_fields",
]
