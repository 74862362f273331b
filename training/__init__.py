"""Training runs, and what they write to disk: logs, videos, checkpoints, configuration."""

from training.checkpoint import CheckpointStore, Restored
from training.config_io import (
    check_same_config,
    holds_run,
    load_config,
    write_run_files,
)
from training.device import (
    Accelerator,
    choose_device,
    cpu_cores,
    enable_compilation_cache,
    keep_freed_memory,
    memory_use,
)
from training.logger import RunLogger
from training.metrics import read_metrics
from training.progress import Progress
from training.video import encode_gif, labelled, stack_rows, upscale, write_video

__all__ = [
    "Accelerator",
    "CheckpointStore",
    "Progress",
    "Restored",
    "RunLogger",
    "check_same_config",
    "choose_device",
    "cpu_cores",
    "enable_compilation_cache",
    "encode_gif",
    "holds_run",
    "keep_freed_memory",
    "labelled",
    "load_config",
    "memory_use",
    "read_metrics",
    "stack_rows",
    "upscale",
    "write_run_files",
    "write_video",
]
