"""Implementation of `evaluate_video.py`: scores of runs on common held-out videos, with curves.

Read next: `analysis/metrics/protocols.py`, what SSIM and PSNR mean here; `predictions.py`, how they
are computed.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import tyro
from rich.console import Console
from rich.progress import track

from analysis.metrics.fvd import load_torchscript
from analysis.metrics.lpips import load_lpips
from analysis.metrics.protocols import PROTOCOLS, ProtocolName
from analysis.pages.stills import draw_stills
from analysis.video.curves import draw_curves
from analysis.video.frames import frames_at_once
from analysis.video.inspection import SIGHTED, blindfolds
from analysis.video.predictions import Trial, score_model, score_references
from analysis.video.rollout import check_context, usable_context
from analysis.video.scores import BLIND, Line, make_line, rank_lines
from analysis.video.table import markdown, to_json
from common import Count, CountOrZero, UserError, check_bounds
from configs.data import DataConfig
from recordings.held_out import common_data, only_image, read_videos
from replay.atomic import write_text
from training.build_video import VideoRun, load_video_run, marks_plans, to_records
from training.config_json import encode
from training.versions import versions

SHOWN = 2  # videos shown in the stills


@dataclass(frozen=True)
class EvaluateVideoConfig:
    """Score open-loop video predictions of trained world models."""

    run: tyro.conf.UseAppendAction[tuple[Path, ...]] = ()
    """Directory of a pretrain_video.py run; repeat the flag to compare and rank runs. All must have
    been trained on the same data."""
    protocol: ProtocolName = "cwvae"
    """SSIM and PSNR as computed by the original CW-VAE and SVG (`cwvae`), or by Wang et al. and
    TECO (`standard`); numbers of the two are not comparable."""
    context: Count | None = None
    """Frames seen before prediction; a multiple of every model's top stride; default: those of the
    runs, the most if they differ."""
    fit_context: bool = False
    """If the context is not a multiple of a model's top stride, show that model only the context's
    last whole blocks of that stride."""
    horizon: Count | None = None
    """Frames predicted after the context; default: as many as the held-out videos have, at most
    1 000; if they differ in length, those that have the most to predict in all. Generated videos
    are made longer if needed."""
    samples: Count = 1
    """N: futures sampled per video; their mean and best scores are reported."""
    videos: Count | None = None
    """Held-out videos to evaluate on; default: all that are long enough, at most 100."""
    levels: bool = False
    """Also score predictions with each level left blind in turn: how long a prediction stays usable
    without what only that level saw. Adds one evaluation per level."""
    lpips_weights: Path | None = None
    """LPIPS weights as .npz; analysis/metrics/lpips.py explains how to write them."""
    fvd_torchscript: Path | None = None
    """I3D as TorchScript (i3d_torchscript.pt) for the Frechet video distance; needs PyTorch. SUCH A
    FILE CAN RUN CODE: use only one from a source that you trust."""
    output: Path | None = None
    """Directory for the results; default: `evaluation` in the first run's directory."""
    seed: CountOrZero = 0
    """Random seed for futures and random frames."""


class Loaded(NamedTuple):
    """A run, its name in the results, and the number of context frames that it sees."""

    name: str
    path: Path
    run: VideoRun
    context: int


class Results(NamedTuple):
    """Results to be written."""

    lines: list[Line]
    stills: dict[str, np.ndarray]  # uint8 [videos, times, h, w, C] by name
    data: DataConfig
    shorter: int  # held-out videos that are too short


def evaluate(config: EvaluateVideoConfig, command: str) -> Path:
    """Load the runs, score their predictions, write the results; return the path of the table."""
    check(config)
    found = [load_video_run(path) for path in config.run]
    context = config.context or max(run.config.context for run in found)
    runs = named_runs(config, context, found)
    data = common_data({loaded.name: loaded.run.config.data for loaded in runs})
    steps, shorter, trial = make_trial(config, context, data)
    lines = [
        make_line(name, True, scored.values, scored.fvd, {})
        for name, scored in score_references(trial, progress("uninformed predictions")).items()
    ]
    stills = {"true": trial.future[:SHOWN, trial.still_times]}
    for loaded in runs:
        model = loaded.run.model
        records = to_records(steps, model.action_width, marks_plans(loaded.run.config))
        for name, blind in views(loaded, config.levels).items():
            start = time.monotonic()
            scored = score_model(trial, model, records, loaded.context, progress(name), blind)
            about = describe(loaded) | {"seconds": round(time.monotonic() - start, 1)}
            if blind:
                about[BLIND] = blind[0] + 1
            lines.append(make_line(name, False, scored.values, scored.fvd, about))
            stills[name] = scored.stills[:SHOWN]
    return write(config, command, trial, Results(lines, stills, data, shorter))


def check(config: EvaluateVideoConfig) -> None:
    """Raise UserError on invalid settings, before anything is loaded."""
    if not config.run:
        raise UserError("run: expected at least one directory, received none; give --run RUN")
    if len({path.resolve() for path in config.run}) < len(config.run):
        shown = " ".join(map(str, config.run))
        raise UserError(f"run: expected different directories, received {shown}; give each once")
    check_bounds(config)


def named_runs(config: EvaluateVideoConfig, context: int, runs: Sequence[VideoRun]) -> list[Loaded]:
    """The runs, named by their directory, or by its path if two directories share a name.

    Raises:
      UserError: if one cannot start predicting after the context.
    """
    short = [path.resolve().name for path in config.run]
    loaded = []
    for path, name, run in zip(config.run, short, runs, strict=True):
        name = name if short.count(name) == 1 else str(path)
        seen = usable_context(run.model, context) if config.fit_context else context
        try:
            check_context(run.model, seen)
        except UserError as error:
            more = "" if config.fit_context else ", or --fit-context True"
            raise UserError(f"{name}: {error}{more}") from error
        loaded.append(Loaded(name, path, run, seen))
    return loaded


def views(loaded: Loaded, levels: bool) -> dict[str, tuple[int, ...]]:
    """Blind levels (from 0) of each line of a run, by the line's name."""
    blind = blindfolds(len(loaded.run.model.clocks)) if levels else {SIGHTED: ()}
    return {
        loaded.name if name == SIGHTED else f"{loaded.name}, {name}": unseen
        for name, unseen in blind.items()
    }


def make_trial(
    config: EvaluateVideoConfig, context: int, data: DataConfig
) -> tuple[dict[str, Any], int, Trial]:
    """Read the held-out videos; return their steps, the number of those that are too short, and the
    trial to predict and score."""
    lpips = None if config.lpips_weights is None else load_lpips(config.lpips_weights)
    fvd = None if config.fvd_torchscript is None else load_torchscript(config.fvd_torchscript)
    steps, shorter = read_videos(data, config.videos, context, config.horizon)
    image = only_image(steps["obs"])
    trial = Trial(
        videos=steps["obs"][image],
        image=image,
        context=context,
        samples=config.samples,
        protocol=PROTOCOLS[config.protocol],
        lpips=lpips,
        fvd=fvd,
        seed=config.seed,
        chunk=frames_at_once(),
    )
    return steps, shorter, trial


def progress(what: str) -> Callable[[range], Iterator[int]]:
    """A progress bar on standard error."""
    return lambda steps: iter(track(steps, what, console=Console(stderr=True)))


def describe(loaded: Loaded) -> dict[str, Any]:
    """Description of a run for JSON."""
    config, sizes = loaded.run.config, [x.size for x in jax.tree.leaves(loaded.run.params)]
    return {
        "run": str(loaded.path),
        "updates": loaded.run.step,
        "context": loaded.context,
        "strides": list(config.model.strides),
        "parameters": int(sum(sizes)),
        "preset": config.preset,
        "training_seed": config.seed,
    }


def write(config: EvaluateVideoConfig, command: str, trial: Trial, results: Results) -> Path:
    """Write table, JSON and curves, named after the protocol, and stills; print the table."""
    folder = config.output or config.run[0] / "evaluation"
    lines, data = results.lines, results.data
    ranks, header = rank_lines(lines, data.name), headline(config, trial, results)
    settings = {
        "command": command,
        "protocol": trial.protocol.name,
        "protocol_words": trial.protocol.words,
        "data": encode(data, DataConfig, ""),
        "videos": len(trial.videos),
        "context": trial.context,
        "horizon": trial.horizon,
        "samples": trial.samples,
        "seed": trial.seed,
        "weights": {
            name: str(path)
            for name, path in (("lpips", config.lpips_weights), ("fvd", config.fvd_torchscript))
            if path is not None
        },
        "versions": versions(),
    }
    name = trial.protocol.name
    write_text(folder / f"{name}.json", to_json(lines, ranks, settings))
    draw_curves(folder / f"{name}.png", lines, header[0], trial.samples)
    draw_stills(folder / "stills.png", results.stills, trial.still_times + 1)
    table = markdown(lines, ranks, trial.samples, [*header, f"`{command}`"])
    write_text(folder / f"{name}.md", table)
    print(table)
    print(f"curves: {folder / f'{name}.png'}\nstills: {folder / 'stills.png'}")
    return folder / f"{name}.md"


def headline(config: EvaluateVideoConfig, trial: Trial, results: Results) -> list[str]:
    """Paragraphs on what was evaluated and how, and on what was left out."""
    first = (
        f"{results.data.name}: {len(trial.videos)} held-out videos, {trial.context} frames seen, "
        f"{trial.horizon} predicted open loop, {trial.samples} sample(s) per video, "
        f"seed {trial.seed}"
    )
    notes = [first, f"{trial.protocol.words}. ± is half a 95% interval over videos."]
    if results.shorter:
        notes.append(
            f"Left out, as they have fewer frames: {results.shorter:,} of the held-out videos "
            "(--horizon)."
        )
    notes.append(
        "Usable frames: those before the mean over videos, smoothed over 9 frames, first falls to "
        "that of an uninformed prediction, which is named."
    )
    if config.levels:
        notes.append(
            "A blind level sees no frame of the context: what is lost without it, it alone saw."
        )
    else:
        notes.append("For usable frames without each level: --levels True.")
    fewer = [
        line for line in results.lines if line.about.get("context", trial.context) < trial.context
    ]
    notes += [f"{line.name} sees the last {line.about['context']} of them." for line in fewer]
    if config.lpips_weights is None:
        notes.append("LPIPS is not computed: no weights were given (--lpips-weights FILE.npz).")
    if config.fvd_torchscript is None:
        notes.append(
            "The Frechet video distance is not computed: no weights of I3D were given "
            "(--fvd-torchscript FILE.pt)."
        )
    if len(trial.videos) < 2:
        notes.append("random frame is left out: it needs 2 videos or more.")
    return notes
