"""A trained Navigate agent, random actions and the scripted follower compared in the same worlds.

  python train_agent.py --env minerl_navigate --env.backend builtin --logdir RUN ...
  python benchmarks/navigate_learning.py --run RUN --episodes 20

Every policy plays whole episodes of 6 000 frames in worlds with the same seeds, builtin back end.
Writes benchmarks/results/navigate_learning.{md,png} and stills of an episode.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

from configs.spelling import whole

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from agents.driver import Episode
from agents.statistics import plus_minus, summary
from common.entry import enter
from envs.navigate import NavigateEnv
from envs.navigate.follower import CompassFollower
from envs.options import navigate_options
from training import read_metrics
from training.build import EVAL_SEED, Built, load_run
from training.device import choose_device
from training.picture import bar_limits, pictures

RESULTS = Path(__file__).resolve().parent / "results"
STILLS = 8


def follow(built: Built, episodes: int) -> list[Episode]:
    """Episodes of the scripted compass follower, with lengths in the agent's steps."""
    played = []
    dense = navigate_options(built.config.env).dense
    for index in range(episodes):
        env, follower = NavigateEnv(dense=dense), CompassFollower(index)
        obs, _ = env.reset(seed=EVAL_SEED + index)
        score, frames, over = 0.0, 0, False
        info: dict[str, Any] = {}
        while not over:
            obs, reward, terminal, truncated, info = env.step(follower(obs))
            score, frames, over = score + float(reward), frames + 1, terminal or truncated
        played.append(Episode(score, frames // built.config.env.action_repeat, info["success"]))
    return played


def row(name: str, episodes: Sequence[Episode]) -> str:
    """One line of the table."""
    values = summary(episodes)
    best = max(episode.score for episode in episodes)
    return (
        f"| {name} | {plus_minus(values['return'], values.get('return_95'), 1)} | {best:.1f} "
        f"| {values['success']:.0%} | {values['length']:.0f} |"
    )


def draw_curve(run: Path) -> None:
    """Plot training: return of every finished episode, observed and imagined window reward."""
    figure = learning_curves(read_metrics(run / "metrics.jsonl"))
    figure.savefig(RESULTS / "navigate_learning.png", dpi=110)
    plt.close(figure)


def learning_curves(rows: Sequence[dict[str, Any]]) -> Figure:
    """The figure of ``draw_curve``, from the rows of metrics.jsonl."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
    _plot(left, rows, "episode/return", marker="o", ms=3, ls="")
    left.set(xlabel="environment steps (agent's)", ylabel="return of training episodes")
    for name in ("observed", "imagined"):
        _plot(right, rows, f"window_reward/{name}", label=name)
    right.set(xlabel="environment steps (agent's)", ylabel="window reward in replay")
    right.legend()
    return figure


def _plot(ax: Axes, rows: Sequence[dict[str, Any]], key: str, **style: Any) -> None:
    """Plot the rows that have ``key`` over steps; if there are none, the panel says so."""
    found = [row for row in rows if key in row]
    ax.plot([row["step"] for row in found], [row[key] for row in found], **style)
    if not found:
        ax.set_title(f"no {key} was logged", fontsize=8)


def draw_stills(seen: dict[str, np.ndarray]) -> None:
    """Save evenly spaced frames of the first episode."""
    frames = pictures(seen, bar_limits(seen))
    chosen = frames[np.linspace(0, len(frames) - 1, STILLS).astype(int)]
    strip = np.concatenate(list(chosen), axis=1).repeat(2, axis=0).repeat(2, axis=1)
    plt.imsave(RESULTS / "navigate_stills.png", strip)


def about(built: Built, step: int) -> str:
    """A sentence on what was trained, for how long and on which device."""
    c = built.config
    strides = " ".join(map(str, c.agent.model.strides))
    return (
        f"Agent of size {c.size}, strides {strides}, trained for {step:,} environment steps of\n"
        f"{c.env.action_repeat} frames, seed {c.seed}, on {choose_device().name}."
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--episodes", type=whole, default=20)
    args = parser.parse_args()
    built, params, step = load_run(args.run)
    greedy = built.evaluate(params, args.episodes, greedy=True, watch=True)
    sampled = built.evaluate(params, args.episodes, greedy=False)
    chance = built.evaluate_random(args.episodes)
    rows = [
        row("agent, greedy", greedy.episodes),
        row("agent, sampled", sampled.episodes),
        row("random actions, the agent's space", chance.episodes),
        row("scripted follower", follow(built, args.episodes)),
    ]
    assert greedy.seen is not None
    draw_curve(args.run)
    draw_stills(greedy.seen)
    kind = "Dense" if navigate_options(built.config.env).dense else "sparse"
    text = (
        f"""# Learning from Navigate, {kind}, builtin back end

    python benchmarks/navigate_learning.py --run RUN --episodes {args.episodes}

{about(built, step)}
{args.episodes} episodes of up to 6 000 frames, in the same worlds for all; success: goal touched.

| policy | return, 95% interval | best | success | length (agent's steps) |
|---|---|---|---|---|
"""
        + "\n".join(rows)
        + "\n\n![curve](navigate_learning.png)\n![stills](navigate_stills.png)\n"
    )
    (RESULTS / "navigate_learning.md").write_text(text)
    print(text)


if __name__ == "__main__":
    enter(main)
