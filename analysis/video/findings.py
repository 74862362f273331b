"""Analysis of a run on its held-out videos; the probes depend on which factors the data record.

`factor/identity` of two digits: a digit reader reads the predictions; `factor/room`: frames are
assigned to rooms by their colours; `factor/colour`: the colour of a ball is read. Read next:
`analysis/video/inspection.py`, which applies the probes; `analyse_video.py`, the report.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import tyro
from rich.console import Console
from rich.progress import Progress

from analysis.probes import digit_training, measures
from analysis.probes.digit_reader import class_numbers
from analysis.probes.digit_training import Glyphs, Tested
from analysis.video.frames import frames_at_once
from analysis.video.inspection import (
    BATCH,
    SIGHTED,
    Inspection,
    Trial,
    blindfolds,
    futures,
    inspect,
    mean_known,
)
from analysis.video.rollout import check_context
from common import Count, CountOrZero
from configs.data import GENERATED
from recordings.data import open_test
from recordings.generators.digits import digit_images
from recordings.held_out import enough, only_image, sizes
from replay import first_steps
from training.build_video import VideoRun, load_video_run, marks_plans, to_records, with_lead
from worldmodel.records import Records

MOST_VIDEOS = 32  # maximum number of videos by default
TRUSTED = 0.97  # minimum accuracy on true frames for a digit reader to be trusted
IDENTITY, ROOM, COLOUR = "factor/identity", "factor/room", "factor/colour"
COLUMNS = 11  # maximum number of future frames in a film


@dataclass(frozen=True)
class AnalyseVideoConfig:
    """Inspect the hierarchy of trained world models."""

    run: tyro.conf.UseAppendAction[tuple[Path, ...]] = ()
    """Directory of a pretrain_video.py run; repeat the flag to draw several runs together."""
    videos: Count | None = None
    """Held-out videos to measure on; default: all that are long enough, at most 32."""
    context: Count | None = None
    """Frames seen before prediction, a multiple of the top stride; default: the run's own
    context."""
    horizon: Count | None = None
    """Frames predicted with no level blind; default: as many as the held-out videos have, at most
    1 000; if they differ in length, those that have the most to predict in all. Generated videos
    are made longer if needed."""
    reset_horizon: Count = 100
    """Frames predicted with one level blind."""
    samples: Count = 2
    """Predictions sampled per blind level for each video shown."""
    shown: Count = 2
    """Videos shown."""
    window: Count = 9
    """Frames that the digit reader reads together; odd."""
    reader_steps: Count = 3_000
    """Updates of the digit reader, trained once per set of digits and kept with the data."""
    output: Path | None = None
    """Path of the report, .html; default: `analysis.html` in the first run's directory."""
    seed: CountOrZero = 0
    """Random seed for noise."""


class Film(NamedTuple):
    """One video: rows of true and predicted frames, one below the other."""

    name: str
    rows: dict[str, np.ndarray]  # uint8 [n, h, w, C], white where nothing is predicted
    times: np.ndarray  # [n] in frames after the last one of the context
    seen: int  # number of columns within the context


class Found(NamedTuple):
    """A run and the results of its analysis."""

    run: VideoRun
    context: int
    inspection: Inspection
    references: dict[str, dict[str, np.ndarray]]  # by measure and name, [H]
    explained: list[str]  # explanations of the measures
    notes: list[str]  # how far the measures can be trusted
    films: list[Film]


class Sought(NamedTuple):
    """Probes to apply, with their references, explanations and notes (as in `Found`)."""

    probes: list[measures.Probe]
    references: dict[str, dict[str, np.ndarray]]
    explained: list[str]
    notes: list[str]


def analyse_run(path: Path, settings: AnalyseVideoConfig) -> Found:
    """Analyse one run.

    Raises:
      UserError: if it cannot be loaded, its data have too few or too short videos, or the model
        cannot start predicting after the context.
    """
    run = load_video_run(path)
    context = settings.context or run.config.context
    check_context(run.model, context)
    steps, sequences = held_out(run, context, settings)
    image = only_image(steps["obs"])
    sought = look_for(run, steps, image, context, settings)
    horizon = steps["obs"][image].shape[1] - context
    trial = Trial(
        records=to_records(steps, run.model.action_width, marks_plans(run.config)),
        image=image,
        context=context,
        horizon=horizon,
        reset_horizon=min(settings.reset_horizon, horizon),
        probes=sought.probes,
        seed=settings.seed,
        chunk=frames_at_once(),
    )
    inspection = inspect(run.model, sequences, trial)
    films = make_films(run, trial, steps["obs"][image], settings)
    return Found(run, context, inspection, sought.references, sought.explained, sought.notes, films)


def held_out(
    run: VideoRun, context: int, settings: AnalyseVideoConfig
) -> tuple[dict[str, Any], Records]:
    """Beginnings of held-out videos, context and horizon long, and sequences as long as in
    training, with their lead-in."""
    config = run.config
    least = max(settings.horizon or 1, config.length - context)
    with open_test(enough(config.data, settings.videos, context, least)) as store:
        count, horizon = sizes(store, settings.videos, context, settings.horizon)
        count = min(count, MOST_VIDEOS) if settings.videos is None else count
        steps = first_steps(store, count, context + horizon)
        whole = [segment.steps for segment in store.index.segments if segment.whole]
        stride = config.model.strides[-1]
        length = min(config.length, max(whole) // stride * stride)
        sequences = first_steps(store, min(count, sum(n >= length for n in whole)), length)
    records = to_records(sequences, run.model.action_width, marks_plans(config))
    return steps, with_lead(run.model, records)


def look_for(
    run: VideoRun, steps: Mapping[str, Any], image: str, context: int, settings: AnalyseVideoConfig
) -> Sought:
    """Choose the probes that these data allow."""
    videos, data = steps["obs"][image], run.config.data
    sought = Sought([measures.likeness(videos[:, context:])], {}, [], [])
    on_black = data.name in GENERATED and GENERATED[data.name].on_black
    if on_black:
        sought.probes.append(measures.displacement(videos[:, context:]))
    still = np.broadcast_to(videos[:, context - 1 : context], videos[:, context:].shape)
    sought.references.update(
        {m: {"last frame seen": x} for p in sought.probes for m, x in over(p, still).items()}
    )
    if IDENTITY in steps and steps[IDENTITY].shape[-1] == 2:
        look_for_digits(sought, run, steps[IDENTITY][:, 0], videos[:, context:], settings)
    if COLOUR in steps and on_black:
        look_for_colours(sought, np.asarray(steps[COLOUR])[:, context:], videos[:, context:])
    if ROOM in steps:
        look_for_rooms(sought, videos, np.asarray(steps[ROOM]), context)
    return sought


def look_for_digits(
    sought: Sought,
    run: VideoRun,
    identity: np.ndarray,
    future: np.ndarray,
    settings: AnalyseVideoConfig,
) -> None:
    """Add the digit reader: identity int [V, 2], future uint8 [V, H, h, w, C]."""
    read, tested = digit_reader(run, settings)
    probe = measures.digits(read, class_numbers(identity), settings.window)
    true = over(probe, future)
    own = float(true[measures.PAIR].mean())
    guess = np.full(future.shape[1], 0.02)
    sought.probes.append(probe)
    sought.references[measures.PAIR] = {measures.TRUE: true[measures.PAIR], "any fixed pair": guess}
    sought.references[measures.DIGITS] = {measures.TRUE: true[measures.DIGITS]}
    sought.explained.append(
        f"Digits: a convolutional reader says which of the 55 pairs of digits, in any order, "
        f"{settings.window} predicted frames around each time show; a pair is right when both "
        "digits are. It was trained on frames composed of the training images of the same digits, "
        "and is tested on images that neither it nor the model has seen. CW-VAE, Figure 5b."
    )
    sought.notes.append(
        f"digit reader, test accuracy: {tested.single:.1%} of frames of one digit, "
        f"{tested.clear:.1%} of frames of two that hardly overlap, {tested.pair:.1%} of all frames "
        f"of two; over {settings.window} frames of the true videos both digits {own:.1%}"
    )
    if min(own, tested.single) < TRUSTED:
        sought.notes.append(
            f"the digit reader is below {TRUSTED:.0%}: what it reads in predictions is as "
            "uncertain; raise --reader-steps"
        )


def look_for_colours(sought: Sought, colour: np.ndarray, future: np.ndarray) -> None:
    """Add the ball's colour: colour int [V, H], future uint8 [V, H, h, w, 3]."""
    probe = measures.ball_colour(colour)
    true, several = over(probe, future), len(np.unique(colour))
    sought.probes.append(probe)
    sought.references[measures.COLOUR] = {
        measures.TRUE: true[measures.COLOUR],
        "any fixed colour": np.full(future.shape[1], 1 / several),
    }
    sought.explained.append(
        f"Colour: which colour of the palette the sum of all pixels points to; none where the "
        f"picture has hardly any light. These videos have {several}."
    )


def look_for_rooms(sought: Sought, videos: np.ndarray, room: np.ndarray, context: int) -> None:
    """Add the rooms: videos uint8 [V, T, h, w, C], room int [V, T]."""
    sought.probes.append(measures.room_sequence(videos, room, context))
    references = {
        measure: {name: mean_known(x) for name, x in scores.items()}
        for measure, scores in measures.room_references(videos, room, context).items()
    }
    sought.references.update(references)
    sought.explained.append(
        "Rooms: a frame is put into the region (either room, or the hallway) of its video whose "
        "true frames have the most similar mean histogram of colours. The kind of sequence up to a "
        "time is one of: stays in its room; enters the hallway; through the hallway into a room. "
        "No model can know the colours of a region that the context has not shown: those that it "
        "has shown are also counted alone. CW-VAE, Figure 5a."
    )
    own = references[measures.ROOM][measures.TRUE].mean()
    kinds = references[measures.KIND][measures.TRUE][-1]
    sought.notes.append(
        f"rooms by their colours, on true frames held out of the histograms: {own:.1%} of frames, "
        f"{kinds:.1%} of whole sequences' kinds"
    )


def digit_reader(run: VideoRun, settings: AnalyseVideoConfig) -> tuple[measures.Read, Tested]:
    """A reader of the data's digits, newly trained or loaded, and its test accuracy."""
    data = run.config.data
    train, test = (Glyphs(*digit_images(split, data.mnist)) for split in ("train", "test"))
    made_of = hashlib.sha256(train.images.tobytes() + train.labels.tobytes())
    made_of.update(repr((digit_training.RECIPE, settings.reader_steps)).encode())
    path = data.folder / f"digit-reader-{made_of.hexdigest()[:8]}.npz"
    if not path.exists():
        reader = _with_progress(
            lambda step: digit_training.train_reader(train, settings.reader_steps, 0, step),
            settings.reader_steps,
        )
        digit_training.save_reader(path, reader)
    read = digit_training.make_reading(digit_training.load_reader(path))
    return read, digit_training.examine(read, test, 0)


def _with_progress(
    train: Callable[[Callable[[int], None]], digit_training.DigitReader], steps: int
) -> digit_training.DigitReader:
    with Progress(console=Console(stderr=True)) as bar:
        shown = bar.add_task("training the digit reader", total=steps)
        return train(lambda step: bar.update(shown, completed=step))


def over(probe: measures.Probe, images: np.ndarray) -> dict[str, np.ndarray]:
    """A probe's measures of videos uint8 [V, H, h, w, C], averaged over the videos: [H]."""
    parts = [
        probe(rows, images[rows])
        for rows in np.split(np.arange(len(images)), range(BATCH, len(images), BATCH))
    ]
    return {name: mean_known(np.concatenate([part[name] for part in parts])) for name in parts[0]}


def make_films(
    run: VideoRun, trial: Trial, videos: np.ndarray, settings: AnalyseVideoConfig
) -> list[Film]:
    """Films of the first videos: true, predicted, and predicted with each level blind."""
    past = np.unique(np.linspace(1 - trial.context, 0, min(3, trial.context)).astype(int))
    later = np.unique(np.linspace(1, trial.reset_horizon, COLUMNS).astype(int))
    times = np.concatenate([past, later])
    shown = min(settings.shown, BATCH, len(videos))
    rows = [{"true": videos[v, trial.context - 1 + times]} for v in range(shown)]
    first = trial._replace(records=jax.tree.map(lambda x: x[:BATCH], trial.records))
    for name, blind in blindfolds(len(run.model.clocks)).items():
        sighted = name == SIGHTED
        horizon = trial.horizon if sighted else trial.reset_horizon
        for sample in range(1 if sighted else settings.samples):
            seed = settings.seed + sample
            _, images, _ = next(futures(run.model, first, blind, horizon, seed))
            label = name if sighted or settings.samples == 1 else f"{name} ({sample + 1})"
            for v in range(shown):
                drawn = np.full_like(rows[v]["true"], 255)
                drawn[len(past) :] = images[v, later - 1]
                rows[v][label] = drawn
    return [Film(f"Video {v + 1}", rows[v], times, len(past)) for v in range(shown)]
