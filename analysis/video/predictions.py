"""Scores of models and of uninformed references over a set of videos, in batches. CW-VAE §3.

Read next: ``rollout.py`` (futures as states), ``frames.py`` (drawn and compared), ``scores.py``.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from analysis.metrics.fvd import Features, frechet_distance, video_features
from analysis.metrics.lpips import LpipsWeights
from analysis.metrics.protocols import Protocol
from analysis.video import references
from analysis.video.frames import draw_frames, score_frames
from analysis.video.rollout import check_context, imagine_samples
from analysis.video.scores import HIGHER_IS_BETTER
from worldmodel.learner import Params, join, split
from worldmodel.records import Records
from worldmodel.video_model import VideoModel

FLOATS = 50_000_000
"""Latent floats, and a quarter of the bytes of true video, of one batch: about 200 MB each."""

STILLS = 12
"""Frames of a prediction that are kept for display."""

Track = Callable[[range], Iterator[int]]
"""Shows the progress of a loop."""


class Trial(NamedTuple):
    """What is predicted, and how predictions are scored."""

    videos: np.ndarray  # uint8 [V, context+H, h, w, C]
    image: str  # name of the observation that they are
    context: int  # frames seen
    samples: int  # N
    protocol: Protocol
    lpips: LpipsWeights | None
    fvd: Features | None
    seed: int
    chunk: int  # frames drawn at once

    @property
    def horizon(self) -> int:
        """H, frames predicted."""
        return self.videos.shape[1] - self.context

    @property
    def future(self) -> np.ndarray:
        """The true frames to predict, uint8 [V, H, h, w, C]."""
        return self.videos[:, self.context :]

    @property
    def still_times(self) -> np.ndarray:
        """Frames after the context, from 0, that are kept for display."""
        return np.unique(np.linspace(0, self.horizon - 1, STILLS).astype(int))


class Scored(NamedTuple):
    """Scores of one predictor."""

    values: dict[str, np.ndarray]  # [V, N, H] by metric
    fvd: float | None  # of the first samples; None if the trial has no features
    stills: np.ndarray  # uint8 [V, times, h, w, C], at the trial's ``still_times``


class Batch(NamedTuple):
    """Results of one batch of videos, on the device."""

    scores: dict[str, Array]  # [N, B, H]
    frames: Array | None  # uint8 [B, H, h, w, C] of the first sample, for features
    stills: Array  # uint8 [B, times, h, w, C]


def score_model(
    trial: Trial,
    model: VideoModel,
    records: Records,
    context: int,
    track: Track = iter,
    blind: tuple[int, ...] = (),
) -> Scored:
    """Scores of a model's open-loop predictions.

    Args:
      records: [V, T, ...] from each video's first frame on, on the host, with the model's actions.
      context: number of frames that the model sees, the last of the trial's context.
      blind: levels, from 0, that see none of them (``inspection.blindfolds``).
    Raises:
      UserError: if the model cannot start after ``context`` frames.
    """
    check_context(model, context)
    graph, params = split(model)
    records = jax.tree.map(lambda x: x[:, trial.context - context :], records)
    records = records._replace(obs={name: x[:, :context] for name, x in records.obs.items()})

    @jax.jit
    def run(
        params: Params, lpips: LpipsWeights | None, true: Array, part: Records, key: PRNGKeyArray
    ) -> Batch:
        model = join(graph, params)
        horizon, samples = trial.horizon, trial.samples
        features = imagine_samples(model, part, context, horizon, samples, key, blind)
        return compare(trial, lpips, lambda x: model.decode(x)[trial.image], features, true)

    def score(rows: np.ndarray, key: PRNGKeyArray) -> Batch:
        part = jax.tree.map(lambda x: x[rows], records)
        return run(params, trial.lpips, trial.future[rows], part, key)

    return over_videos(trial, score, batch_size(trial, model.features), track)


def score_references(trial: Trial, track: Track = iter) -> dict[str, Scored]:
    """Scores of the uninformed references, by name; a single video has no random frames."""
    context = trial.videos[:, : trial.context]
    shape, horizon = trial.videos.shape[2:], trial.horizon
    makers: dict[str, Callable[[np.ndarray], references.Source]] = {
        references.BLANK: lambda rows: references.blank(len(rows), horizon, shape),
        references.MEAN: lambda rows: references.mean_frame(context[rows], horizon),
    }
    if len(trial.videos) > 1:
        pool = references.RandomFrames(trial.videos, trial.seed)
        makers[references.RANDOM] = lambda rows: pool.draw(rows, trial.samples, horizon)

    @jax.jit
    def run(lpips: LpipsWeights | None, true: Array, source: references.Source) -> Batch:
        return compare(trial, lpips, references.drawer(source.pool), source.number, true)

    def score(make: Callable[[np.ndarray], references.Source], rows: np.ndarray) -> Batch:
        return run(trial.lpips, trial.future[rows], make(rows))

    size = batch_size(trial, 1)
    return {
        name: over_videos(trial, lambda rows, _, m=make: score(m, rows), size, track)  # type: ignore[misc]
        for name, make in makers.items()
    }


def compare(
    trial: Trial,
    lpips: LpipsWeights | None,
    draw: Callable[[Any], Array],
    source: Array,
    true: Array,
) -> Batch:
    """Scores of frames drawn from ``source`` [N, B, H, ...], and the frames that are kept."""
    scores = score_frames(trial.protocol, lpips, draw, source, true, trial.chunk)
    frames = None if trial.fvd is None else draw_frames(draw, source[0], trial.chunk)
    stills = draw_frames(draw, source[0][:, trial.still_times], trial.chunk)
    return Batch(scores, frames, stills)


def over_videos(
    trial: Trial, score: Callable[[np.ndarray, PRNGKeyArray], Batch], size: int, track: Track
) -> Scored:
    """Apply ``score`` (of row numbers and a key) to all videos, ``size`` at a time.

    The last batch is filled up with the last video, then cut: one compiled program serves all.
    """
    count = len(trial.videos)
    starts = range(0, count, size)
    keys = jax.random.split(jax.random.key(trial.seed), len(starts))
    values: list[dict[str, np.ndarray]] = []
    features: list[np.ndarray] = []
    stills: list[np.ndarray] = []
    for start in track(starts):
        rows = np.minimum(np.arange(start, start + size), count - 1)
        real = min(size, count - start)
        batch = jax.device_get(score(rows, keys[start // size]))
        values.append({n: np.moveaxis(x, 0, 1)[:real] for n, x in batch.scores.items()})
        if trial.fvd is not None and batch.frames is not None:
            features.append(video_features(trial.fvd, batch.frames[:real]))
        stills.append(batch.stills[:real])
    order = [name for name in HIGHER_IS_BETTER if name in values[0]]
    joined = {name: np.concatenate([part[name] for part in values]) for name in order}
    distance = None
    if trial.fvd is not None:
        true = video_features(trial.fvd, trial.future)
        distance = frechet_distance(true, np.concatenate(features))
    return Scored(joined, distance, np.concatenate(stills))


def batch_size(trial: Trial, width: int) -> int:
    """Videos per batch, such that neither their states nor their frames fill the memory."""
    count, horizon = len(trial.videos), trial.horizon
    states = trial.samples * horizon * width
    return max(1, min(count, FLOATS // states, 4 * FLOATS // int(trial.videos[0].nbytes)))
