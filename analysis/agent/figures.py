"""Figures of the agent's report: learning curves, an episode, what-if futures.

Read next: `episode.py`, the data drawn; `analysis/pages/episode_plots.py`, the drawing.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle, islice
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from analysis.agent.episode import EpisodeInspection, Obs, View, WhatIf
from analysis.pages.episode_plots import BLACK, Line, Panel, draw_along, draw_futures
from analysis.pages.plots import COLOURS, GREY
from training.picture import pictures

MOST_VECTOR = 6  # dimensions of vector observations drawn as curves, at most
HAPPENED = "what happened"


def draw_training(rows: Sequence[Mapping[str, Any]], chance: np.ndarray) -> Figure | None:
    """Returns and KL per level over environment steps; None if nothing was logged.

    Args:
      rows: of metrics.jsonl.
      chance: [n] returns of episodes under random actions.
    """

    def line(key: str, name: str, colour: str, **more: Any) -> Line:
        found = [row for row in rows if key in row]
        time, value = (np.array([row[k] for row in found], float) for k in ("step", key))
        if error := more.pop("error", None):
            more["error"] = np.array([row.get(error, np.nan) for row in found], float)
        return Line(name, time, value, colour, **more)

    returns = [
        line("episode/return", "an episode in training, sampled", GREY, style="."),
        line("eval/return", "greedy, 95%", COLOURS[0], error="eval/return_95"),
    ]
    levels = sorted({key for row in rows for key in row if key.startswith("kl/level")})
    kl = [
        line(key, f"level {key.removeprefix('kl/level')}", COLOURS[n + 1])
        for n, key in enumerate(levels)
    ]
    panels = [
        Panel("return", "", [x for x in returns if len(x.time)]),
        Panel("KL per level", "nats per tick", kl, log=True),
    ]
    panels = [panel for panel in panels if panel.lines]
    if not panels:
        return None
    last = max(float(x.time.max()) for panel in panels for x in panel.lines)
    if len(chance) and panels[0].title == "return":
        level = np.full(2, chance.mean())
        random = Line("random actions", np.array([0.0, last]), level, BLACK, style="--")
        panels[0] = panels[0]._replace(lines=[*panels[0].lines, random])
    return draw_along(panels, (0.0, last), "environment steps")


def draw_episode(one: EpisodeInspection, view: View, strides: Sequence[int]) -> Figure:
    """Frames, frames decoded from level 1's belief, and the trace's curves on one time axis."""
    trace: Any = one.trace  # numpy by now
    seen = {name: x[view.times] for name, x in one.obs.items()}
    strips = frames({"seen": seen, "decoded": view.decoded}, one.obs)
    panels = [
        Panel(
            level_title(n, strides, bool(np.any(np.diff(level.time) < strides[n]))),
            "nats",
            [Line("KL", level.time, level.kl, COLOURS[n + 1], steps=True)],
        )
        for n, level in reversed(list(enumerate(trace.levels)))
    ]
    entropy = [
        Line(f"level {n + 1}", level.time, level.prior_entropy, COLOURS[n + 1], steps=True)
        for n, level in enumerate(trace.levels)
    ]
    times = np.arange(len(one.reward))
    reward = Line("reward", times, one.reward, BLACK, steps=True)
    windows = [
        Line("observed", trace.time, trace.observed, BLACK, wide=True),
        Line("read from the belief", trace.time, trace.believed, COLOURS[0]),
        Line("predicted one tick ahead", trace.time, trace.foreseen, COLOURS[1]),
    ]
    panels += [
        Panel("entropy of the priors", "nats", entropy),
        Panel("reward, per step", "", [reward]),
        Panel("reward of the window that ends here", "", windows),
        Panel("the critic's value", "", [Line("value", trace.time, trace.value, COLOURS[0])]),
    ]
    marks = [] if one.what_if is None else [one.what_if.start]
    return draw_along(panels, view.span, "environment steps", strips, marks)


def frames(rows: Mapping[str, Obs], scale: Obs) -> dict[str, np.ndarray]:
    """Rows of observations as pictures; each dimension of a vector is divided by its largest
    absolute value in ``scale``."""
    most = {n: np.maximum(np.abs(x).max(0), 1e-6) for n, x in scale.items() if x.ndim == 2}
    return {
        row: pictures(
            {n: x / most[n] if n in most else x for n, x in obs.items()}, dict.fromkeys(most, 1.0)
        )
        for row, obs in rows.items()
    }


def level_title(level: int, strides: Sequence[int], phased: bool) -> str:
    """A panel's title: which level's KL it shows, and how often that level ticks."""
    stride = strides[level]
    every = "every step" if stride == 1 else f"every {stride} steps"
    title = f"KL of level {level + 1}, which ticks {every}"
    return title + (": filtered in all phases, so there is a tick at each step" if phased else "")


def draw_what_if(found: WhatIf, columns: int) -> Figure:
    """Decoded futures below one another, each with its imagined returns beside it."""
    count = len(next(iter(found.obs.values()))[0])
    wide = sum(x.ndim == 4 for x in found.true.values()) or 1
    times = np.unique(np.linspace(1, count, max(2, columns // wide - 2)).round().astype(int))
    known = times < len(next(iter(found.true.values())))
    rows = {HAPPENED: {key: x[times[known]] for key, x in found.true.items()}} | {
        name: {key: x[n, times - 1] for key, x in found.obs.items()}
        for n, name in enumerate(found.names)
    }
    scale = {key: np.concatenate([obs[key] for obs in rows.values()]) for key in found.obs}
    strips = frames(rows, scale)
    happened = np.full_like(strips[found.names[0]], 255)
    happened[known] = strips[HAPPENED]
    returns = {name: found.returns[n] for n, name in enumerate(found.names)}
    if np.isfinite(found.observed):
        returns[HAPPENED] = np.array([found.observed])
    return draw_futures(strips | {HAPPENED: happened}, times, returns, colours(found))


def colours(found: WhatIf) -> dict[str, str]:
    """The colour of every row, by name."""
    palette = [GREY, BLACK, *islice(cycle(COLOURS), len(found.names) - 1)]
    return dict(zip([HAPPENED, *found.names], palette, strict=True))


def draw_promises(found: WhatIf, trace: Any, stride: int) -> Figure:
    """Imagined window rewards, values and vector observations, with all futures overlaid.

    Args:
      trace: `EpisodeInspection.trace`, what actually happened.
    """
    ticks = stride * np.arange(1, found.ticks + 1)
    colour = colours(found)

    def panel(title: str, time: np.ndarray, values: np.ndarray, real: Line) -> Panel:
        lines = [Line(name, time, values[n], colour[name]) for n, name in enumerate(found.names)]
        return Panel(title, "", [real, *lines])

    def happened(time: np.ndarray, value: np.ndarray) -> Line:
        return Line(HAPPENED, time, value, GREY, wide=True)

    since = trace.time - found.start
    panels = [
        panel(
            "reward of the window that ends here",
            ticks,
            found.reward,
            happened(since, trace.observed),
        ),
        panel("the critic's value", ticks, found.value, happened(since, trace.value)),
    ]
    for label, true, imagined in vector_curves(found):
        steps = np.arange(1, imagined.shape[1] + 1)
        panels.append(panel(label, steps, imagined, happened(np.arange(len(true)), true)))
    return draw_along(panels, (0, float(ticks[-1])), "environment steps after the start")


def vector_curves(found: WhatIf) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, true values [n] and imagined values [R, H·K] of the first vector dimensions."""
    left = MOST_VECTOR
    for name, imagined in sorted(found.obs.items()):
        if imagined.ndim == 3:
            for i in range(min(left, imagined.shape[-1])):
                label = f"{name}[{i}]" if imagined.shape[-1] > 1 else name
                yield label, found.true[name][:, i], imagined[..., i]
            left -= min(left, imagined.shape[-1])
