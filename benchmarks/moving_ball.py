"""Does DLH's second level change when the ball's colour does? DLH §4.4, Tables 2 and 3.

  python -m benchmarks.moving_ball

Frames are the ball's position and colour instead of its pixels, so that minutes on a CPU are enough
to train on them. The colour changes at each bounce, which is predictable, and at random with
probability λ, which is not. Table 3: the probability that level 2 assigned to a change where one
was inferred, and where none was; the paper finds .97/.82/.73 and .007/.074/.167 at λ = 0, 0.1, 0.3.
Table 2: the number of levels that change per frame in models with 2 to 5 levels; the paper finds
1.22 to 1.38, whatever the number of levels. Writes a page with both tables to `--output`.
"""

import argparse
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from common.entry import enter
from configs.spelling import whole
from recordings.generators.moving_ball import PALETTE, MovingBall
from recordings.generators.seeded import PIXELS
from training.device import choose_device, enable_compilation_cache
from worldmodel import ClockworkConfig, OptimizerConfig, make_optimizer
from worldmodel.baselines.dlh import DLH, DLHConfig
from worldmodel.learner import Learner
from worldmodel.pretraining import initial_aux, make_loss
from worldmodel.records import Records, video
from worldmodel.video_model import Clips

RESULTS = Path(__file__).resolve().parent / "results"
LENGTH, BATCH, TRAIN, TEST = 30, 16, 512, 64  # frames; videos per update, to train on, to test on
CONFIG = ClockworkConfig(
    strides=(1,),
    window="lookahead",
    architecture="original",
    deter=64,
    hidden=64,
    stoch=8,
    vector_std=0.1,
    min_std=1e-4,
)
OPTIMIZER = OptimizerConfig(lr=1e-3, eps=1e-4, clip=10_000.0, warmup=0)


class Found(NamedTuple):
    """Measures of a trained model over the held-out videos, without their first frames."""

    change: float  # mean prior probability of a change of level 2 where one is inferred
    static: float  # the same where none is inferred
    seen: float  # share of the colour's changes at which level 2 changes
    other: float  # share of all other frames at which it does
    depth: float  # levels that change per frame
    kl: float  # nats per frame, all levels and indicators
    seconds: float  # of training, with compilation


def ball(change: float, videos: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames float32 [V, T, 10], position in ±1 and one-hot colour of 8; and whether the colour
    differs from that of the previous frame, [V, T]."""
    frames, changed = [], []
    for one in MovingBall(length=LENGTH, change=change).videos(videos, seed):
        place = 2 * one.factors["position"] / PIXELS - 1
        frames.append(np.concatenate([place, np.eye(len(PALETTE))[one.factors["colour"]]], 1))
        changed.append(one.factors["changed"])
    return np.stack(frames).astype(np.float32), np.stack(changed) > 0


def batches(frames: np.ndarray, updates: int, seed: int) -> Iterator[Clips]:
    """Batches of videos drawn at random."""
    rng = np.random.default_rng(seed)
    for _ in range(updates):
        rows = rng.choice(len(frames), BATCH, replace=False)
        yield Clips(video({"ball": jnp.asarray(frames[rows])}), jnp.zeros(BATCH, bool))


def learn(change: float, levels: int, updates: int, seed: int) -> Found:
    """Train a model with ``levels`` levels and measure it."""
    start = time.monotonic()
    settings = DLHConfig(levels=levels, ramp=updates // 3)
    make = partial(_make, settings, seed)
    aux = partial(_aux, BATCH)
    learner = Learner(make, make_loss, aux, make_optimizer(OPTIMIZER))
    state = learner.initial()
    keys = jax.random.split(jax.random.key(seed), updates)
    for clips, key in zip(batches(ball(change, TRAIN, seed)[0], updates, seed), keys, strict=True):
        state, _ = learner.update(state, clips, key)
    jax.block_until_ready(state)
    seconds = time.monotonic() - start
    frames, changed = ball(change, TEST, seed + 1)

    @jax.jit
    def look(params: Any, records: Records, key: Any) -> Any:
        model = learner.join(params)
        return model.observe(records, model.draw_noise(key, *records.mask.shape))[0]

    records = video({"ball": jnp.asarray(frames)})
    beliefs = look(state.params, records, jax.random.key(seed + 1))
    return measure(jax.tree.map(lambda x: np.asarray(x)[:, 1:], beliefs), changed[:, 1:], seconds)


def _make(settings: DLHConfig, seed: int) -> DLH:
    return DLH(CONFIG, settings, {"ball": (2 + len(PALETTE),)}, nnx.Rngs(seed))


def _aux(batch: int, params: Any, model: DLH) -> Any:
    return initial_aux(model, batch, streams=False)


def measure(beliefs: Any, changed: np.ndarray, seconds: float) -> Found:
    """The tables' numbers, from ``DLH.observe``'s beliefs and the colour's changes [V, T]."""
    inferred = beliefs.changes[..., 1] == 1
    expected = 1 / (1 + np.exp(-beliefs.odds[..., 1]))
    return Found(
        mean(expected[inferred]),
        mean(expected[~inferred]),
        mean(inferred[changed]),
        mean(inferred[~changed]),
        float(beliefs.changes.sum(-1).mean()),
        float((beliefs.kl + beliefs.surprise).sum(-1).mean()),
        seconds,
    )


def mean(values: np.ndarray) -> float:
    """The mean, nan if there are no values."""
    return float(values.mean()) if values.size else float("nan")


def page(
    updates: int, seed: int, changes: Sequence[float], more: Sequence[int], command: str
) -> str:
    """Both tables as Markdown: two levels at every λ in ``changes``, ``more`` levels at λ = 0.1."""
    lines = [
        "# Levels that change with the ball's colour: DLH on vector frames",
        "",
        f"    {command}",
        "",
        f"{choose_device().name}; seed {seed}, {updates:,} updates of {BATCH} videos of {LENGTH} "
        f"frames, {TRAIN} to train on and {TEST} held out. Frames are the ball's position and "
        "colour, not its pixels: orders compare with the paper's, not values.",
        "",
        "| λ | levels | p(change) where inferred | where not | level 2 changes at changes of "
        "colour | at other frames | levels that change per frame | KL, nats per frame | seconds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for change, levels in [*[(x, 2) for x in changes], *[(0.1, n) for n in more]]:
        found = learn(change, levels, updates, seed)
        figures = [f"{x:.3f}" for x in found[:5]] + [f"{found.kl:.2f}", f"{found.seconds:.0f}"]
        lines.append(" | ".join([f"| {change}", str(levels), *figures]) + " |")
        print(lines[-1], flush=True)
    return "\n".join([*lines, ""])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--updates", type=whole, default=1_000)
    parser.add_argument("--changes", type=float, nargs="*", default=[0.0, 0.1, 0.3], help="λ")
    parser.add_argument("--levels", type=int, nargs="*", default=[3, 4, 5], help="of Table 2")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=RESULTS / "moving_ball.md")
    args = parser.parse_args()
    enable_compilation_cache(None)
    command = shlex.join(["python", "-m", "benchmarks.moving_ball", *sys.argv[1:]])
    args.output.write_text(page(args.updates, args.seed, args.changes, args.levels, command))


if __name__ == "__main__":
    enter(main)
