"""Updates of an agent on a CPU with freed memory kept, and with it given back to the kernel.

    python benchmarks/page_faults.py > benchmarks/results/page_faults.md

Separate processes take turns. Each makes a few updates on random records, from state and from
images, then measures processor time, elapsed time, and pages that the kernel had to clear.
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
import numpy as np

from agents.dreamer import initial_aux, make_loss
from common import dump_json
from common.entry import enter
from configs import parse_train
from training.build import Built
from training.device import choose_device, enable_compilation_cache, keep_freed_memory
from worldmodel import Records, make_update
from worldmodel.learner import initial_state, split

UPDATES = {
    "--env pure:pendulum --size xs --batch 8 --length 32": 200,
    "--env minerl_navigate --env.backend builtin --size s": 20,
}
WARM = 5  # updates before the measured ones


def child(flags: str, keep: bool) -> None:
    """Print processor seconds, elapsed seconds and page faults per update, and peak GiB."""
    if keep and not keep_freed_memory():
        raise SystemExit("error: expected glibc 2.35 or later, which takes these thresholds")
    enable_compilation_cache(None)
    config = parse_train(flags.split(), False, "float32")
    built = Built(config)
    agent = built.make_agent(0)
    graph, params = split(agent)
    update = make_update(make_loss(graph), built.optimizer)
    state = initial_state(params, initial_aux(params, agent), built.optimizer)
    records = random_records(built)
    keys = iter(jax.random.split(jax.random.key(0), WARM + UPDATES[flags]))
    for _ in range(WARM):
        state, _ = update(state, records, next(keys))
    jax.block_until_ready(state)
    usage, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    for _ in range(UPDATES[flags]):
        state, _ = update(state, records, next(keys))
    jax.block_until_ready(state)
    elapsed, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    busy = after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime
    faults = after.ru_minflt - usage.ru_minflt
    per = [x / UPDATES[flags] for x in (busy, elapsed, faults)]
    print(dump_json([*per, after.ru_maxrss / 1024**2]))


def random_records(built: Built) -> Records:
    """A batch of the size that a run's update reads."""
    config, agent = built.config, built.agent
    shape = config.batch, config.sequence + agent.model.stride - 1
    rng, no = np.random.default_rng(0), jnp.zeros(shape, bool)

    def observed(size: tuple[int, ...]) -> jax.Array:
        values = rng.integers(0, 256, (*shape, *size), np.uint8)
        return jnp.asarray(values if len(size) == 3 else values / np.float32(255))

    return Records(
        obs={name: observed(size) for name, size in built.spaces.shapes.items()},
        action=observed((agent.model.action_width,)),
        action_mask=~no,
        reward=observed(()),
        terminal=no,
        is_first=no,
        mask=~no,
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", nargs=2, metavar=("FLAGS", "NAME"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.child[0], args.child[1] == "kept")
        return
    print("# Page faults\n\n    python benchmarks/page_faults.py\n")
    print(f"{choose_device().name}; medians of {args.rounds} processes each, per update.\n")
    print("| flags | freed memory | processor ms | ms | page faults | peak GiB |")
    print("|---|---|---|---|---|---|")
    for flags in UPDATES:
        rows: dict[str, list[list[float]]] = {"given back": [], "kept": []}
        for _ in range(1 + args.rounds):  # the first compiles
            for name, found in rows.items():
                command = [sys.executable, "-m", "benchmarks.page_faults", "--child", flags, name]
                found.append(json.loads(subprocess.check_output(command, text=True)))
        medians = {}
        for name, found in rows.items():
            busy, elapsed, faults, peak = map(statistics.median, zip(*found[1:], strict=True))
            medians[name] = busy
            cells = f"{busy * 1e3:.0f} | {elapsed * 1e3:.0f} | {faults:,.0f} | {peak:.2f}"
            print(f"| `{flags}` | {name} | {cells} |")
        ratio = medians["kept"] / medians["given back"]
        print(f"| | kept / given back | {ratio:.2f} | | | |", flush=True)


if __name__ == "__main__":
    enter(main)
