"""One system on vector frames: all its seeds are trained, evaluated, and kept as JSON.

Batches are generated inside the program; nothing is read from disk. Read next: ``claims.py``, the
criteria for the results; ``vectors.py``, the report.
"""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, PRNGKeyArray

from analysis.video.inspection import SIGHTED, blindfolds
from analysis.video.rollout import usable_context
from analysis.video.scores import frames_above
from benchmarks.paper.systems import MIDDLE, OBS, RSSM, Scale, System, clockwork, make
from benchmarks.paper.world import WIDTH, Film, films, right
from common import dump_json
from replay.atomic import write_text
from training.versions import versions
from worldmodel.learner import Learner, Params, TrainState, initial_state, split
from worldmodel.pretraining import initial_aux, make_loss
from worldmodel.records import video
from worldmodel.video_model import Clips, VideoModel, open_loop

TEST = 99  # seed of the held-out videos, the same for all
EVERY = 20  # frames per point of a stored curve, which is their mean
SOON, LATER = 20, 100  # frames: places are scored before the first, identities from the second on
COSTS = (clockwork(MIDDLE), clockwork(1), RSSM)
Found = dict[str, Any]


class Program:
    """A system's training and evaluation, compiled once for all seeds.

    Args:
      frames: that the KL of a sequence is told for.
    """

    def __init__(self, system: System, scale: Scale, frames: int):
        self.system, self.scale, self.frames = system, scale, frames
        self.make = partial(make, system, scale, WIDTH)
        self.learner: Learner[VideoModel] = Learner(
            lambda: self.make(nnx.Rngs(0)), make_loss, self._aux, scale.optimizer
        )
        self.initial = jax.jit(self._initial)
        self.updates = jax.jit(self._updates, donate_argnums=0)
        self.know = jax.jit(self._know, static_argnums=2)
        self.store = jax.jit(self._store)

    def _aux(self, params: Params, model: VideoModel) -> Any:
        return initial_aux(model, self.scale.batch, streams=False)

    def _initial(self, key: PRNGKeyArray) -> TrainState:
        params = split(self.make(nnx.Rngs(key)))[1]
        return initial_state(params, self._aux(params, self.learner.module), self.learner.optimizer)

    def _updates(self, state: TrainState, key: PRNGKeyArray) -> tuple[TrainState, Array]:
        """The state after ``per_program`` more updates, and the last loss, nats per frame."""
        scale = self.scale

        def one(state: TrainState, _: None) -> tuple[TrainState, Array]:
            draw, descend = jax.random.split(jax.random.fold_in(key, state.step))
            seen = films(draw, scale.batch, scale.length, self.system.speed).frames
            clips = Clips(video({OBS: seen}), jnp.zeros(scale.batch, bool))
            state, metrics = self.learner.update(state, clips, descend)
            return state, metrics["loss/model"]

        state, losses = jax.lax.scan(one, state, None, length=scale.per_program)
        return state, losses[-1]

    def _know(
        self, params: Params, key: PRNGKeyArray, blind: tuple[int, ...]
    ) -> tuple[dict[str, Array], Array]:
        """Curves [H] of what predictions get right, and entropy of the priors, [H, L]."""
        scale, model = self.scale, self.learner.join(params)
        context, seen = scale.context, usable_context(self.learner.module, scale.context)
        true = self._held_out(context + scale.horizon)
        records = video({OBS: true.frames[:, context - seen :]})
        _, rolled = open_loop(model, records, seen, scale.horizon, key, blind)
        predicted = model.to_observations(model.decode(rolled.features))[OBS]
        future = true._replace(place=true.place[:, context:], light=true.light[:, context:])
        assert rolled.entropy is not None
        return right(predicted, future), jnp.mean(rolled.entropy, axis=0)

    def _store(self, params: Params, key: PRNGKeyArray) -> Array:
        """KL of every level, [L] nats per ``frames`` frames."""
        records = video({OBS: self._held_out(self.scale.length).frames})
        kl = jnp.mean(self.learner.join(params).kl(records, key), axis=0)
        return kl * self.frames / self.scale.length

    def _held_out(self, length: int) -> Film:
        """The held-out videos, the same for all seeds."""
        return films(jax.random.key(TEST), self.scale.videos, length, self.system.speed)

    def train(self, state: TrainState, key: PRNGKeyArray) -> tuple[TrainState, float, float]:
        """Run some updates: (state, last loss, CPU-seconds per update). The first call compiles."""
        start = time.process_time()
        state, loss = self.updates(state, key)
        last = float(loss)
        return state, last, (time.process_time() - start) / self.scale.per_program


def run(system: System, scale: Scale, seeds: Sequence[int]) -> Found:
    """Train a system seed by seed and evaluate it; CW-VAE with the middle factor is also evaluated
    with each level blind."""
    start, frames, scale = time.process_time(), scale.length, scale.whole(system)
    program = Program(system, scale, frames)
    found, seconds = [], []
    for seed in seeds:
        begin, key, *looks = jax.random.split(jax.random.key(seed), 4)
        state, losses = program.initial(begin), []
        for _ in range(scale.updates // scale.per_program):
            state, loss, spent = program.train(state, key)
            losses.append(loss)
            seconds.append(spent)
        print(f"  seed {seed}: loss {loss:.2f}, {spent:.3f} CPU-seconds per update", flush=True)
        found.append({"loss": losses, **look(program, state.params, *looks)})
    return {
        "system": {"model": system.model, "strides": system.strides, "speed": system.speed},
        "scale": vars(scale),
        "seen": usable_context(program.learner.module, scale.context),
        "seeds": list(seeds),
        "seconds_per_update": round(float(np.median(seconds)), 4),
        "seconds": round(time.process_time() - start),
        **summarised(found),
        "versions": versions(),
    }


def look(program: Program, params: Params, known: PRNGKeyArray, stored: PRNGKeyArray) -> Found:
    """Measures of a trained model: KL, entropy of the priors, curves of its predictions. The noise
    is the same whichever level is blind."""
    levels = len(program.learner.module.clocks) if program.system == clockwork(MIDDLE) else 0
    views = {
        name: program.know(params, jax.random.clone(known), blind)
        for name, blind in blindfolds(levels).items()
    }
    return {
        "kl": np.asarray(program.store(params, stored)),
        "entropy": np.asarray(views[SIGHTED][1]),
        "curves": {
            name: {what: np.asarray(x) for what, x in curves.items()}
            for name, (curves, _) in views.items()
        },
    }


def summarised(found: Sequence[Found]) -> Found:
    """Results kept in JSON: numbers per seed, curves as means over seeds and every 20 frames."""
    curves, summary = {}, {}
    for name in found[0]["curves"]:
        seen = {
            what: np.stack([one["curves"][name][what] for one in found])
            for what in found[0]["curves"][name]
        }
        curves[name] = {what: rounded(means(x.mean(0))) for what, x in seen.items()}
        summary[name] = {what: rounded(x[:, :SOON].mean(1)) for what, x in seen.items()}
        summary[name]["identity_later"] = rounded(seen["identity"][:, LATER:].mean(1))
    entropy = np.stack([one["entropy"].T for one in found])  # [seeds, L, H]
    drift = entropy[..., -LATER:].mean(-1) - entropy[..., :LATER].mean(-1)
    return {
        "loss": [rounded(np.array(one["loss"]), 2) for one in found],
        "kl": [rounded(one["kl"], 2) for one in found],
        "frames_to_half": [frames_above(one["curves"][SIGHTED]["identity"], 0.5) for one in found],
        "summary": summary,
        "entropy_drift": rounded(drift),
        "entropy": rounded(means(entropy.mean(0)), 2),
        "curves": curves,
    }


def means(x: np.ndarray) -> np.ndarray:
    """Means of every 20 frames, along the last axis."""
    return x[..., : x.shape[-1] // EVERY * EVERY].reshape(*x.shape[:-1], -1, EVERY).mean(-1)


def rounded(x: np.ndarray, digits: int = 3) -> Any:
    """Rounded and as lists, for JSON."""
    return np.round(x.astype(float), digits).tolist()


def costs(scale: Scale, rounds: int = 5) -> Found:
    """CPU-seconds per update of each system; they take turns, after compilation."""
    programs = {x.model: Program(x, scale.whole(x), scale.length) for x in COSTS}
    states = {name: program.initial(jax.random.key(0)) for name, program in programs.items()}
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(rounds + 1):
        for name, program in programs.items():
            states[name], _, spent = program.train(states[name], jax.random.key(1))
            seconds[name].append(spent)
    return {
        "scale": vars(scale),
        "seconds_per_update": {n: round(float(np.median(x[1:])), 4) for n, x in seconds.items()},
        "versions": versions(),
    }


def keep(path: Path, found: Found) -> None:
    """Write a result atomically."""
    write_text(path, dump_json(found) + "\n")
