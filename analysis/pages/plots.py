"""Figures of the report: what each level stores, and what predictions retain.

Functions take arrays and return a matplotlib figure. Read next: ``report.py``.
"""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from analysis.pages.stills import strip

COLOURS = ("#2f6fde", "#e07b00", "#1e9e6a", "#b3399e", "#7a6a00", "#d0342c", "#4b4f9e", "#0e97a7")
GREY = "#6b7280"
DASHES = ("--", ":", "-.")


class Curve(NamedTuple):
    """One line over the frames after the context."""

    name: str
    value: np.ndarray  # [H]
    reference: bool = False  # drawn dashed and grey: what no model could or should fall below


def draw_curves(curves: Sequence[Curve], label: str) -> Figure:
    """Curves over frames after the context; if ``label`` names a share, the axis is 0 to 1."""
    figure = Figure(figsize=(8.4, 3.6), layout="constrained")
    panel = figure.subplots()
    colours, dashes = cycle(COLOURS), cycle(DASHES)
    for curve in curves:
        colour, style = (GREY, next(dashes)) if curve.reference else (next(colours), "-")
        time = np.arange(1, len(curve.value) + 1)
        panel.plot(time, curve.value, color=colour, ls=style, lw=1.5, label=curve.name)
    if "share" in label:
        panel.set_ylim(-0.03, 1.03)
    panel.set_xlabel("frames after the context")
    panel.set_ylabel(label)
    panel.grid(alpha=0.25)
    panel.spines[["top", "right"]].set_visible(False)
    panel.legend(fontsize=8, frameon=False)
    return figure


def draw_kl(kl: Mapping[str, np.ndarray]) -> Figure:
    """KL per level of every run, nats per sequence, on a logarithmic axis. CW-VAE Table 1.

    Args:
      kl: by run, [L]; runs may have different numbers of levels.
    """
    levels = max(len(value) for value in kl.values())
    figure = Figure(figsize=(8.4, 3.4), layout="constrained")
    panel = figure.subplots()
    width = 0.8 / len(kl)
    lowest = 1e-4
    for n, (name, value) in enumerate(kl.items()):
        place = np.arange(len(value)) + (n - (len(kl) - 1) / 2) * width
        shown = np.maximum(value, lowest)
        drawn = panel.bar(place, shown, 0.92 * width, color=COLOURS[n % len(COLOURS)], label=name)
        panel.bar_label(drawn, [number(x) for x in value], fontsize=8, padding=1)
    panel.set_yscale("log")
    panel.set_ylim(bottom=lowest if min(map(min, kl.values())) < 0.05 else 0.05)
    panel.margins(y=0.15)
    panel.set_xticks(range(levels), [f"level {level + 1}" for level in range(levels)])
    panel.set_ylabel("KL, nats per sequence")
    panel.spines[["top", "right"]].set_visible(False)
    if len(kl) > 1:
        panel.legend(fontsize=8, frameon=False)
    return figure


def draw_speed(speeds: np.ndarray, kl: np.ndarray) -> Figure:
    """KL of every level against the speed of its training data. CW-VAE Figure 8.

    Args:
      speeds: [R] factors on the generator's speed.
      kl: [R, L] nats per sequence.
    """
    order = np.argsort(speeds)
    levels = kl.shape[1]
    figure = Figure(figsize=(2.9 * levels + 0.4, 3.0), layout="constrained")
    for level, panel in enumerate(figure.subplots(1, levels, squeeze=False)[0]):
        colour = COLOURS[level % len(COLOURS)]
        panel.plot(speeds[order], kl[order, level], "o-", color=colour, lw=1.6)
        panel.set_xscale("log")
        panel.set_xticks(np.unique(speeds), [f"{x:g}×" for x in np.unique(speeds)])
        panel.minorticks_off()
        panel.set_title(f"level {level + 1}", fontsize=10)
        panel.set_xlabel("speed of the data")
        panel.set_ylim(bottom=0)
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
        if level == 0:
            panel.set_ylabel("KL, nats per sequence")
    return figure


def draw_entropy(entropy: np.ndarray, clocks: Sequence[str]) -> Figure:
    """Mean entropy of every level's prior over frames after the context. TALD Figure 10.

    Args:
      entropy: [H, L] nats, each level's value held between its ticks.
      clocks: when each level ticks, in words.
    """
    levels = entropy.shape[1]
    figure = Figure(figsize=(8.4, 1.5 * levels + 0.6), layout="constrained")
    panels = figure.subplots(levels, 1, sharex=True, squeeze=False)[:, 0]
    for row, panel in enumerate(panels):
        level = levels - 1 - row  # the top level on top
        value = entropy[:, level]
        panel.step(np.arange(1, len(value) + 1), value, where="mid", color=COLOURS[level])
        middle, half = np.mean(value), max(1.0, 1.2 * np.abs(value - np.mean(value)).max())
        panel.set_ylim(middle - half, middle + half)  # at least 2 nats: noise is not magnified
        panel.set_title(f"level {level + 1}, {clocks[level]}", fontsize=9, loc="left")
        panel.set_ylabel("nats")
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
    panels[-1].set_xlabel("frames after the context")
    return figure


def draw_film(rows: Mapping[str, np.ndarray], times: np.ndarray, seen: int) -> Figure:
    """Stacked rows of frames, as in the paper's Figure 7.

    Args:
      rows: by name, uint8 [n, h, w, C]; the first row has the true frames.
      times: [n] of the columns, in frames after the end of the context; at 0 or below: in it.
      seen: number of columns within the context; a line separates them from the others.
    """
    figure = Figure(
        figsize=(1.3 + 0.72 * len(times), 0.76 * len(rows) + 0.45), layout="constrained"
    )
    panels = figure.subplots(len(rows), 1, squeeze=False)[:, 0]
    for panel, (name, frames) in zip(panels, rows.items(), strict=True):
        height, width = frames.shape[1:3]
        panel.imshow(strip(frames), interpolation="nearest")
        panel.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
        panel.set_xticks((np.arange(len(times)) + 0.5) * width - 0.5, [])
        panel.set_yticks([])
        panel.tick_params(length=0)
        panel.spines[:].set_visible(False)
        if seen:
            panel.vlines(seen * width - 0.5, -0.5, height - 0.5, color="#ff3b30", lw=2)
    panels[-1].set_xticklabels([str(time) for time in times], fontsize=8)
    panels[-1].set_xlabel("frames after the context", fontsize=8)
    return figure


def number(x: float | np.floating) -> str:
    """A number to three significant digits; from 1000 on, to the nearest integer."""
    value = float(x)
    if value == 0:
        return "0"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
