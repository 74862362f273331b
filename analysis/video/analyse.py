"""The report of `analyse_video.py`, where its contents are described.

Read next: `inspection.py`, what a blind level is; `findings.py`, what is measured on which data.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import numpy as np

from analysis.pages import plots, report
from analysis.pages.plots import Curve, number
from analysis.probes.measures import LOWER_IS_BETTER, TRUE
from analysis.video.findings import AnalyseVideoConfig, Found, analyse_run
from analysis.video.inspection import SIGHTED
from analysis.video.scores import Usable, usable_horizon
from analysis.video.table import shown
from common import UserError, check_bounds, dump_json
from recordings.data import has_option
from replay.atomic import write_text
from training.config_io import settings_of
from training.versions import versions


def analyse(config: AnalyseVideoConfig, command: str) -> Path:
    """Analyse every run, write the report and its numbers, and return the report's path."""
    output = checked_output(config)
    found = {}
    for name, path in names(config.run).items():
        print(f"{name}: analysing", flush=True)
        found[name] = analyse_run(path, config)
        for line in found[name].notes:
            print(f"  {line}")
    write_text(output, report.document("What each level holds", page(found, command)))
    write_text(output.with_suffix(".json"), dump_json(numbers(found, command), indent=1) + "\n")
    for line in kl_lines(found):
        print(line)
    print(f"report: {output}\nnumbers: {output.with_suffix('.json')}")
    return output


def checked_output(config: AnalyseVideoConfig) -> Path:
    """Return the report's path. Raises UserError on invalid settings, before any work starts."""
    if not config.run:
        raise UserError("run: expected at least one directory, received none; give --run RUN")
    check_bounds(config)
    if config.window % 2 == 0:
        raise UserError(
            f"window: expected an odd number of frames, received {config.window}; add 1"
        )
    output = config.output or config.run[0] / "analysis.html"
    if output.suffix != ".html":
        raise UserError(f"output: expected a path ending in .html, received {output}; rename it")
    return output


def names(paths: Sequence[Path]) -> dict[str, Path]:
    """Runs by the name of their directory, or by its path if two runs share the name."""
    short = [path.resolve().name for path in paths]
    return {
        name if short.count(name) == 1 else str(path): path
        for name, path in zip(short, paths, strict=True)
    }


def page(found: Mapping[str, Found], command: str) -> list[str]:
    """Blocks of the report: all runs together, then each run."""
    blocks = [report.command(command), overview(found), *kl_section(found)]
    blocks += speed_section(found)
    blocks += knowledge_section(found)
    for name, one in found.items():
        blocks += run_section(name, one)
    return blocks


def overview(found: Mapping[str, Found]) -> str:
    """Table of the runs."""
    rows = []
    for name, one in found.items():
        c = one.run.config
        strides = " ".join(map(str, c.model.strides))
        size = sum(x.size for x in jax.tree.leaves(one.run.params))
        data = c.data.name + (f", speed {c.data.speed:g}" if speed(one) else "")
        about = [data, c.preset, strides, f"{size / 1e6:.2f} M", f"{one.run.step:,}"]
        rows.append([name, *about])
    return report.table(["run", "data", "model", "strides", "parameters", "updates"], rows)


def speed(one: Found) -> float | None:
    """The factor on the speed of the data; None if they have no such option."""
    data = one.run.config.data
    return data.speed if has_option(data, "speed") else None


def kl_lines(found: Mapping[str, Found]) -> list[str]:
    """Lines with the KL per level, for every run whose model has levels."""
    having = {name: one for name, one in found.items() if one.run.model.clocks}
    kl = {name: ", ".join(map(number, one.inspection.kl.mean(0))) for name, one in having.items()}
    return [f"{name}: KL per level {nats} nats per sequence" for name, nats in kl.items()]


def kl_section(found: Mapping[str, Found]) -> list[str]:
    """Section on the KL per level of all runs whose model has levels. CW-VAE Table 1."""
    found = {name: one for name, one in found.items() if one.run.model.clocks}
    if not found:
        return []
    levels = max(one.inspection.kl.shape[1] for one in found.values())
    rows = []
    for name, one in found.items():
        kl = one.inspection.kl
        error = kl.std(0, ddof=1) / len(kl) ** 0.5 if len(kl) > 1 else np.full(kl.shape[1], np.nan)
        cells = [f"{number(m)} ± {number(e)}" for m, e in zip(kl.mean(0), error, strict=True)]
        cells += ["–"] * (levels - len(cells))
        rows.append([name, str(one.run.config.length), *cells, number(kl.sum(1).mean())])
    header = ["run", "frames", *(f"level {n + 1}" for n in range(levels)), "all"]
    means = {name: one.inspection.kl.mean(0) for name, one in found.items()}
    return [
        report.heading("How much each level takes from the frames"),
        report.paragraph(
            "KL of posterior from prior, nats per sequence of as many frames as one of training, "
            "summed over the level's ticks; an upper bound on what the level stores of it. Means "
            "over held-out videos ± standard error. CW-VAE, Table 1."
        ),
        report.table(header, rows),
        report.figure(plots.draw_kl(means), "KL per level, logarithmic."),
    ]


def speed_section(found: Mapping[str, Found]) -> list[str]:
    """Section on the KL per level over the speed of the data, if at least two runs differ in speed
    but not in data, preset, strides or frames per sequence. CW-VAE Figure 8."""
    groups: dict[tuple[str, str, tuple[int, ...], int], list[Found]] = {}
    for one in found.values():
        c = one.run.config
        if one.run.model.clocks and speed(one) is not None:
            key = (c.data.name, c.preset, c.model.strides, c.length)
            groups.setdefault(key, []).append(one)
    blocks = []
    for (data, preset, strides, _), group in groups.items():
        speeds = np.array([one.run.config.data.speed for one in group])
        if len(np.unique(speeds)) > 1:
            kl = np.stack([one.inspection.kl.mean(0) for one in group])
            shown = f"{preset}, strides {' '.join(map(str, strides))}"
            caption = f"KL per level of runs on {data}, {shown}."
            blocks.append(report.figure(plots.draw_speed(speeds, kl), caption))
    if not blocks:
        return []
    text = (
        "The same model trained on slower and faster versions of the same data. The paper finds "
        "that faster digits move KL down the hierarchy. CW-VAE, Figure 8."
    )
    return [report.heading("Speed of the data"), report.paragraph(text), *blocks]


def knowledge_section(found: Mapping[str, Found]) -> list[str]:
    """Section on what predictions still know: one figure per measure, of all runs that have it."""
    blocks = []
    for measure in dict.fromkeys(m for one in found.values() for m in one.inspection.measures):
        having = {n: one for n, one in found.items() if measure in one.inspection.measures}
        curves = [Curve(n, one.inspection.measures[measure][SIGHTED]) for n, one in having.items()]
        references = {
            (label, value.tobytes()): Curve(
                label if len(having) == 1 else f"{label} ({name})", value, True
            )
            for name, one in having.items()
            for label, value in one.references.get(measure, {}).items()
        }  # references of the same data coincide and are drawn once
        drawn = plots.draw_curves([*curves, *references.values()], measure)
        blocks.append(report.figure(drawn, f"{sentence(measure)}, as the prediction goes on."))
    explained = dict.fromkeys(text for one in found.values() for text in one.explained)
    texts = [report.paragraph(text) for text in explained]
    return [report.heading("What predictions still know"), *texts, *blocks]


def run_section(name: str, one: Found) -> list[str]:
    """Section on one run: its settings, its entropy, and what is lost without each level."""
    c, inspection = one.run.config, one.inspection
    horizon = len(inspection.levels.entropy)
    text = f"{one.context} frames seen, {horizon} predicted; {len(inspection.kl)} held-out videos."
    settings = settings_of(c)
    rows = [[key, dump_json(value)] for key, value in settings.items()]
    blocks = [report.heading(name), report.paragraph(text)]
    blocks += [report.paragraph(f"{sentence(note)}.") for note in one.notes]
    blocks.append(report.details("Its settings", report.table(["setting", "value"], rows)))
    return blocks + level_blocks(one) + reset_blocks(one)


def level_blocks(one: Found) -> list[str]:
    """How often the levels tick during the prediction, and the entropy of their priors."""
    clocks, levels = one.run.model.clocks, one.inspection.levels
    if not clocks:
        return []
    caption = (
        "Entropy of each level's prior over the prediction, mean over videos. A level that keeps "
        "what does not change stays as certain as it was. Differential entropy may be negative. "
        "TALD, Figure 10."
    )
    ticks = [
        [f"level {n + 1}", clock, f"{share:.3f}"]
        for n, (clock, share) in enumerate(zip(clocks, levels.ticks.mean(0), strict=True))
    ]
    drawn = plots.draw_entropy(levels.entropy, clocks)
    return [
        report.heading("Entropy of the priors", 3),
        report.figure(drawn, caption),
        report.table(["level", "ticks", "share of predicted frames at which it does"], ticks),
    ]


def reset_blocks(one: Found) -> list[str]:
    """Level reset: films, curves, and a table of means."""
    text = (
        "Each level in turn is left blind: while the context is filtered, its stochastic state is "
        "drawn from its prior, given its own past and the level above, and all other levels see "
        "the frames. The state is not set to zeros. Then the future is predicted as ever: what "
        "goes wrong, only that level had known. CW-VAE, section 3.6 and Figure 7; TALD, Figure 11."
    )
    blocks = [report.heading("Each level left blind", 3), report.paragraph(text)]
    for film in one.films:
        caption = f"{film.name}: true frames seen left of the line, then true and predicted ones."
        blocks.append(report.figure(plots.draw_film(film.rows, film.times, film.seen), caption))
    measures = one.inspection.measures
    frames = min(len(x) for curves in measures.values() for x in curves.values())
    rows = []
    for measure, curves in measures.items():
        cut = {name: value[:frames] for name, value in curves.items()}
        rows.append([measure, *(number(float(np.nanmean(x))) for x in cut.values())])
        drawn = plots.draw_curves([Curve(n, x) for n, x in cut.items()], measure)
        blocks.append(report.figure(drawn, f"{sentence(measure)}, with each level blind."))
    header = [f"mean over {frames} frames", *next(iter(measures.values()))]
    return [*blocks, report.table(header, rows), *usable_blocks(one)]


def usable_blocks(one: Found) -> list[str]:
    """For how many frames a prediction is usable, by every probe and without each level."""
    usable = usable_frames(one)
    if not usable:
        return []
    rows = [[measure, *map(shown, views.values())] for measure, views in usable.items()]
    header = ["usable frames by", *next(iter(usable.values()))]
    text = (
        "Frames before a measure, smoothed over 9 of them, first falls to what is had for nothing, "
        "which is named; of as many frames as are predicted. Without a level, what is lost is what "
        "it alone had known."
    )
    return [report.paragraph(text), report.table(header, rows)]


def usable_frames(one: Found) -> dict[str, dict[str, Usable]]:
    """Usable frames by measure, for measures that have references, and by which level was blind."""
    known = {
        measure: {label: x for label, x in lines.items() if label != TRUE}
        for measure, lines in one.references.items()
    }
    return {
        measure: {
            who: usable_horizon(curve, known[measure], measure not in LOWER_IS_BETTER)
            for who, curve in curves.items()
        }
        for measure, curves in one.inspection.measures.items()
        if known.get(measure)
    }


def sentence(text: str) -> str:
    """The text with its first letter capitalised."""
    return text[:1].upper() + text[1:]


def numbers(found: Mapping[str, Found], command: str) -> dict[str, object]:
    """Contents of the report for JSON; nan becomes null."""

    def plain(x: np.ndarray) -> list[float | None]:
        return [None if np.isnan(v) else round(float(v), 5) for v in x]

    runs = {}
    for name, one in found.items():
        measures = {
            measure: {who: plain(x) for who, x in curves.items()}
            for measure, curves in one.inspection.measures.items()
        }
        runs[name] = {
            "updates": one.run.step,
            "strides": list(one.run.config.model.strides),
            "speed": speed(one),
            "frames_per_sequence": one.run.config.length,
            "context": one.context,
            "kl": plain(one.inspection.kl.mean(0)),
            "clocks": list(one.run.model.clocks),
            "ticks": [plain(x) for x in one.inspection.levels.ticks.T],
            "prior_entropy": [plain(x) for x in one.inspection.levels.entropy.T],
            "measures": measures,
            "usable_horizon": {
                measure: {who: usable._asdict() for who, usable in views.items()}
                for measure, views in usable_frames(one).items()
            },
            "references": {
                measure: {label: plain(x) for label, x in curves.items()}
                for measure, curves in one.references.items()
            },
            "notes": one.notes,
        }
    return {"command": command, "versions": versions(), "runs": runs}
