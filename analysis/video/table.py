"""Results of an evaluation as a Markdown table for people and as JSON for programs."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analysis.video.scores import (
    HIGHER_IS_BETTER,
    Line,
    Score,
    Usable,
    usable_horizons,
)
from common import dump_json

DIGITS = {"ssim": 3, "psnr": 2, "lpips": 3, "fvd": 0}


def markdown(
    lines: Sequence[Line], ranks: Mapping[str, float], samples: int, header: Sequence[str]
) -> str:
    """Header lines, then one row per line: means ± 95% intervals over videos.

    Args:
      lines: all with the same metrics.
      ranks: mean rank of each model; empty leaves the column out.
      samples: N; the best of N has columns if N > 1.
      header: paragraphs on what was evaluated.
    """
    kinds = [("mean", "")] + ([("best", f", best of {samples}")] if samples > 1 else [])
    columns = [(metric, kind, words) for metric in lines[0].mean for kind, words in kinds]
    titles = ["", *[_title(metric) + words for metric, _, words in columns]]
    usable = usable_horizons(lines)
    metrics = list(lines[0].mean) if usable else []
    titles += ["FVD ↓"] * _has_fvd(lines)
    titles += [f"usable frames by {metric.upper()}" for metric in metrics]
    titles += ["mean rank"] * bool(ranks)
    rows = []
    for line in lines:
        cells = [line.name]
        cells += [_cell(metric, getattr(line, kind)[metric]) for metric, kind, _ in columns]
        if _has_fvd(lines):
            cells.append("" if line.fvd is None else f"{line.fvd:.{DIGITS['fvd']}f}")
        cells += ["" if line.reference else shown(usable[line.name][metric]) for metric in metrics]
        if ranks:
            cells.append(f"{ranks[line.name]:.2f}" if line.name in ranks else "")
        rows.append(cells)
    table = [titles, ["---"] * len(titles), *rows]
    return "\n\n".join([*header, "\n".join(f"| {' | '.join(row)} |" for row in table)]) + "\n"


def _title(metric: str) -> str:
    return f"{metric.upper()} {'↑' if HIGHER_IS_BETTER[metric] else '↓'}"


def _cell(metric: str, score: Score) -> str:
    digits = DIGITS[metric]
    half = "" if math.isnan(score.half) else f" ± {score.half:.{digits}f}"
    return f"{score.value:.{digits}f}{half}"


def _has_fvd(lines: Sequence[Line]) -> bool:
    return any(line.fvd is not None for line in lines)


def shown(usable: Usable) -> str:
    """Number of usable frames, and the reference to which the prediction then falls."""
    if usable.frames == usable.horizon:
        return f"all {usable.frames}"
    return f"{usable.frames} ({usable.falls_to})"


def to_json(lines: Sequence[Line], ranks: Mapping[str, float], settings: Mapping[str, Any]) -> str:
    """All results: settings, every score with its curve over the horizon, ranks; nan is null."""
    usable = usable_horizons(lines)
    rows = [
        {
            "name": line.name,
            "reference": line.reference,
            **line.about,
            "scores": {
                metric: {"mean": _score(line.mean[metric]), "best": _score(line.best[metric])}
                for metric in line.mean
            },
            **({} if line.fvd is None else {"fvd": line.fvd}),
            "usable_horizon": {m: u._asdict() for m, u in usable.get(line.name, {}).items()},
        }
        for line in lines
    ]
    results = {**settings, "lines": rows, "mean_rank": dict(ranks)}
    return dump_json(results, indent=1) + "\n"


def _score(score: Score) -> dict[str, Any]:
    return {
        "value": _number(score.value),
        "half_95": _number(score.half),
        "curve": [_number(x) for x in score.curve],
        "curve_half_95": [_number(x) for x in score.curve_half],
    }


def _number(x: float | np.floating) -> float | None:
    """Round to six significant digits; None for nan."""
    return None if math.isnan(x) else float(f"{float(x):.6g}")
