"""All systems on vector frames, one cell after another, and the page of their results.

Read next: ``systems.py``, the systems; ``claims.py``, the criteria that were set before.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
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


def run_all(
    results: Path, wanted: Sequence[str] | None, minutes: float, length: int | None = None
) -> None:
    """Run every wanted cell that has no result yet; start none after ``minutes``. The results that
    are there must be of today's settings.

    Args:
      length: frames of a training video; None for ``SCALE``'s. Results of other lengths are kept
        under separate names.
    Raises:
      UserError: if a cell does not exist, or a result there is of other settings.
    """
    for name in wanted or ():
        if name not in ORDER:
            raise UserError(f"cells: expected some of {', '.join(ORDER)}, received {name}")
    until = time.monotonic() + 60 * minutes
    scale = replace(SCALE, length=length or SCALE.length)
    other = "" if scale == SCALE else f"-length{length}"
    check_today(scale, results, other)
    for name in wanted or ORDER:
        path = results / "paper" / f"{name}{other}.json"
        if path.is_file():
            continue
        if time.monotonic() > until:
            return
        print(name, flush=True)
        found = costs(scale) if name == COST else run(CELLS[name], scale, SEEDS)
        keep(path, found)


def read(results: Path, other: str = "") -> dict[str, Found]:
    """Read the results of the cells that have been run, by name; ``other``: what their files' names
    end in if their videos have another length than ``SCALE``'s."""
    paths = {name: results / "paper" / f"{name}{other}.json" for name in ORDER}
    return {name: read_json(path) for name, path in paths.items() if path.is_file()}


def settings(found: Mapping[str, Any]) -> Found:
    """What a result was made with, by name. Costs have no seeds; those from before 2026-12 tell
    nothing."""
    seeds = {"seeds": found["seeds"]} if "seeds" in found else {}
    return {**found.get("scale", {}), **seeds}


def today(scale: Scale) -> Found:
    """What a result is made with today, by name."""
    return {**vars(scale), "seeds": list(SEEDS)}


def check_today(scale: Scale, results: Path, other: str) -> None:
    """Raise UserError if a result there is of other settings than today's; ``other`` as in
    `read`."""
    for name, found in read(results, other).items():
        there, here = {"seeds": list(SEEDS), **settings(found)}, today(scale)
        names = [key for key in here if there.get(key) != here[key]]
        if names:
            told = [", ".join(f"{key} {x.get(key)}" for key in names) for x in (here, there)]
            raise UserError(
                f"{results / 'paper'}: expected results of {told[0]}, received {name}{other} of "
                f"{told[1]}; choose --results anew, or --stage report for the page of those there"
            )


def shared(results: Path, cells: Cells) -> Found:
    """The settings that all cells share, by name, which need not be today's.

    Raises:
      UserError: if two cells are of different settings.
    """
    used: Found = {}
    for name, cell in cells.items():
        for key, value in settings(cell).items():
            if used.setdefault(key, value) != value:
                raise UserError(
                    f"{results / 'paper'}: expected results of the same settings, received "
                    f"{name} of {key} {value} beside others of {used[key]}; choose --results "
                    "anew, or take the ones or the others away"
                )
    return {**today(SCALE), **used}


def report(results: Path) -> None:
    """Write the page, and its figure, of the cells that have been run.

    Raises:
      UserError: if they are of different settings.
    """
    cells = read(results)
    used = shared(results, cells)
    missing = [name for name in ORDER if name not in cells]
    lines = [
        "# The papers' claims on frames that are vectors",
        "",
        "    python -m benchmarks.paper --scale vectors",
        "",
        "Two balls that bounce, each of one of five kinds for good, and a light that switches "
        f"every 50 frames; {used['updates']:,} updates of {used['batch']} videos of "
        f"{used['length']} frames, |h| {used['deter']}, seeds {used['seeds'][0]} to "
        f"{used['seeds'][-1]}; after {used['context']} frames, {used['horizon']:,} are "
        f"predicted of {used['videos']} held-out videos. CPU-seconds are of an update, on one core "
        "that other programs used too. Shares right: chance is 0.20.",
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
        "frames seen",
        "frames until identity falls below half: median (each seed)",
        "identity right over the last 100",
        "light right, first 20 frames",
        "error of places, first 20 frames",
        "KL by level, nats per sequence",
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
            start = f"| {system.model} | {system.speed:g} | {cell['seen']} |"
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
    axis.set_ylabel("KL, nats per sequence")
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
