"""Comparison of runs: final results, curves, and the settings in which the runs differ.

Read next: `arms.py`, which groups runs into arms.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tyro
from matplotlib.figure import Figure

from agents.statistics import half_width, plus_minus
from analysis.arms import Arm, at_end, curve, difference, differing, gather, logged, value
from analysis.pages import report
from analysis.pages.episode_plots import Line, Panel, draw_along
from analysis.pages.plots import COLOURS
from common import UserError
from replay.atomic import write_text


@dataclass(frozen=True)
class CompareConfig:
    """Compare runs: curves with intervals over seeds, and the settings that differ."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Directories of runs, all of agents or all of video models; a --seeds directory stands for all
    of its runs."""
    output: Path = Path("comparison.html")
    """Path of the report, .html."""


class Shown(NamedTuple):
    """A metric that is drawn."""

    key: str  # regular expression for the metric's name in metrics.jsonl
    title: str  # {} stands for the last part of the name
    unit: str = ""
    log: bool = False


SHOWN = (
    Shown("eval/return", "return of the greedy agent"),
    Shown("eval/success", "share of its episodes that succeed"),
    Shown("episode/return", "return of an episode in training, sampled"),
    Shown("eval/loss/model", "loss on held-out video", "nats per frame"),
    Shown("loss/model", "loss of the world model", "nats"),
    Shown(r"kl/level\d+", "KL of {}", "nats per tick", log=True),
    Shown("speed/(env_steps|steps)_per_s", "steps per second"),
)
PROMISED = {
    "eval/foreseen": "foreseen by the critic",
    "eval/discounted": "discounted return that came",
}
SCORES = {
    "eval/return": (1, "return of the greedy agent"),
    "eval/loss/model": (-1, "held-out loss"),
}
"""Metrics by which arms are ranked: 1 if higher is better, else -1, and the title."""


def compare(config: CompareConfig, command: str) -> Path:
    """Read the runs and write the report; return its path.

    Raises:
      UserError: if no runs are given, if a path is not a run, or if agents and video models are
        mixed.
    """
    if config.output.suffix != ".html":
        raise UserError(
            f"output: expected a path ending in .html, received {config.output}; rename it"
        )
    arms = gather(config.runs)
    names = [arm.name for arm in arms]
    blocks = [report.lead(verdict(arms)), results(arms), report.heading("Curves")]
    caption = (
        "Over steps (updates, where there is no environment), up to those that all seeds of an arm "
        "have made. Lines are means over seeds, bands their 95% intervals (Student's); an arm of "
        "one seed has none."
    )
    drawn, nothing = draw(arms), report.paragraph("Nothing is logged.")
    blocks.append(report.figure(drawn, caption) if drawn else nothing)
    blocks += [report.heading("Settings that differ"), settings_table(arms)]
    blocks += [report.heading("Runs"), runs_table(arms), report.command(command)]
    write_text(config.output, report.document(" · ".join(names), blocks))
    return config.output


def verdict(arms: Sequence[Arm]) -> str:
    """Say which arm came out ahead, and whether by more than the spread over seeds explains."""
    key = next((key for key in SCORES if np.isfinite(at_end(arms, key)[0])), None)
    if key is None:
        return "None of these runs has been evaluated."
    sign, what = SCORES[key]
    step, found = at_end(arms, key)
    ends = {arm.name: seeds for arm, seeds in zip(arms, found, strict=True) if len(seeds)}
    ranked = sorted(ends, key=lambda name: -sign * ends[name].mean())
    said = "; ".join(f"{name}: {interval(ends[name])}" for name in ranked)
    text = (
        f"{what[0].upper()}{what[1:]} at step {step:,.0f}, the last that all have reached, best "
        f"first: {said}."
    )
    if len(ranked) < 2:
        return text
    gap, half = difference(ends[ranked[0]], ends[ranked[1]])
    if np.isnan(half):
        return f"{text} With one seed of an arm it cannot be told what seeds explain."
    beyond = "more than seeds explain" if abs(gap) > half else "no more than seeds may explain"
    return f"{text} The first differs from the second by {gap:.4g} ± {half:.2g} (95%): {beyond}."


def interval(values: np.ndarray) -> str:
    """Mean over seeds with its interval and the number of seeds."""
    digits = max(0, 3 - int(np.floor(np.log10(max(1e-6, abs(values.mean()))))))
    half = float(half_width(values)) if len(values) > 1 else None
    seeds = f"{len(values)} seed" + "s" * (len(values) > 1)
    return f"{plus_minus(values.mean(), half, min(digits, 4))} ({seeds})"


def results(arms: Sequence[Arm]) -> str:
    """Table with a row per metric: its value in each arm at the last step that all have reached."""
    rows = []
    for key, title in [*shown_of(arms), *PROMISED.items()]:
        step, ends = at_end(arms, key)
        if np.isfinite(step):
            shown = (interval(end) if len(end) else "–" for end in ends)
            rows.append([title, f"{step:,.0f}", *shown])
    return report.table(["", "at step", *(arm.name for arm in arms)], rows)


def shown_of(arms: Sequence[Arm]) -> Iterator[tuple[str, str]]:
    """Names and titles of the metrics that at least one arm has logged."""
    for shown in SHOWN:
        for key in logged(arms, shown.key):
            yield key, shown.title.format(key.rpartition("/")[2].replace("level", "level "))


def draw(arms: Sequence[Arm]) -> Figure | None:
    """Draw a panel per metric and a line per arm; None if there is nothing to draw."""
    panels = []
    last = 0.0
    for key, title in shown_of(arms):
        shown = next(one for one in SHOWN if re.fullmatch(one.key, key))
        lines = []
        for n, arm in enumerate(arms):
            if (found := curve(arm, key)) is not None:
                known = found.half if np.isfinite(found.half).all() else None
                colour = COLOURS[n % len(COLOURS)]
                lines.append(Line(arm.name, found.time, found.mean, colour, error=known))
                last = max(last, float(found.time[-1]))
        panels += [Panel(title, shown.unit, lines, shown.log)] if lines else []
    return draw_along(panels, (0.0, last), "steps") if panels else None


def settings_table(arms: Sequence[Arm]) -> str:
    """Table with a row per setting that differs between arms."""
    several = differing([arm.settings for arm in arms])
    if not several:
        return report.paragraph("None: these runs differ in their seeds alone.")
    rows = [[name, *(value(arm.settings.get(name, "–")) for arm in arms)] for name in several]
    return report.table(["setting", *(arm.name for arm in arms)], rows)


def runs_table(arms: Sequence[Arm]) -> str:
    """Table with a row per run: its directory, its arm and the steps done."""
    rows = []
    for arm in arms:
        for run, lines in zip(arm.runs, arm.rows, strict=True):
            rows.append([str(run), arm.name, f"{lines[-1]['step']:,}" if lines else "not begun"])
    return report.table(["run", "arm", "steps"], rows)
