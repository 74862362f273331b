"""Predicted frames below the true ones, as in the paper's Figures 2, 4 and 6."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from analysis.pages.report import plain_text
from replay.atomic import replacing


def draw_stills(path: Path, strips: Mapping[str, np.ndarray], times: np.ndarray) -> None:
    """Write a PNG: per video, a row of true frames and one row per model.

    Args:
      strips: by name, the true ones first, uint8 [videos, times, h, w, C].
      times: of the columns, frames after the context.
    """
    videos = len(next(iter(strips.values())))
    rows = [(name, frames[video]) for video in range(videos) for name, frames in strips.items()]
    figure = Figure(figsize=(1.0 + 0.75 * len(times), 0.8 * len(rows) + 0.3))
    axes = figure.subplots(len(rows), 1, squeeze=False)[:, 0]
    for panel, (name, frames) in zip(axes, rows, strict=True):
        width = frames.shape[2]
        panel.imshow(strip(frames))
        panel.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
        panel.set_xticks((np.arange(len(times)) + 0.5) * width - 0.5, [])
        panel.set_yticks([])
        panel.tick_params(length=0)
        panel.spines[:].set_visible(False)
    axes[-1].set_xticklabels([f"{time}" for time in times], fontsize=8)
    axes[-1].set_xlabel("frames after the context", fontsize=8)
    figure.tight_layout(h_pad=0.2)
    with replacing(path) as temporary:
        plain_text(figure)
        figure.savefig(temporary, dpi=110, bbox_inches="tight")  # long names stay whole


def strip(frames: np.ndarray) -> np.ndarray:
    """Frames [n, h, w, C] side by side in three channels, [h, n·w, 3]."""
    frames = frames[..., :3] if frames.shape[-1] >= 3 else np.repeat(frames[..., :1], 3, axis=-1)
    return np.concatenate(list(frames), axis=1)
