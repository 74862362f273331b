"""Curves of prediction quality by frames after the context, a panel per metric. CW-VAE Figure 1.

Models are coloured lines with their 95% interval over videos; uninformed references are dashed grey
lines.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.pages.report import plain_text
from analysis.video.scores import HIGHER_IS_BETTER, Line, Score
from replay.atomic import replacing

LABELS = {"ssim": "SSIM", "psnr": "PSNR (dB)", "lpips": "LPIPS"}
DASHES = ((4, 2), (1, 1.5), (6, 2, 1, 2))


def draw_curves(path: Path, lines: Sequence[Line], title: str, samples: int) -> None:
    """Write a PNG with a column per metric: the mean of a sample above, the best of N > 1 below."""
    kinds = ["mean", "best"] if samples > 1 else ["mean"]
    metrics = list(lines[0].mean)
    size = (4.6 * len(metrics), 3.2 * len(kinds) + 0.9)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(kinds), len(metrics), squeeze=False)
    for row, kind in zip(axes, kinds, strict=True):
        for panel, metric in zip(row, metrics, strict=True):
            _draw(panel, [(line, getattr(line, kind)[metric]) for line in lines])
            arrow = "higher" if HIGHER_IS_BETTER[metric] else "lower"
            what = "mean of a sample" if kind == "mean" else f"best of {samples} samples"
            panel.set_ylabel(f"{LABELS[metric]}, {arrow} is better")
            panel.set_title(what, fontsize=9)
    for panel in axes[-1]:
        panel.set_xlabel("frames after the context")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.suptitle(title, fontsize=9)
    with replacing(path) as temporary:
        plain_text(figure)
        figure.savefig(temporary, dpi=120)


def _draw(panel: Axes, scores: Sequence[tuple[Line, Score]]) -> None:
    references = 0
    for line, score in scores:
        time = np.arange(1, len(score.curve) + 1)
        if line.reference:
            dashes = DASHES[references % len(DASHES)]
            panel.plot(time, score.curve, color="0.45", dashes=dashes, lw=1, label=line.name)
            references += 1
            continue
        (drawn,) = panel.plot(time, score.curve, lw=1.4, label=line.name)
        half = np.nan_to_num(score.curve_half)
        low, high = score.curve - half, score.curve + half
        panel.fill_between(time, low, high, color=drawn.get_color(), alpha=0.18, lw=0)
    panel.grid(alpha=0.25)
