"""All settings of a training run, typed, composed from the dataclasses beside what they configure.

Read next: `presets.py`, what a name or a size fills in; `cli.py`, how flags override it.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from agents import AgentConfig
from agents.agent import check_agent
from common import MayChange
from envs import EnvConfig
from replay import ReplayConfig
from worldmodel import OptimizerConfig

Size = Literal["debug", "xs", "s", "m", "l"]


@dataclass(frozen=True)
class TrainConfig:
    """Train a clockwork agent. Units are in each line; `environment steps` are the agent's own,
    each of `env.action_repeat` ticks."""

    preset: str = "auto"
    """Settings to start from: a file of configs/, or `auto` for the one of the environment."""
    size: Size | Literal["auto"] = "auto"
    """Model size: `auto` is s on a CPU and m on an accelerator."""
    seed: int = 0
    """Of everything random: environments, replay, parameters, noise."""
    logdir: MayChange[Path] = Path("runs")
    """Directory of the run; an existing one is resumed. Default: runs/ENV-TIME."""
    steps: MayChange[int] = 20_000
    """Environment steps at which the run ends, over all environments."""
    prefill: int = 1_000
    """Environment steps before the first update."""
    updates_per_step: MayChange[float] = 0.2
    """Gradient updates per environment step."""
    batch: MayChange[int] = 16
    """B: sequences per update."""
    length: int = 64
    """T: environment steps per sequence, a multiple of the top stride."""
    episode_starts: float = 0.0
    """Share of sequences that begin at an episode's first step, in place of any: for tasks of
    memory, with a length that reaches from what is to be remembered to where it matters."""
    init_from: Path | None = None
    """Run of pretrain_video.py (--preset agent) whose world model to start from."""
    recordings: Path | None = None
    """Store (of recordings, or of demonstrations) that batches are shared with; None: that
    of `init_from`."""
    video_ratio: float = 0.0
    """Share of each batch's sequences that are recordings: video, or where they hold actions and
    rewards, demonstrations."""
    log_every: MayChange[int] = 500
    """Environment steps between lines of metrics."""
    save_every: MayChange[int] = 5_000
    """Environment steps between checkpoints."""
    eval_every: MayChange[int] = 5_000
    """Environment steps between evaluations; 0: only at the end."""
    video_every: MayChange[int] = 5_000
    """Environment steps between open-loop prediction videos; 0: none."""
    eval_episodes: MayChange[int] = 8
    """Episodes per evaluation, each in an environment of its own, same seeds every time."""
    report: MayChange[bool] = True
    """Write `report.html` at the end (analyse_agent.py writes it later as well)."""
    keep: MayChange[int] = 2
    """Checkpoints kept on disk."""
    env: EnvConfig = field(default_factory=EnvConfig)
    """The environment."""
    agent: AgentConfig = field(default_factory=AgentConfig)
    """World model, actor and critic."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """Gradient descent."""
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    """Episodes on disk."""


def check(config: TrainConfig) -> None:
    """Raises ValueError, one line with the remedy, on settings that cannot run together."""
    check_agent(config.agent)
    positive = {
        "steps": config.steps,
        "batch": config.batch,
        "length": config.length,
        "log_every": config.log_every,
        "save_every": config.save_every,
        "eval_episodes": config.eval_episodes,
        "env.num_envs": config.env.num_envs,
    }
    for name, value in positive.items():
        if value < 1:
            raise ValueError(f"{name}: expected 1 or more, received {value}; raise --{name}")
    if config.updates_per_step < 0:
        raise ValueError(
            f"updates_per_step: expected 0 or more, received {config.updates_per_step:g}"
        )
    _check_recordings(config)
    if not 0 <= config.episode_starts <= 1:
        raise ValueError(
            f"episode_starts: expected a share in [0, 1], received {config.episode_starts:g}"
        )
    if config.init_from is not None and config.agent.codec != "chunk":
        raise ValueError(
            f"init_from: expected codec 'chunk', received {config.agent.codec!r}: the top of a "
            "pretrained world model reads actions, not codes; leave out one of the two"
        )
    stride = config.agent.model.strides[-1]
    if config.length % stride:
        raise ValueError(
            f"length: expected a multiple of the top stride {stride} (environment steps), received "
            f"{config.length}; set --length {-(-config.length // stride) * stride}"
        )


def _check_recordings(config: TrainConfig) -> None:
    if not 0 <= config.video_ratio < 1:
        raise ValueError(
            f"video_ratio: expected a share in [0, 1), received {config.video_ratio:g}"
        )
    if config.video_ratio and config.init_from is None and config.recordings is None:
        raise ValueError(
            f"video_ratio: received {config.video_ratio:g} and no recordings; name their store "
            "with --recordings, or a run with --init-from"
        )
    if config.recordings is not None and not any(
        (config.recordings / split / "store.json").exists() for split in ("", "train")
    ):
        raise ValueError(
            f"recordings: expected a store, received {config.recordings}; make one with "
            "python -m recordings"
        )
    if config.recordings is not None and not config.video_ratio:
        raise ValueError(
            f"recordings: received {config.recordings} and no share of the batches; set "
            "--video-ratio, such as 0.5"
        )
