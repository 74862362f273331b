"""A model looked into: KL and entropy per level, and what predictions lose with each level blind.

A level is blinded "by not feeding it with observations" (TALD Figure 11; CW-VAE §3.6, Figure 7).
Its state is not put to zeros: at every one of its ticks its stochastic variables are drawn from the
prior rather than the posterior, given its own recurrent state and the level above; all other levels
see the context. From there on the future is rolled as ever. What the prediction then gets wrong,
only that level had known. Prior entropy over the prediction says how certain a level is of what
comes (TALD §4.6, Figure 10).

Everything runs over held-out videos in batches; predictions exist a batch at a time, and what the
probes say of them comes out. Read next: `worldmodel/video_model.py`, which rolls them;
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
    """What predictions are made of, and how they are looked at."""

    records: Records  # [V, T, ...] from each video's first frame on, on the host
    image: str  # observation that is looked at
    context: int  # frames seen
    horizon: int  # frames predicted with all levels seeing
    reset_horizon: int  # and with one of them blind
    probes: Sequence[Probe]
    seed: int
    chunk: int  # frames decoded at once


class Levels(NamedTuple):
    """What the levels do along a prediction, as ``Rolled`` has it; none of a model without."""

    entropy: np.ndarray  # [..., H, L]
    ticks: np.ndarray  # [..., H, L]


class Inspection(NamedTuple):
    """What was found; measures are means over videos, by what was blind."""

    kl: np.ndarray  # [V, L] nats per sequence
    levels: Levels  # [H, L] means over videos, with all levels seeing
    measures: dict[str, dict[str, np.ndarray]]  # measure, blind: [H] or [reset_horizon]


def inspect(model: VideoModel, sequences: Records, trial: Trial) -> Inspection:
    """KL over ``sequences`` [V, lead+T, ...] as trained on, the rest over the trial."""
    measures: dict[str, dict[str, np.ndarray]] = {}
    levels: dict[str, Levels] = {}
    for name, blind in blindfolds(len(model.clocks)).items():
        horizon = trial.horizon if name == SIGHTED else min(trial.horizon, trial.reset_horizon)
        found, levels[name] = probe_futures(model, trial, blind, horizon)
        for measure, value in found.items():
            measures.setdefault(measure, {})[name] = value
    return Inspection(measure_kl(model, sequences, trial.seed), levels[SIGHTED], measures)


def blindfolds(levels: int) -> dict[str, tuple[int, ...]]:
    """By name, which levels (from 0) are blind: none, then each in turn."""
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
    """Every probe's measures [H] and what the levels do, means over the videos."""
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
    """Per batch: numbers of its videos [b], predicted frames uint8 [b, H, h, w, C], what the levels
    do [b, H, L]. The same seed gives the same noise whoever is blind and however far is decoded."""
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
    """Numbers of some videos, their records, and a key; the last batch repeats its last video, so
    that one compiled program serves all."""
    count = len(records.mask)
    size = min(BATCH, count)
    starts = range(0, count, size)
    for start, key in zip(starts, jax.random.split(jax.random.key(seed), len(starts)), strict=True):
        rows = np.arange(start, min(start + size, count))
        filled = np.minimum(np.arange(start, start + size), count - 1)
        yield rows, jax.tree.map(lambda x, f=filled: jnp.asarray(x[f]), records), key


def mean_known(values: np.ndarray) -> np.ndarray:
    """Mean over the first axis of what is not nan; nan where nothing is known. [V, H] to [H]."""
    known = ~np.isnan(values)
    total = np.where(known, values, 0).sum(0)
    return np.where(known.any(0), total / np.maximum(known.sum(0), 1), np.nan)
