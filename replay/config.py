"""Limits on a store's size, the fields of its records, and the disk space that they need."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from common import Count, MayChange, Positive
from replay.chunk import Field, disk_size, record_dtype

HEADER = 1024  # bytes: more than the header of a chunk with twenty fields


@dataclass(frozen=True)
class ReplayConfig:
    """Size of the store. The oldest episodes are dropped first when either cap is exceeded, and the
    oldest steps of those that are still being written if no other is left."""

    capacity_steps: MayChange[Count] = 1_000_000
    """Cap in environment steps, over all episodes."""
    capacity_gb: MayChange[Positive] = 20.0
    """Cap in GB (1e9 bytes) on disk."""
    chunk_steps: Count = 128
    """Environment steps per file: the most that one environment loses if the process is killed."""


def standard_fields(obs: Mapping[str, Field], action: int) -> dict[str, Field]:
    """Fields of a record: `obs/<key>` for each observation, an action of A floats unless A is 0."""
    fields = {f"obs/{key}": field for key, field in obs.items()}
    if action:
        fields["action"] = Field((action,), "float32")
    return fields | {
        "action_mask": Field((), "float32"),
        "reward": Field((), "float32"),
        "terminal": Field((), "bool"),
        "is_first": Field((), "bool"),
    }


def size_at_capacity(fields: Mapping[str, Field], config: ReplayConfig) -> tuple[int, int]:
    """(environment steps, bytes on disk) of a full store, for episodes much longer than a chunk."""
    chunk = disk_size(config.chunk_steps * record_dtype(fields).itemsize + HEADER)
    by_size = int(config.capacity_gb * 1e9 / chunk * config.chunk_steps)
    steps = min(config.capacity_steps, by_size)
    return steps, round(steps / config.chunk_steps * chunk)


def describe_size(
    fields: Mapping[str, Field], config: ReplayConfig, directory: str | Path | None = None
) -> str:
    """One line on what a full store occupies and, given a directory, on the free space there."""
    steps, size = size_at_capacity(fields, config)
    line = (
        f"replay: {steps:,} steps of {record_dtype(fields).itemsize:,} B = {_size(size)} on disk "
        f"at capacity (caps: {config.capacity_steps:,} steps, {config.capacity_gb:g} GB); files of "
        f"{config.chunk_steps} steps, at least one per episode"
    )
    if directory is None:
        return line
    free = free_bytes(directory)
    if free < size:
        return f"{line}; ONLY {_size(free)} FREE: lower replay.capacity_gb or make room"
    return f"{line}; {_size(free)} free"


def free_bytes(directory: str | Path) -> int:
    """Space for a store in `directory`: free space plus what the store's chunks already occupy."""
    place = Path(directory).absolute()
    held = sum(disk_size(path.stat().st_size) for path in place.glob("chunks/*.npy"))
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free + held


def _size(size: float) -> str:
    return f"{size / 1e9:,.2f} GB" if size >= 1e8 else f"{size / 1e6:,.2f} MB"
