"""Updates of an agent on a CPU with the memory that it frees kept, and given back to the kernel.

    python benchmarks/page_faults.py > benchmarks/results/page_faults.md

Processes of their own take turns; each makes a few updates of `--env pure:pendulum --size xs`, then
counts over 200: processor time, elapsed time, pages that the kernel had to clear.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
from flax import nnx

from agents.agent import Agent
from agents.dreamer import initial_aux, make_loss
from configs import parse_train
from configs.build import Built
from worldmodel import Records, make_update
from worldmodel.learner import initial_state, split
from worldmodel.runs.device import choose_device, enable_compilation_cache, keep_freed_memory

FLAGS = "--env pure:pendulum --size xs --batch 8 --length 32"
WARM, COUNTED = 10, 200  # updates


def child(keep: bool) -> None:
    """Prints processor seconds, elapsed seconds and page faults per update, and peak GiB."""
    if keep and not keep_freed_memory():
        raise SystemExit("error: this C library takes no thresholds; only glibc does")
    enable_compilation_cache(None)
    config = parse_train(FLAGS.split(), False, "float32")
    built = Built(config)
    agent = Agent(config.agent, built.spaces.shapes, built.codec, nnx.Rngs(0))
    graph, params = split(agent)
    update = make_update(make_loss(graph), built.optimizer)
    state = initial_state(params, initial_aux(params, agent), built.optimizer)
    shape = config.batch, config.length + agent.model.stride - 1
    keys = iter(jax.random.split(jax.random.key(0), WARM + COUNTED + 1))
    normal = jax.random.normal(next(keys), (*shape, 8))
    no = jnp.zeros(shape, bool)
    records = Records(
        obs={name: normal[..., : size[0]] for name, size in built.spaces.shapes.items()},
        action=jnp.tanh(normal[..., -built.codec.width :]),
        action_mask=~no,
        reward=normal[..., 4],
        terminal=no,
        is_first=no,
        mask=~no,
    )
    for _ in range(WARM):
        state, _ = update(state, records, next(keys))
    jax.block_until_ready(state)
    usage, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    for _ in range(COUNTED):
        state, _ = update(state, records, next(keys))
    jax.block_until_ready(state)
    elapsed, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    busy = after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime
    faults = after.ru_minflt - usage.ru_minflt
    values = [busy / COUNTED, elapsed / COUNTED, faults / COUNTED, after.ru_maxrss / 1024**2]
    print(json.dumps(values))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--child", choices=("kept", "given back"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.child == "kept")
        return
    rows: dict[str, list[list[float]]] = {"given back": [], "kept": []}
    for _ in range(1 + args.rounds):  # the first compiles
        for name, found in rows.items():
            command = [sys.executable, "-m", "benchmarks.page_faults", "--child", name]
            found.append(json.loads(subprocess.check_output(command, text=True)))
    print("# Page faults\n\n    python benchmarks/page_faults.py\n")
    print(f"`{FLAGS}`, {choose_device().name}; medians of {args.rounds} processes each.\n")
    print("| freed memory | processor ms per update | ms per update | page faults | peak GiB |")
    print("|---|---|---|---|---|")
    medians = {}
    for name, found in rows.items():
        busy, elapsed, faults, peak = map(statistics.median, zip(*found[1:], strict=True))
        medians[name] = busy
        cells = f"{busy * 1e3:.1f} | {elapsed * 1e3:.1f} | {faults:,.0f} | {peak:.2f}"
        print(f"| {name} | {cells} |")
    print(f"\nProcessor time kept / given back: {medians['kept'] / medians['given back']:.2f}")


if __name__ == "__main__":
    main()
