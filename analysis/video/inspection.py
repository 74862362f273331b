"""A model's inspection: KL and entropy per level, and what predictions lose with each level blind.

A level is blinded "by not feeding it with observations" (TALD Figure 11; CW-VAE §3.6, Figure 7).
Its state is not set to zeros: at each of its ticks, its stochastic variables are drawn from the
prior rather than the posterior, given its own recurrent state and the level above; all other levels
see the context. After the context, the future is rolled out as usual. What the prediction then gets
wrong was known to that level only. Prior entropy over the prediction shows how certain a level is
of the future (TALD §4.6, Figure 10).

All of it runs over held-out videos in batches; predictions exist one batch at a time, and only the
probes' measures are returned. Read next: `worldmodel/video_model.py`, which rolls out predictions;
`analysis/probes/measures.py`.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from analysis.probes.measures import Probe
from analysis.video.frames import draw_frames
from analysis.video.rollout import check_context
from worldmodel.learner import join, split
from worldmodel.records import Records
from worldmodel.video_model import VideoModel, open_loop

SIGHTED = "all levels see"
BATCH = 8  # videos at once


class Trial(NamedTuple):
    """What predictions are made from, and how they are probed."""

    records: Records  # [V, T, ...] from each video's first frame on, on the host
    image: str  # name of the observation that is probed
    context: int  # frames seen
    horizon: int  # frames predicted with all levels seeing
    reset_horizon: int  # frames predicted with one level blind
    probes: Sequence[Probe]
    seed: int
    chunk: int  # frames decoded at once


class Levels(NamedTuple):
    """Entropy and ticks of levels along a prediction, as in ``Rolled``; L = 0 if it has none."""

    entropy: np.ndarray  # [..., H, L]
    ticks: np.ndarray  # [..., H, L]


class Inspection(NamedTuple):
    """The results; measures are means over videos, by which level was blind."""

    kl: np.ndarray  # [V, L] nats per sequence
    levels: Levels  # [H, L] means over videos, with all levels seeing
    measures: dict[str, dict[str, np.ndarray]]  # measure, blind: [H] or [reset_horizon]


def inspect(model: VideoModel, sequences: Records, trial: Trial) -> Inspection:
    """Inspect a model: KL over ``sequences`` [V, lead+T, ...] as in training, all else over the
    trial."""
    measures: dict[str, dict[str, np.ndarray]] = {}
    levels: dict[str, Levels] = {}
    for name, blind in blindfolds(len(model.clocks)).items():
        horizon = trial.horizon if name == SIGHTED else min(trial.horizon, trial.reset_horizon)
        found, levels[name] = probe_futures(model, trial, blind, horizon)
        for measure, value in found.items():
            measures.setdefault(measure, {})[name] = value
    return Inspection(measure_kl(model, sequences, trial.seed), levels[SIGHTED], measures)


def blindfolds(levels: int) -> dict[str, tuple[int, ...]]:
    """Which levels (from 0) are blind, by name: none, then each in turn."""
    return {SIGHTED: ()} | {f"level {n + 1} blind": (n,) for n in range(levels)}


def measure_kl(model: VideoModel, sequences: Records, seed: int) -> np.ndarray:
    """KL of every level in nats per sequence, [V, L]. CW-VAE Table 1.

    Args:
      sequences: [V, lead+T, ...].
      seed: of the posterior's samples.
    """
    graph, params = split(model)

    @jax.jit
    def run(params: Any, part: Records, key: PRNGKeyArray) -> Array:
        return join(graph, params).kl(part, key)

    return np.concatenate(
        [
            np.asarray(run(params, part, key))[: len(rows)]
            for rows, part, key in batches(sequences, seed)
        ]
    )


def probe_futures(
    model: VideoModel, trial: Trial, blind: tuple[int, ...], horizon: int
) -> tuple[dict[str, np.ndarray], Levels]:
    """Every probe's measures [H], and the levels' entropy and ticks, means over the videos."""
    parts: dict[str, list[np.ndarray]] = {}
    levels = []
    for rows, images, done in futures(model, trial, blind, horizon):
        levels.append(done)
        for probe in trial.probes:
            for name, value in probe(rows, images).items():
                parts.setdefault(name, []).append(value)
    means = {name: mean_known(np.concatenate(values)) for name, values in parts.items()}
    return means, jax.tree.map(lambda *x: np.concatenate(x).mean(0), *levels)


def futures(
    model: VideoModel, trial: Trial, blind: tuple[int, ...], horizon: int, seed: int | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray, Levels]]:
    """Per batch: numbers of its videos [b], predicted frames uint8 [b, H, h, w, C] and levels
    [b, H, L]. The same seed gives the same noise, whichever level is blind and however many frames
    are decoded."""
    check_context(model, trial.context)
    graph, params = split(model)

    @jax.jit
    def run(params: Any, part: Records, key: PRNGKeyArray) -> tuple[Array, ...]:
        model = join(graph, params)
        _, rolled = open_loop(model, part, trial.context, trial.horizon, key, blind)  # same noise
        shown = rolled.features[:, :horizon]
        images = draw_frames(lambda x: model.decode(x)[trial.image], shown, trial.chunk)
        none = jnp.zeros((*shown.shape[:2], 0))
        done = [none if x is None else x[:, :horizon] for x in (rolled.entropy, rolled.ticks)]
        return images, *done

    for rows, part, key in batches(trial.records, trial.seed if seed is None else seed):
        images, *done = (x[: len(rows)] for x in jax.device_get(run(params, part, key)))
        yield rows, images, Levels(*done)


def batches(records: Records, seed: int) -> Iterator[tuple[np.ndarray, Records, PRNGKeyArray]]:
    """Batches: numbers of the videos, their records, and a key; the last batch repeats its last
    video, so that one compiled program serves all."""
    count = len(records.mask)
    size = min(BATCH, count)
    starts = range(0, count, size)
    for start, key in zip(starts, jax.random.split(jax.random.key(seed), len(starts)), strict=True):
        rows = np.arange(start, min(start + size, count))
        filled = np.minimum(np.arange(start, start + size), count - 1)
        yield rows, jax.tree.map(lambda x, f=filled: jnp.asarray(x[f]), records), key


def mean_known(values: np.ndarray) -> np.ndarray:
    """Mean over the first axis, ignoring nan; nan where all are nan. [V, H] to [H]."""
    known = ~np.isnan(values)
    total = np.where(known, values, 0).sum(0)
    return np.where(known.any(0), total / np.maximum(known.sum(0), 1), np.nan)
