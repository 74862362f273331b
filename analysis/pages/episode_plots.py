"""Figures along one time axis: frames above curves, and imagined futures beside their returns.

Functions take arrays and return a matplotlib figure; times are environment steps. Read next:
``report.py``, which puts figures into a page.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from analysis.pages.plots import GREY, number
from analysis.pages.stills import strip

WIDTH, LEFT, RIGHT = 10.6, 1.25, 0.3  # inches of a figure, and of its margins
SIDE = 2.6  # inches for the panel of imagined returns, with its margin
GAP, LEGEND, FOOT = 0.06, 0.34, 0.55  # inches: between rows of frames, for a legend, below all
BLACK = "#1d2129"
CROWDED = 250  # points above which a curve is drawn thin
LONE = 3  # points up to which markers are drawn large


class Line(NamedTuple):
    """One curve. nan is a gap; ``steps`` holds a value until the next time; style "." is dots."""

    name: str
    time: np.ndarray  # [n]
    value: np.ndarray  # [n]
    colour: str
    steps: bool = False
    style: str = "-"
    wide: bool = False  # drawn broad and pale, as a background for others
    error: np.ndarray | None = None  # [n] half-width of an interval


class Panel(NamedTuple):
    """Curves that share a value axis."""

    title: str
    unit: str
    lines: Sequence[Line]
    log: bool = False


def draw_along(
    panels: Sequence[Panel],
    span: tuple[float, float],
    label: str,
    strips: Mapping[str, np.ndarray] | None = None,
    marks: Sequence[float] = (),
) -> Figure:
    """Panels stacked over the same times, with rows of frames above them.

    If all panels have the same curves, they share one legend.

    Args:
      span: times at the left and the right edge; curves are cut to them.
      label: of the time axis.
      strips: by name, uint8 [n, h, w, 3]; frame i covers the i-th of n equal parts of the span.
      marks: times at which a vertical line crosses all panels.
    """
    strips = strips or {}
    names = {tuple(line.name for line in panel.lines) for panel in panels}
    shared = len(panels) > 1 and len(names) == 1 and len(next(iter(names))) > 1
    heights = [strip_height(frames) for frames in strips.values()] + [1.0] * len(panels)
    gaps = [GAP] * len(strips) + [0.42] * len(panels)
    gaps[0] += LEGEND if shared else 0
    figure, axes = stacked(heights, gaps)
    for axis, (name, frames) in zip(axes, strips.items(), strict=False):
        draw_strip(axis, name, frames, span)
    for axis, panel in zip(axes[len(strips) :], panels, strict=True):
        draw_panel(axis, within(panel, span), legend=not shared)
        for mark in marks:
            axis.axvline(mark, color=GREY, lw=1.0, ls=":")
        axis.set_xlim(*span)
    for axis in axes[:-1]:
        axis.tick_params(labelbottom=False)
    axes[-1].set_xlabel(label)
    figure.align_ylabels(axes[len(strips) :])
    if shared:
        lines = axes[-1].get_lines()[: len(panels[-1].lines)]
        figure.legend(handles=lines, loc="upper center", ncols=5, fontsize=8, frameon=False)
    return figure


def within(panel: Panel, span: tuple[float, float]) -> Panel:
    """The panel with its curves cut to the span."""
    lines = []
    for line in panel.lines:
        held = line.time + tick_of(line)
        inside = ((line.time >= span[0]) | (held > span[0])) & (line.time <= span[1])
        error = None if line.error is None else line.error[inside]
        cut = line._replace(time=line.time[inside], value=line.value[inside], error=error)
        lines.append(cut)
    return panel._replace(lines=lines)


def stacked(heights: Sequence[float], gaps: Sequence[float]) -> tuple[Figure, list[Axes]]:
    """Stacked axes of given heights in inches, each with its gap above it."""
    total = sum(heights) + sum(gaps) + FOOT
    figure = Figure(figsize=(WIDTH, total))
    axes, top = [], total
    for height, gap in zip(heights, gaps, strict=True):
        top -= height + gap
        box = (LEFT / WIDTH, top / total, 1 - (LEFT + RIGHT) / WIDTH, height / total)
        axes.append(figure.add_axes(box))
    return figure, axes


def strip_height(frames: np.ndarray) -> float:
    """Height in inches at which a row of frames [n, h, w, 3] fills the width with square pixels."""
    count, height, width = frames.shape[:3]
    return (WIDTH - LEFT - RIGHT) * height / (count * width)


def draw_strip(axis: Axes, name: str, frames: np.ndarray, span: tuple[float, float]) -> None:
    """Draw a row of frames over the span, separated by white lines."""
    joined = np.pad(frames, ((0, 0), (0, 0), (1, 1), (0, 0)), constant_values=255)
    axis.imshow(strip(joined), extent=(*span, 0, 1), aspect="auto", interpolation="nearest")
    axis.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
    axis.set_xticks([])
    axis.set_yticks([])
    axis.spines[:].set_visible(False)


def draw_panel(axis: Axes, panel: Panel, legend: bool) -> None:
    """Draw a panel's curves; ``legend`` adds a legend if there is more than one."""
    for line in panel.lines:
        draw_line(axis, line)
    axis.set_title(panel.title, fontsize=9, loc="left", pad=3)
    axis.set_ylabel(panel.unit, fontsize=9)
    axis.tick_params(labelsize=8)
    if panel.log:
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axis.yaxis.set_minor_formatter(NullFormatter())
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    if legend and len(panel.lines) > 1:
        place: dict[str, Any] = {
            "loc": "lower right",
            "bbox_to_anchor": (1, 0.97),
            "borderaxespad": 0.1,
        }
        axis.legend(fontsize=8, frameon=False, ncols=len(panel.lines), **place)


def draw_line(axis: Axes, line: Line) -> None:
    """Draw one curve: thin if it has many points, with dots on it if it has few."""
    count = np.isfinite(line.value).sum()
    few, lone = count <= CROWDED, count <= LONE
    dots = line.style == "." or (few and (line.steps or line.error is not None))
    thick = 3.5 if line.wide else 1.3 if few else 0.7
    if line.steps:
        edges = np.append(line.time, line.time[-1:] + tick_of(line))
        axis.stairs(line.value, edges, baseline=None, color=line.colour, lw=thick, label=line.name)
    axis.plot(
        line.time,
        line.value,
        color=line.colour,
        ls="none" if line.steps or line.style == "." else line.style,
        lw=thick,
        alpha=0.35 if line.wide else 1.0,
        marker="." if dots else None,
        ms=8 if lone else 4 if line.style == "." else 3,
        label=None if line.steps else line.name,
    )
    if line.error is not None:
        low, high = line.value - line.error, line.value + line.error
        axis.fill_between(line.time, low, high, color=line.colour, alpha=0.15, lw=0)


def tick_of(line: Line) -> float:
    """How long the last step is held; 0 if the line does not hold its values."""
    if not line.steps:
        return 0.0
    return float(line.time[1] - line.time[0]) if len(line.time) > 1 else 1.0


def draw_futures(
    rows: Mapping[str, np.ndarray],
    times: np.ndarray,
    returns: Mapping[str, np.ndarray],
    colours: Mapping[str, str],
) -> Figure:
    """Futures from one start, stacked, with the imagined returns of each beside it.

    Args:
      rows: by name, uint8 [n, h, w, 3], white where nothing is known.
      times: [n] of the columns, environment steps after the start.
      returns: by name, [S] imagined returns or a single observed one; may lack some rows.
      colours: by name, of the returns.
    """
    count, height, width = next(iter(rows.values())).shape[:3]
    left = 0.4 + 0.075 * max(map(len, rows))
    wide = WIDTH - left - SIDE - RIGHT
    tall = wide * height / (count * width)
    total = len(rows) * (tall + GAP) + FOOT
    figure = Figure(figsize=(WIDTH, total))
    for n, (name, frames) in enumerate(rows.items()):
        bottom = total - (n + 1) * (tall + GAP)
        box = (left / WIDTH, bottom / total, wide / WIDTH, tall / total)
        axis = figure.add_axes(box)
        draw_strip(axis, name, frames, (0, count))
    axis.set_xticks(np.arange(count) + 0.5, [f"+{time}" for time in times], fontsize=8)
    axis.tick_params(length=0)
    axis.set_xlabel("environment steps after the start", fontsize=9)
    start, side = WIDTH - SIDE - RIGHT + 0.25, SIDE - 0.25
    box = (start / WIDTH, FOOT / total, side / WIDTH, 1 - (FOOT + GAP) / total)
    draw_returns(figure.add_axes(box), list(rows), returns, colours)
    return figure


def draw_returns(
    axis: Axes,
    names: Sequence[str],
    returns: Mapping[str, np.ndarray],
    colours: Mapping[str, str],
) -> None:
    """Draw each sample as a light dot, and the mean as a full one with its number above it."""
    above: dict[str, Any] = {"xytext": (0, 7), "textcoords": "offset points", "ha": "center"}
    for n, name in enumerate(names):
        if name in returns:
            drawn, colour = returns[name], colours[name]
            mean = float(drawn.mean())
            axis.plot(drawn, np.full(len(drawn), n), "o", color=colour, alpha=0.25, ms=4, mew=0)
            axis.plot(mean, n, "o", color=colour, ms=7)
            axis.annotate(number(mean), (mean, n), fontsize=8, color=colour, **above)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.set_yticks(range(len(names)), [])
    axis.margins(x=0.15)
    axis.set_xlabel("imagined return", fontsize=9)
    axis.tick_params(labelsize=8)
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
