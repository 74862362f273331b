"""All systems on vector frames, one cell after another, and the page of their results.

Read next: ``systems.py``, the systems; ``claims.py``, the criteria that were set before.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from analysis.video.inspection import SIGHTED
from benchmarks.paper.cells import EVERY, Found, costs, keep, run
from benchmarks.paper.claims import COST, Cells, kl_of, verdicts
from benchmarks.paper.systems import FACTORS, MIDDLE, SYSTEMS, Scale, clockwork
from benchmarks.paper.world import CHANCE
from common import UserError, read_json
from replay.atomic import write_text

SCALE, SEEDS = Scale(), tuple(range(100, 105))
CELLS = {system.name: system for system in SYSTEMS}
FIRST = (*list(CELLS)[:3], COST)  # the cost is measured once its systems have been run
SHOWN = sorted(SYSTEMS, key=lambda x: (x.speed != 1, x.kind, x.strides, x.speed))
ORDER = (*FIRST, *(name for name in CELLS if name not in FIRST))


def run_all(results: Path, wanted: Sequence[str] | None, minutes: float) -> None:
    """Run every wanted cell that has no result yet; start none after ``minutes``.

    Raises:
      UserError: if a cell does not exist, or a result there is not of today's settings.
    """
    for name in wanted or ():
        if name not in ORDER:
            raise UserError(f"cells: expected some of {', '.join(ORDER)}, received {name}")
    until = time.monotonic() + 60 * minutes
    read(results)
    for name in wanted or ORDER:
        path = results / "paper" / f"{name}.json"
        if path.is_file():
            continue
        if time.monotonic() > until:
            return
        print(name, flush=True)
        found = costs(SCALE) if name == COST else run(CELLS[name], SCALE, SEEDS)
        keep(path, found)


def read(results: Path) -> dict[str, Found]:
    """Read the results of the cells that have been run, by name.

    Raises:
      UserError: if one is not of today's settings.
    """
    paths = {name: results / "paper" / f"{name}.json" for name in ORDER}
    cells = {name: read_json(path) for name, path in paths.items() if path.is_file()}
    for name, found in cells.items():
        there, here = {**found.get("scale", {}), "seeds": found.get("seeds")}, today(name)
        if names := [key for key in here if there.get(key) != here[key]]:
            told = [", ".join(f"{key} {x.get(key)}" for key in names) for x in (here, there)]
            raise UserError(
                f"{results / 'paper'}: expected results of {told[0]}, received {name} of "
                f"{told[1]}; choose --results anew"
            )
    return cells


def today(name: str) -> Found:
    """What a cell is made with today, by name. Costs have no seeds."""
    if name == COST:
        return {**vars(SCALE), "seeds": None}
    return {**vars(SCALE.whole(CELLS[name])), "seeds": list(SEEDS)}


def report(results: Path) -> None:
    """Write the page, and its figure, of the cells that have been run.

    Raises:
      UserError: if one is not of today's settings.
    """
    cells = read(results)
    missing = [name for name in ORDER if name not in cells]
    lines = [
        "# The papers' claims on frames that are vectors",
        "",
        "    python -m benchmarks.paper --scale vectors",
        "",
        "Two balls that bounce, each of one of five kinds for good, and a light that switches "
        f"every 50 frames; {SCALE.updates:,} updates of about {SCALE.batch * SCALE.length:,} "
        f"frames, |h| {SCALE.deter}, seeds {SEEDS[0]} to {SEEDS[-1]}; from frame {SCALE.context} "
        f"on, {SCALE.horizon:,} are predicted of {SCALE.videos} held-out videos. A model sees the "
        "whole ticks of its top level that come last before, and learns from videos of whole "
        "ticks. CPU-seconds are of an update, on one core that other programs used too. Shares "
        "right: chance is 0.20.",
        "",
        *table(cells),
        "",
        "Marks were set before the runs (`benchmarks/paper/claims.py`):",
        "",
        *verdicts(cells),
        "",
    ]
    if missing:
        lines += [f"Not run yet: {', '.join(missing)}.", ""]
    if clockwork(MIDDLE).name in cells:
        draw(results / "paper_vectors.png", cells)
        lines += ["![identities, KL, and the top left blind](paper_vectors.png)", ""]
    path = results / "paper_vectors.md"
    write_text(path, "\n".join(lines))
    print(path)


def table(cells: Cells) -> list[str]:
    """A row per system."""
    header = (
        "model",
        "speed",
        "videos of an update",
        "frames seen",
        "frames until identity falls below half: median (each seed)",
        "identity right over the last 100",
        "light right, first 20 frames",
        "error of places, first 20 frames",
        f"KL by level, nats per {SCALE.length} frames",
        "CPU-seconds",
    )
    rows = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    for system in SHOWN:
        if system.name in cells:
            cell, curves = cells[system.name], cells[system.name]["curves"][SIGHTED]
            frames, sees = cell["frames_to_half"], cell["summary"][SIGHTED]
            last = np.mean(curves["identity"][-100 // EVERY :])
            figures = (
                f"{np.median(frames):.0f} ({', '.join(map(str, frames))})",
                f"{last:.2f}",
                f"{np.mean(sees['light']):.2f}",
                f"{np.mean(sees['place']):.2f}",
                ", ".join(f"{x:.1f}" for x in kl_of(cells, system)),
                f"{cell['seconds_per_update']:.3f}",
            )
            videos = f"{cell['scale']['batch']} of {cell['scale']['length']} frames"
            start = f"| {system.model} | {system.speed:g} | {videos} | {cell['seen']} |"
            rows.append(f"{start} {' | '.join(figures)} |")
    return rows


def draw(path: Path, cells: Cells) -> None:
    """Draw how long identities last, by model; KL by level; and what is lost with a level blind."""
    figure, axes = plt.subplots(1, 3, figsize=(14, 3.6), layout="constrained")
    draw_identity(axes[0], cells)
    draw_levels(axes[1], cells)
    draw_blind(axes[2], cells[clockwork(MIDDLE).name])
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(fontsize=7, frameon=False)
    axes[0].legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_identity(axis: Axes, cells: Cells) -> None:
    """Draw the share of identities right over the frames ahead, for every system at speed 1."""
    for system in SHOWN:
        if system.name in cells and system.speed == 1:
            curve = cells[system.name]["curves"][SIGHTED]["identity"]
            axis.plot(ahead(curve), curve, label=system.model, lw=1.4)
    axis.axhline(CHANCE, color="grey", ls=":", lw=1, label="chance")
    axis.set(xlabel="frames ahead", ylabel="identities right", ylim=(0, 1.02))
    axis.set_title("How long it is known which ball is which", fontsize=10)


def draw_levels(axis: Axes, cells: Cells) -> None:
    """Draw KL by level of CW-VAE, for every factor."""
    factors = [k for k in FACTORS if clockwork(k).name in cells]
    for number, k in enumerate(factors):
        kl = kl_of(cells, clockwork(k))
        place = np.arange(len(kl)) + 0.8 * (number - (len(factors) - 1) / 2) / len(factors)
        axis.bar(place, kl, 0.8 / len(factors), label=f"factor {k}")
    axis.set_yscale("log")
    axis.set_xticks(range(3), ["level 1", "level 2", "level 3"])
    axis.set_ylabel(f"KL, nats per {SCALE.length} frames")
    axis.set_title("What each level takes from the frames", fontsize=10)


def draw_blind(axis: Axes, cell: Mapping[str, Any]) -> None:
    """Draw the shares of identities and lights right with each level blind, over frames ahead."""
    for number, (view, curves) in enumerate(cell["curves"].items()):
        colour = f"C{number}"
        axis.plot(ahead(curves["identity"]), curves["identity"], color=colour, lw=1.4, label=view)
        axis.plot(ahead(curves["light"]), curves["light"], color=colour, lw=1.0, ls="--")
    axis.plot([], [], color="grey", ls="--", label="the light, dashed")
    axis.axhline(CHANCE, color="grey", ls=":", lw=1)
    axis.set(xlabel="frames ahead", ylabel="right", ylim=(0, 1.02), xlim=(0, 300))
    axis.set_title(f"Factor {MIDDLE} with a level blind: identities", fontsize=10)


def ahead(curve: Sequence[float]) -> np.ndarray:
    """Frames after the context, at the means that make up a curve."""
    return EVERY * (np.arange(len(curve)) + 0.5)
