"""All settings of video pretraining, typed.

Read next: `video_presets.py`, what a preset and a size fill in; `data.py`, the data sets.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from common import Before, Count, CountOrZero, MayChange, UserError, check_bounds
from configs.data import GENERATED, DataConfig, Like
from configs.sizes import Size
from configs.tracking import Tracking
from worldmodel import ClockworkConfig, ObjectiveConfig, OptimizerConfig
from worldmodel.baselines.dlh import DLHConfig
from worldmodel.baselines.lmc import LMCConfig
from worldmodel.baselines.segments import VTAConfig, check_settings
from worldmodel.baselines.svg import SVGConfig

Preset = Literal["cwvae", "notmpabs", "rssm", "vta", "dlh", "svg", "lmc", "agent"]
BASELINES = ("vta", "dlh", "svg", "lmc")  # no clockwork models


@dataclass(frozen=True)
class PretrainConfig:
    """Train a clockwork world model on video, without an environment."""

    preset: Preset = "cwvae"
    """Model: cwvae (strides 1 6 36), notmpabs (1 1 1), rssm (1), vta (inferred segments), dlh
    (levels inferred to change or stay), svg (predicted frames fed back), lmc (the same, with a
    memory of long-term motion), or `agent`: the world model of an agent in `data.env`, to
    initialise that agent from (train_agent.py --init-from)."""
    size: Size | Literal["auto"] = "auto"
    """Model size: debug, xs, s, m, l, or paper (not with preset `agent`). `auto` is s on a CPU and
    paper on an accelerator; with preset `agent`, xs and m."""
    like: Like | Literal["auto"] = "auto"
    """Data set of the paper whose standard deviation of images and, at size paper, widths to use:
    moving_mnist, kth, mazes, or minerl. `auto`: the one that suits the generated data set; for a
    store or a folder of videos, minerl, whatever its name."""
    seed: CountOrZero = 0
    """Random seed for clips, parameters and noise."""
    logdir: MayChange[Path] = Path("runs")
    """Directory of the run; an existing run is resumed. Default: runs/DATA-PRESET-TIME."""
    steps: MayChange[Count] = 2_000
    """Updates at which the run ends."""
    batch: MayChange[Count] = 8
    """B: clips per update (paper: 100; original code: 50)."""
    devices: Annotated[MayChange[Count], Before(1)] = 1
    """Devices per process; each batch is split among them, and each holds a copy of the
    parameters."""
    length: Count = 72
    """T: frames per clip (paper: 100)."""
    context: Count = 36
    """Frames seen before open-loop prediction; a multiple of the top stride (paper: 36)."""
    streams: bool = False
    """Carry states across consecutive clips of one video, without gradient; `length` must then be a
    multiple of the top stride."""
    log_every: MayChange[Count] = 50
    """Updates between logged metrics."""
    save_every: MayChange[Count] = 500
    """Updates between checkpoints."""
    eval_every: MayChange[CountOrZero] = 500
    """Updates between evaluations on held-out video; 0: only at the end."""
    video_every: MayChange[CountOrZero] = 1_000
    """Updates between open-loop prediction videos; 0: none."""
    keep: MayChange[Count] = 2
    """Checkpoints kept on disk."""
    track: Annotated[MayChange[tuple[Tracking, ...]], Before(())] = ()
    """Also log numbers, videos and settings to `wandb` (Weights & Biases) or `trackio`, each
    installed by the extra of that name. The logs in the run's directory, TensorBoard's included,
    are always written."""
    plans_marked: Annotated[bool | None, Before(None)] = True
    """Preset `agent` only: whether the agent to be initialised keeps plans and marks them
    (`agent.keep_plan` above 0). None: as in the presets of older runs."""
    data: DataConfig = field(default_factory=DataConfig)
    """The videos."""
    model: ClockworkConfig = field(default_factory=ClockworkConfig)
    """World model."""
    vta: Annotated[VTAConfig, Before(VTAConfig())] = field(default_factory=VTAConfig)
    """Settings specific to VTA."""
    dlh: Annotated[DLHConfig, Before(DLHConfig())] = field(default_factory=DLHConfig)
    """Settings specific to DLH."""
    svg: Annotated[SVGConfig, Before(SVGConfig())] = field(default_factory=SVGConfig)
    """Settings specific to SVG-LP."""
    lmc: Annotated[LMCConfig, Before(LMCConfig())] = field(default_factory=LMCConfig)
    """Settings specific to LMC-Memory."""
    objective: ObjectiveConfig = field(default_factory=lambda: ObjectiveConfig(kl="elbo"))
    """The world model's loss."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """Optimiser."""


def check(config: PretrainConfig) -> None:
    """Raise UserError, one line with the remedy, on settings that cannot run together."""
    check_bounds(config)
    if config.preset in BASELINES:
        _check_baseline(config)
    if config.data.shard and config.data.name in GENERATED:
        raise UserError(
            f"data.shard: expected a store or a folder of videos, a separate part for each "
            f"process, received {config.data.name}, which every process would generate alike; "
            "leave out --data.shard"
        )
    stride = config.model.strides[-1]
    if config.context % stride:
        raise UserError(
            f"context: expected a multiple of the top stride {stride} frames, received "
            f"{config.context}; set --context {-(-config.context // stride) * stride}"
        )
    if (config.streams or config.model.window == "causal") and config.length % stride:
        raise UserError(
            f"length: expected a multiple of the top stride {stride} frames, received "
            f"{config.length}; set --length {-(-config.length // stride) * stride}"
        )
    if config.streams and config.model.window == "causal":
        raise UserError("streams: expected window 'lookahead', received 'causal'; drop --streams")


def _check_baseline(config: PretrainConfig) -> None:
    """Refuse settings that only clockwork models support."""
    check_settings(config.vta)
    alone = {
        "model.strides": (config.model.strides, (1,)),
        "model.window": (config.model.window, "lookahead"),
        "model.latent": (config.model.latent, "gaussian"),
        "model.half-life": (config.model.half_life, 0.0),
        "objective.kl": (config.objective.kl, "elbo"),
        "streams": (config.streams, False),
    }
    for name, (received, needed) in alone.items():
        if received != needed:
            raise UserError(
                f"{name}: expected {needed} of {config.preset}, received {received}: only "
                f"clockwork models take other values; leave out --{name}"
            )
