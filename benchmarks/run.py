r"""Speeds of the parts of a run, in one table that compares machines and commits.

  python -m benchmarks.run
  python -m benchmarks.run --only update/state imagine --json speeds.json
  python -m benchmarks.run --against speeds.json
  python -m benchmarks.run --count --against benchmarks/results/counts.json

Every row is measured in a separate process on one core, alternating with a product of two float32
matrices of 1024 by 1024: processor time, medians over turns, the ratio followed by its middle half.
The ratio to the product compares machines; the operations' share is the share of the time that the
program's products and convolutions (`operations.py`) would take at the product's rate; `needs` is
the program's memory as computed by its compiler, `peak` the peak memory of the process. `--against`
prints ratios to an earlier file and exits with code 1 if one is more than 10% above it.

`--count` runs nothing: it counts the programs' operations from their jaxprs, the same on every
machine, so that CI detects each change of over 10%.
"""

import argparse
import atexit
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from agents.imagination import imagine_path
from agents.policy import initial_policy
from benchmarks.operations import Count, count
from benchmarks.page_faults import random_records
from common import UserError, dump_json, read_json
from common.entry import enter
from configs import parse_train
from configs.sizes import resize_model
from configs.video_presets import ORIGINAL, parse_pretrain
from envs.vector import make_agent_env
from replay import Field, ReplayConfig, ReplayStore
from replay.atomic import write_text
from training.agent_source import open_sampler
from training.build import Built
from training.build_video import BuiltVideo, video_spaces
from training.device import choose_device, enable_compilation_cache, keep_freed_memory
from worldmodel import records
from worldmodel.clockwork import ClockworkVAE
from worldmodel.learner import join, split
from worldmodel.video_model import Clips

SIDE = 1024
PRODUCT = 2 * SIDE**3  # floating-point operations of the product
SECONDS, LEAST = 8.0, 5  # seconds for measuring a row, and the minimum number of turns
SLOWER = 1.1  # ratio to the reference above which a row fails
STATE = "--env pure:pendulum --size xs --batch 8 --length 32"
IMAGE = "--env minerl_navigate --env.backend builtin --size xs --batch 4 --length 32"


class Work(NamedTuple):
    """The work that a row measures."""

    call: Callable[[], Any]  # does it once; returns when it is done, or arrays to wait for
    program: Any = None  # jitted, if the work is a single program
    args: tuple[Any, ...] = ()  # of the program


def update(flags: str) -> Work:
    """An agent's update on random records."""
    built = Built(parse_train(flags.split(), False, "float32"))
    return _updates(built, random_records(built))


def video(flags: str) -> Work:
    """A video model's update on noise."""
    config = parse_pretrain(flags.split(), False, "float32")
    shape, rng = (config.batch, config.length), np.random.default_rng(0)
    spaces = video_spaces(config, {"obs/image": Field((64, 64, 3), "uint8")})
    images = jnp.asarray(rng.integers(0, 256, (*shape, 64, 64, 3), np.uint8))
    clips = Clips(records.video({"image": images}), jnp.zeros(config.batch, bool))
    return _updates(BuiltVideo(config, spaces), clips)


def _updates(built: Any, batch: Any) -> Work:
    key = jax.random.key(0)
    states: list[Any] = []

    def call() -> Any:
        state = states.pop() if states else built.initial()
        state, metrics = built.update(state, batch, key)
        states.append(state)
        return metrics

    return Work(call, built.update, (built.abstract(), batch, key))


class Core(ClockworkVAE):
    """The levels alone: records contain frame embeddings in place of observations, for each level,
    or for the first level, from which the others are then computed."""

    def frame_embeddings(self, obs: dict[str, jax.Array]) -> tuple[jax.Array, ...]:
        """The embeddings given, and any others computed from the first."""
        given = tuple(obs.values())
        for mlp in self.level_embeds if len(given) == 1 else ():
            given = (*given, mlp(given[-1]))
        return given


def levels(*strides: int, embed: bool = False) -> Work:
    """Forward and backward pass of the paper's levels on 4 clips of 108 frames; with `embed`, also
    of the upper levels' frame embeddings."""
    shape, key = (4, 108), jax.random.key(0)
    config = resize_model(replace(ORIGINAL, strides=strides), "paper")
    model = Core(config, {"image": (64, 64, 3)}, 0, nnx.Rngs(0))
    graph, params = split(model)
    own = {name: params[name] for name in ("levels", "level_embeds") if name in params}
    wide, noise = (*shape, model.encoder.width), model.draw_noise(key, *shape)
    given = strides[:1] if embed else strides
    frames = {f"level {k}": jax.random.normal(jax.random.key(k), wide) for k in given}

    def loss(own: Any, frames: dict[str, jax.Array]) -> jax.Array:
        core: Core = join(graph, params | own)
        beliefs = core.observe(records.video(frames), noise)
        kl = [jnp.sum(core.latent.kl(belief.post, belief.prior)) for belief in beliefs]
        return sum(kl, jnp.sum(beliefs[0].state.features))

    program = jax.jit(jax.grad(loss, argnums=(0, 1)))
    return Work(partial(program, own, frames), program, (own, frames))


def memory(program: Any, *args: Any) -> float:
    """Bytes of a jitted program's inputs, outputs and temporaries, according to its compiler."""
    told = program.lower(*args).compile().memory_analysis()
    own = told.argument_size_in_bytes + told.output_size_in_bytes - told.alias_size_in_bytes
    return float(own + told.temp_size_in_bytes)


def imagine(stride: int, steps: int = 64, count: int = 256) -> Work:
    """Imagined paths of ``steps`` environment steps from ``count`` states, at the top's clock."""
    strides = "1" if stride == 1 else f"1 {stride}"
    built = Built(parse_train(f"{STATE} --strides {strides}".split(), False, "float32"))
    agent = built.agent
    start = agent.model.levels[-1].initial((count,))

    def path(params: Any, key: Any) -> Any:
        own, alive = built.join(params), jnp.ones(count)
        return imagine_path(
            own.model, own.act, own.predict_reward, own.predict_cont, start, alive,
            steps // stride, 1, 0.99, key,
        )  # fmt: skip

    program, initial, key = jax.jit(path), cache(built.initial), jax.random.key(0)
    return Work(lambda: program(initial().params, key), program, (built.abstract().params, key))


def act(envs: int) -> Work:
    """The policy for ``envs`` environments, given their observations."""
    built = Built(parse_train(STATE.split(), False, "float32"))
    policy, initial, key = built.policy(greedy=False), cache(built.initial), jax.random.key(0)
    shapes = built.spaces.obs.spaces.items()
    obs = {name: np.zeros((envs, *(s.shape or ())), s.dtype) for name, s in shapes}
    carries = [initial_policy(built.agent, envs, built.config.agent.replan)]
    first = np.zeros(envs, bool)

    def call() -> Any:
        carries[0], action = policy(initial().params, carries[0], obs, first, key)
        return action

    return Work(call, policy, (built.abstract().params, carries[0], obs, first, key))


def sample() -> Work:
    """A batch of sequences from a replay of 20 episodes of Navigate's records, in memory."""
    built = Built(parse_train(IMAGE.split(), False, "float32"))
    fields, folder = built.fields(), Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    store, rng = ReplayStore(folder / "replay", fields, ReplayConfig()), np.random.default_rng(0)
    for step in range(20 * 250):
        record = {name: rng.integers(0, 2, f.shape).astype(f.dtype) for name, f in fields.items()}
        record |= {"is_first": np.array(step % 250 == 0), "terminal": np.array(False)}
        store.append(0, record, last=step % 250 == 249)
    return Work(open_sampler(built, store, None).sample)


def step(name: str) -> Work:
    """A step of an environment as the agent sees it, by random actions."""
    env = make_agent_env(parse_train(["--env", *name.split()], False, "float32").env)
    env.reset(seed=0)
    env.action_space.seed(0)

    def call() -> None:
        ended = env.step(env.action_space.sample())[2:4]
        if any(ended):
            env.reset()

    return Work(call)


VIDEO = "--preset cwvae --data moving_digits --size debug --batch 4 --length 30"
ROWS: dict[str, Callable[[], Work]] = {
    "update/video": partial(video, VIDEO),
    "update/state flat": partial(update, f"{STATE} --strides 1"),
    "update/state (1, 4)": partial(update, f"{STATE} --strides 1 4"),
    "update/image flat": partial(update, f"{IMAGE} --strides 1"),
    "update/image (1, 4)": partial(update, f"{IMAGE} --strides 1 4"),
    "levels/1": partial(levels, 1),
    "levels/1, 6, 36": partial(levels, 1, 6, 36),
    "levels/1, 6, 36, embedded": partial(levels, 1, 6, 36, embed=True),
    "imagine/K 1": partial(imagine, 1),
    "imagine/K 4": partial(imagine, 4),
    "imagine/K 16": partial(imagine, 16),
    "act/1 environment": partial(act, 1),
    "act/16 environments": partial(act, 16),
    "sample/images": sample,
    "step/navigate": partial(step, "minerl_navigate --env.backend builtin"),
    "step/cartpole": partial(step, "gym:CartPole-v1"),
}
PROGRAMS = ("update/", "levels/", "imagine/", "act/")  # prefixes of rows that are one program


def measure(work: Work, seconds: float) -> dict[str, float]:
    """Measure one row, alternating with the product."""
    a = jax.random.normal(jax.random.key(1), (SIDE, SIDE), jnp.float32)
    product = jax.jit(lambda x: x @ x)
    for call in (work.call, partial(product, a)) * 2:
        jax.block_until_ready(call())
    often = max(1, int(0.02 / max(1e-6, _seconds(work.call, 1))))  # calls per turn
    took: list[tuple[float, float]] = []
    until = time.monotonic() + seconds
    while len(took) < LEAST or time.monotonic() < until:
        before = _seconds(partial(product, a), 1)
        own = _seconds(work.call, often)
        took.append((own, (before + _seconds(partial(product, a), 1)) / 2))
    low, ratio, high = statistics.quantiles([own / unit for own, unit in took], n=4)
    unit = statistics.median(unit for _, unit in took)
    own = statistics.median(own for own, _ in took)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    found = {"ms": 1e3 * own, "products": ratio, "low": low, "high": high, "turns": len(took)}
    found |= {"product_ms": 1e3 * unit, "peak_gib": peak}
    if work.program is None:
        return found | {"floor": 0.0, "needs_mib": 0.0}
    share = count(work.program, *work.args).operations / PRODUCT / ratio
    return found | {"floor": share, "needs_mib": memory(work.program, *work.args) / 1024**2}


def _seconds(call: Callable[[], Any], often: int) -> float:
    """Seconds of processor time per call."""
    start = time.process_time()
    for _ in range(often):
        jax.block_until_ready(call())
    return (time.process_time() - start) / often


def table(found: dict[str, dict[str, float]], before: dict[str, dict[str, float]]) -> str:
    """A Markdown table, with one more column if there is an earlier file."""
    head = "| | CPU ms | in products (middle half) | operations' share | needs MiB | peak GiB |"
    lines = [head + " to before |" * bool(before), "|---" * (6 + bool(before)) + "|"]
    for name, row in found.items():
        spread = f"{row['products']:.3g} ({row['low']:.3g} to {row['high']:.3g})"
        floor = f"{row['floor']:.0%}" if row["floor"] else "–"
        needs = f"{row['needs_mib']:.0f}" if row["needs_mib"] else "–"
        line = f"| {name} | {row['ms']:.3g} | {spread} | {floor} | {needs} "
        line += f"| {row['peak_gib']:.2f} |"
        lines.append(line + (f" {_ratio(name, row, before)} |" if before else ""))
    return "\n".join(lines)


def slower(found: dict[str, dict[str, float]], before: dict[str, dict[str, float]]) -> list[str]:
    """Rows that take more than `SLOWER` times as long as before."""
    both = [name for name in found if name in before]
    return [n for n in both if found[n]["products"] > SLOWER * before[n]["products"]]


def differing(found: dict[str, dict[str, float]], before: dict[str, dict[str, float]]) -> list[str]:
    """Rows whose counts changed by more than a factor of `SLOWER`, or that only one file has."""

    def same(name: str) -> bool:
        pairs = [(found[name][x], before[name][x]) for x in Count._fields]
        return all(max(pair) <= SLOWER * min(pair) for pair in pairs)

    both = {*found} & {*before}
    return sorted({*found} ^ {*before} | {name for name in both if not same(name)})


def count_all(names: list[str]) -> dict[str, dict[str, float]]:
    """`operations.Count` of every row that is one program."""
    works = {name: ROWS[name]() for name in names if name.startswith(PROGRAMS)}
    return {name: count(work.program, *work.args)._asdict() for name, work in works.items()}


def table_of_counts(found: dict[str, dict[str, float]], before: dict[str, dict[str, float]]) -> str:
    """A Markdown table of counts in millions, with ratios to an earlier file if there is one."""
    lines = [f"| {' | '.join(('', *Count._fields))} |", "|---" * (1 + len(Count._fields)) + "|"]
    for name, row in found.items():
        ratios = {x: f" ({row[x] / before[name][x]:.3f})" for x in row if name in before}
        cells = [f"{row[x] / 1e6:.3g}{ratios.get(x, '')}" for x in Count._fields]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _ratio(name: str, row: dict[str, float], before: dict[str, dict[str, float]]) -> str:
    return f"{row['products'] / before[name]['products']:.2f}" if name in before else "–"


def chosen(only: list[str] | None) -> list[str]:
    """Names of the rows that begin with one of the prefixes given.

    Raises:
      UserError: if none does.
    """
    names = [name for name in ROWS if not only or name.startswith(tuple(only))]
    if not names:
        raise UserError(f"only: expected the beginning of {', '.join(ROWS)}, received {only}")
    return names


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", help="beginnings of rows' names")
    parser.add_argument("--count", action="store_true", help="count, measure nothing")
    parser.add_argument("--json", type=Path, help="write what was found there too")
    parser.add_argument("--against", type=Path, help="a file of an earlier --json")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of measuring a row")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.row:
        choose_device(), enable_compilation_cache(None), keep_freed_memory()
        print(dump_json(measure(ROWS[args.row](), args.seconds)))
        return
    names = chosen(args.only)
    before = earlier(args.against, names, args.count) if args.against else {}
    found = count_all(names) if args.count else measure_all(names, args.seconds)
    print((table_of_counts if args.count else table)(found, before))
    if args.json:
        write_text(args.json, dump_json(found, indent=1) + "\n")
    if args.count and before and (rows := differing(found, before)):
        raise SystemExit(
            f"error: over 10% from {args.against}: {', '.join(rows)}; if it is meant: "
            f"python -m benchmarks.run --count --json {args.against}"
        )
    if not args.count and (late := slower(found, before)):
        raise SystemExit(f"error: more than 10% slower than {args.against}: {', '.join(late)}")


def earlier(path: Path, names: list[str], counted: bool) -> dict[str, dict[str, float]]:
    """The rows of an earlier `--json` file that are among ``names``.

    Raises:
      UserError: if they are of the other kind, or there are none.
    """
    found = {name: row for name, row in read_json(path).items() if name in names}
    needed = {*Count._fields} if counted else {"products"}
    if not found or any(needed - {*row} for row in found.values()):
        flags = " --count" * counted
        raise UserError(
            f"{path}: expected rows with {', '.join(sorted(needed))}, received others; make it by "
            f"python -m benchmarks.run{flags} --json {path}"
        )
    return found


def measure_all(names: list[str], seconds: float) -> dict[str, dict[str, float]]:
    """Measure each row in a separate process; print the product's speed and the load."""
    found: dict[str, dict[str, float]] = {}
    for name in names:
        print(f"{name} …", file=sys.stderr, flush=True)
        command = [sys.executable, "-m", "benchmarks.run", "--row", name]
        command += ["--seconds", str(seconds)]
        told = subprocess.check_output(_pinned(command), text=True)
        found[name] = json.loads(told.splitlines()[-1])
    unit = statistics.median(row["product_ms"] for row in found.values())
    print(f"One core; a product takes {unit:.1f} ms ({PRODUCT / unit / 1e6:.0f} GFLOP/s); ", end="")
    print(f"load {os.getloadavg()[0]:.1f}.\n")
    return found


def _pinned(command: list[str]) -> list[str]:
    """The command, pinned to one core where that is possible."""
    if not hasattr(os, "sched_getaffinity"):
        return command
    return ["taskset", "-c", str(max(os.sched_getaffinity(0))), *command]


if __name__ == "__main__":
    enter(main)
