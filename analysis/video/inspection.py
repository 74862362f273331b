"""A model looked into: KL and entropy per level, and what predictions lose with each level blind.

Everything runs over held-out videos in batches; predictions exist a batch at a time, and what the
probes say of them comes out. Read next: ``blindfold.py`` (what a blind level is),
`analysis/probes/measures.py`.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from analysis.levels import sequence_kl
from analysis.probes.measures import Probe
from analysis.video.blindfold import open_loop, predicted_images, prior_entropy
from worldmodel.clockwork import ClockworkVAE
from worldmodel.learner import join, split
from worldmodel.records import Records

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


class Inspection(NamedTuple):
    """What was found; measures are means over videos, by what was blind."""

    kl: np.ndarray  # [V, L] nats per sequence
    entropy: np.ndarray  # [H, L] nats, with all levels seeing
    measures: dict[str, dict[str, np.ndarray]]  # measure, blind: [H] or [reset_horizon]


def inspect(model: ClockworkVAE, sequences: Records, trial: Trial) -> Inspection:
    """KL over ``sequences`` [V, lead+T, ...] as trained on, the rest over the trial."""
    measures: dict[str, dict[str, np.ndarray]] = {}
    entropy = np.zeros(())
    for name, blind in blindfolds(len(model.levels)).items():
        horizon = trial.horizon if name == SIGHTED else min(trial.horizon, trial.reset_horizon)
        found, certain = probe_futures(model, trial, blind, horizon)
        entropy = certain if name == SIGHTED else entropy
        for measure, value in found.items():
            measures.setdefault(measure, {})[name] = value
    return Inspection(measure_kl(model, sequences, trial.seed), entropy, measures)


def blindfolds(levels: int) -> dict[str, tuple[int, ...]]:
    """By name, which levels (from 0) are blind: none, then each in turn."""
    return {SIGHTED: ()} | {f"level {n + 1} blind": (n,) for n in range(levels)}


def measure_kl(model: ClockworkVAE, sequences: Records, seed: int) -> np.ndarray:
    """KL of every level in nats per sequence, [V, L]. CW-VAE Table 1.

    Args:
      sequences: [V, lead+T, ...].
      seed: of the posterior's samples.
    """
    graph, params = split(model)

    @jax.jit
    def run(params: Any, part: Records, key: PRNGKeyArray) -> Array:
        model = join(graph, params)
        batch, length = part.mask.shape
        noise = model.draw_noise(key, batch, length - model.lead)
        return sequence_kl(model, part, model.observe(part, noise))

    return np.concatenate(
        [
            np.asarray(run(params, part, key))[: len(rows)]
            for rows, part, key in batches(sequences, seed)
        ]
    )


def probe_futures(
    model: ClockworkVAE, trial: Trial, blind: tuple[int, ...], horizon: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Every probe's measures [H] and the priors' entropies [H, L], means over the videos."""
    parts: dict[str, list[np.ndarray]] = {}
    entropies = []
    for rows, images, entropy in futures(model, trial, blind, horizon):
        entropies.append(entropy)
        for probe in trial.probes:
            for name, value in probe(rows, images).items():
                parts.setdefault(name, []).append(value)
    means = {name: mean_known(np.concatenate(values)) for name, values in parts.items()}
    return means, np.concatenate(entropies).mean(0)


def futures(
    model: ClockworkVAE, trial: Trial, blind: tuple[int, ...], horizon: int, seed: int | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Per batch: numbers of its videos [b], predicted frames uint8 [b, H, h, w, C], entropies
    [b, H, L]. The same seed gives the same noise whoever is blind and however far is decoded."""
    graph, params = split(model)

    @jax.jit
    def run(params: Any, part: Records, key: PRNGKeyArray) -> tuple[Array, Array]:
        model = join(graph, params)
        states = open_loop(model, part, trial.context, trial.horizon, key, blind)  # same noise
        images = predicted_images(model, states, horizon, trial.image, trial.chunk)
        return images, prior_entropy(model, states, horizon)

    for rows, part, key in batches(trial.records, trial.seed if seed is None else seed):
        images, entropy = jax.device_get(run(params, part, key))
        yield rows, images[: len(rows)], entropy[: len(rows)]


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
