"""Evaluation of a trained agent's return over new episodes, greedy and sampled."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from agents.statistics import summary
from common import Count, check_bounds
from envs import describe_backend
from training.agent_source import episode_film, shown, write_episode
from training.build import SaidAgain, load_run
from training.checkpoint import BEST, CHECKPOINTS
from training.video import check_suffix


@dataclass(frozen=True)
class EvalConfig:
    """Evaluate a trained run: return with its 95% interval, success rate and length."""

    run: Annotated[Path, tyro.conf.arg(name="eval")]
    """Directory of the run."""
    episodes: Count = 20
    """Episodes, each with its own seed; the same seeds every time."""
    env: SaidAgain = None
    best: bool = False
    """Use the state that scored best in evaluation during training, instead of the last one."""
    newest: bool = False
    """Use the parameters of the last update instead of their average over recent updates, which
    lags some 200 updates behind what has just been learned."""
    output: Path | None = None
    """Video of the first greedy episode, .mp4 or .gif; default: episode.mp4 in the run's
    directory."""


def evaluate(config: EvalConfig) -> None:
    """Print sampled and greedy results, and write a video of one greedy episode."""
    check_bounds(config)
    output = config.output or config.run / "episode.mp4"
    check_suffix(output)
    built, params, step = load_run(
        config.run, config.env, folder=BEST if config.best else CHECKPOINTS, newest=config.newest
    )
    print(f"{describe_backend(built.config.env)}; trained for {step:,} steps")
    for greedy in (False, True):
        played = built.evaluate(params, config.episodes, greedy, watch=greedy)
        print(f"{'greedy' if greedy else 'sampled':8} {shown(summary(played.episodes))}")
    film = episode_film(played, built.codec)
    write_episode(film, output)
