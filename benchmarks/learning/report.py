"""Tables and figures of the learning suite."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from agents.statistics import half_width, plus_minus
from benchmarks.learning.curves import Curve
from benchmarks.learning.tasks import TASKS


def shown(values: np.ndarray) -> str:
    """Mean and half a 95% interval over the seeds."""
    return plus_minus(values.mean(), float(half_width(values)), 0)


def beside(curve: Curve, first: Curve) -> str:
    """Difference of the means over the run, paired by seed; "–" if there is nothing to pair."""
    if curve is first or curve.seeds != first.seeds or curve.steps != first.steps:
        return "–"
    return shown(curve.over_run() - first.over_run())


PROGRAM = {True: "all seeds as one compiled program", False: "which ran, a seed at a time"}


def foreseen(curve: Curve) -> str:
    """The critic's prediction at first observations and the actual return, means over seeds; "–"
    for curves without them."""
    if not curve.foreseen:
        return "–"
    return f"{np.mean(curve.foreseen):.1f}, {np.mean(curve.came):.1f}"


def worst(curve: Curve) -> str:
    """The evaluation at which the worst seed did best: that seed's return, and the step."""
    lowest = [min(values) for values in curve.returns]
    best = int(np.argmax(lowest))
    return f"{lowest[best]:.0f} at {curve.steps[best]:,}"


def task_report(task: str, curves: Sequence[Curve], random: np.ndarray) -> str:
    """One task's section: at equal steps and updates, then at equal wall time."""
    first, least = curves[0], min(curve.seconds[-1] for curve in curves)
    seeds = ", ".join(map(str, first.seeds))
    lines = [
        f"## {task}",
        "",
        f"{first.steps[-1]:,} environment steps, seeds {seeds}; {first.hardware}. Greedy return, "
        "mean over seeds ± half a 95% interval (Student); uniformly random actions: "
        f"{random.mean():.0f}, {len(random)} episodes. {TASKS[task].published}".rstrip(),
        "",
        "| setting | parameters | updates | return | each seed | best of the worst seed | mean "
        "over the run | that less the first setting's, by seed | foreseen, came (discounted) | "
        "s per update |",
        "|---" * 10 + "|",
    ]
    for c in curves:
        each = ", ".join(f"{x:.0f}" for x in c.last())
        lines.append(
            f"| {c.name} | {c.parameters:,} | {c.updates[-1]:,} | {shown(c.last())} | {each} | "
            f"{worst(c)} | {shown(c.over_run())} | {beside(c, first)} | {foreseen(c)} | "
            f"{c.seconds[-1] / c.updates[-1]:.3f} |"
        )
    lines += [
        "",
        f"At equal wall time, {least:.0f} s of collecting and learning per seed:",
        "",
        "| setting | updates | return |",
        "|---|---|---|",
    ]
    for c in curves:
        reached = c.at(least)
        cells = f"{reached[0]:,} | {shown(reached[1])}" if reached else "0 | –"
        lines.append(f"| {c.name} | {cells} |")
    lines += ["", f"The settings as flags of `train_agent.py`, {PROGRAM[TASKS[task].pure]}:", ""]
    lines += [*(f"    {c.command}" for c in curves), ""]
    return "\n".join(lines)


def draw(curves: dict[str, list[Curve]], path: Path) -> None:
    """Mean greedy return over environment steps, a panel per task, 95% intervals shaded."""
    columns = min(len(curves), 3)
    rows = -(-len(curves) // columns)
    size = (4.2 * columns, 3.2 * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
    for ax in axes.flat[len(curves) :]:
        ax.set_visible(False)
    for ax, (task, several) in zip(axes.flat, curves.items(), strict=False):
        for index, curve in enumerate(several):
            returns = np.array(curve.returns)
            half = half_width(returns.T)
            mean, colour = returns.mean(1), f"C{index % 10}"
            ax.plot(curve.steps, mean, color=colour, label=curve.name)
            ax.fill_between(curve.steps, mean - half, mean + half, color=colour, alpha=0.15, lw=0)
        ax.set(title=task, xlabel="environment steps", ylabel="greedy return")
        ax.legend(fontsize=7)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def write(
    curves: dict[str, list[Curve]], random: dict[str, np.ndarray], path: Path, command: str
) -> str:
    """Write the Markdown at ``path`` and the figure beside it; return the text."""
    done = {task: [c for c in several if c.returns] for task, several in curves.items()}
    done = {task: several for task, several in done.items() if several}
    sections = [task_report(task, several, random[task]) for task, several in done.items()]
    text = "\n".join(
        ["# Learning", "", f"    {command}", "", *sections, f"![curves]({path.stem}.png)", ""]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    draw(done, path.with_suffix(".png"))
    return text
