"""All settings of a training run, typed; the nested dataclasses live beside what they configure.

Read next: `presets.py`, what a preset or a size fills in; `cli.py`, how flags override it.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Lt

from agents import AgentConfig
from agents.agent import check_agent
from common import (
    Before,
    Count,
    CountOrZero,
    MayChange,
    NonNegative,
    UserError,
    check_bounds,
)
from configs.sizes import AgentSize
from configs.tracking import Tracking
from envs import EnvConfig
from envs.config import NAVIGATE
from envs.options import navigate_options
from replay import ReplayConfig
from worldmodel import OptimizerConfig

EVAL_STEPS = 10_000  # after which an evaluation episode is cut
WINDOWS = 8  # minimum top-level windows per sequence: with fewer it hardly learns to remember


@dataclass(frozen=True)
class TrainConfig:
    """Train a clockwork agent. Each line gives its unit; an `environment step` is one action of the
    agent, held for `env.action_repeat` frames."""

    preset: str = "auto"
    """Preset to start from: a file of configs/, or `auto` for the environment's own."""
    size: AgentSize | Literal["auto"] = "auto"
    """Model size: `auto` is m on an accelerator and xs on a CPU; with preset dmc_pixels, s on a
    CPU."""
    seed: CountOrZero = 0
    """Random seed for environments, replay, parameters and noise."""
    logdir: MayChange[Path] = Path("runs")
    """Directory of the run; an existing run is resumed. Default: runs/ENV-TIME."""
    steps: MayChange[Count] = 20_000
    """Environment steps at which the run ends, summed over all environments."""
    prefill: CountOrZero = 1_000
    """Environment steps collected before the first update."""
    updates_per_step: MayChange[NonNegative] = 0.2
    """Gradient updates per environment step."""
    overlap: Annotated[MayChange[bool], Before(False)] = True
    """Async environments only: step them while updates are computed. Their actions then come from
    parameters one update old, and updates lack the newest step. Off: exactly as in one process."""
    batch: MayChange[Count] = 16
    """B: sequences per update."""
    devices: Annotated[MayChange[Count], Before(1)] = 1
    """Devices per process; each batch is split among them, and each holds a copy of the
    parameters."""
    length: Count = 64
    """T: environment steps per sequence, rounded up to whole windows; at least 8 windows."""
    init_from: Path | None = None
    """Run to initialise the parameters from: a train_agent.py run with the same environment,
    strides and size (the whole agent), or a pretrain_video.py run with --preset agent (its world
    model)."""
    recordings: Path | None = None
    """Store of recordings or demonstrations to draw a share of each batch from; None: the videos or
    the replay of the run given by `init_from`."""
    recordings_share: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Share of each batch's sequences that are recordings: video or, where they hold actions and
    rewards, demonstrations."""
    log_every: MayChange[Count] = 500
    """Environment steps between logged metrics."""
    save_every: MayChange[Count] = 5_000
    """Environment steps between checkpoints."""
    eval_every: MayChange[CountOrZero] = 5_000
    """Environment steps between evaluations; 0: only at the end."""
    video_every: MayChange[CountOrZero] = 5_000
    """Environment steps between open-loop prediction videos; 0: none."""
    eval_episodes: MayChange[CountOrZero] = 8
    """Episodes per evaluation, each with its own seed, the same seeds every time; 0: no
    evaluation."""
    report: MayChange[bool] = True
    """Write `report.html` at the end (analyse_agent.py can also write it later)."""
    keep: MayChange[Count] = 2
    """Checkpoints kept on disk."""
    track: Annotated[MayChange[tuple[Tracking, ...]], Before(())] = ()
    """Also log numbers, videos and settings to `wandb` (Weights & Biases) or `trackio`, each
    installed by the extra of that name. The logs in the run's directory, TensorBoard's included,
    are always written."""
    env: EnvConfig = field(default_factory=EnvConfig)
    """The environment."""
    agent: AgentConfig = field(default_factory=AgentConfig)
    """World model, actor and critic."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """Optimiser."""
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    """Episodes on disk."""

    @property
    def sequence(self) -> int:
        """Environment steps per training sequence: T rounded up to whole windows."""
        stride = self.agent.model.strides[-1]
        return max(WINDOWS, -(-self.length // stride)) * stride

    @property
    def eval_steps(self) -> int:
        """Environment steps after which an evaluation episode is cut: 10 000, or as many as
        `env.time_limit` allows if that is more."""
        return max(EVAL_STEPS, -(-(self.env.time_limit or 0) // self.env.action_repeat))

    @property
    def recorded_rows(self) -> int:
        """Number of sequences per batch that are recordings."""
        return round(self.recordings_share * self.batch)


def check(config: TrainConfig) -> None:
    """Raise UserError, one line with the remedy, on settings that cannot run together."""
    check_bounds(config)
    check_agent(config.agent)
    if config.env.name == NAVIGATE:
        navigate_options(config.env)
    _check_recordings(config)
    if config.updates_per_step and (config.steps - config.prefill) * config.updates_per_step < 1:
        raise UserError(
            f"steps: expected enough for one update, received {config.steps:,} of which "
            f"{config.prefill:,} are --prefill, and {config.updates_per_step:g} updates per step "
            "after it; raise --steps, or lower --prefill"
        )


def _check_recordings(config: TrainConfig) -> None:
    if config.recordings_share and config.init_from is None and config.recordings is None:
        raise UserError(
            f"recordings_share: received {config.recordings_share:g} and no recordings; name a "
            "store of them with --recordings, or a run with --init-from"
        )
    rows = config.recorded_rows
    if config.recordings_share and not 0 < rows < config.batch:
        raise UserError(
            f"recordings_share: expected 1 to {config.batch - 1} of {config.batch} sequences, "
            f"received {rows}; raise --batch, or change --recordings-share"
        )
    if config.recordings is not None and not any(
        (config.recordings / split / "store.json").exists() for split in ("", "train")
    ):
        raise UserError(
            f"recordings: expected a store, received {config.recordings}; make one with "
            "python -m recordings"
        )
    if config.recordings is not None and not config.recordings_share:
        raise UserError(
            f"recordings: received {config.recordings} and no share of the batches; set "
            "--recordings-share, such as 0.5"
        )
