"""Cost of an update beside that of another system, in turns on one core.

  python -m benchmarks.peers dreamerv3 --python PYTHON --repository DREAMERV3
  python -m benchmarks.peers cwvae --python PYTHON --repository CWVAE

`dreamerv3` (danijar/dreamerv3): agents for a task of a walker's size, a vector of 24 numbers and 6
actions, on batches of 4 sequences of 32 steps, with as many parameters and imagined environment
steps as its size 1m. They are measured without novelty, which DreamerV3 has none of, and flat also
with it, as by default. `cwvae` (vaibhavsaxena11/cwvae): the original CW-VAE and ours, by the
paper's settings for GQN Mazes, on 4 clips of 72 frames of 64 by 64 pixels.

Needs a checkout of the other system and a Python with its requirements, which are no part of this
project. Writes benchmarks/results/peer_NAME.md.
"""

import argparse
import math
import os
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from benchmarks.machine import processor
from benchmarks.run import Work, update, video
from common import UserError
from common.entry import enter
from replay.atomic import write_text
from training.device import enable_compilation_cache, keep_freed_memory

RESULTS = Path(__file__).resolve().parents[1] / "results"
ROUNDS = 9  # turns of each, of which the first is not counted
TASK = (
    "--env benchmarks.peers.walk:Walk --size xs --batch 4 --length 32 --agent.behaviour.horizon 16"
)


class Peer(NamedTuple):
    """A system that updates are measured beside."""

    title: str
    file: str  # of its checkout, to tell a wrong path by
    task: str
    work: Callable[[str], Work]
    rows: Mapping[str, str]  # flags of ours, by the name in the table
    updates: int  # in a turn


PEERS = {
    "dreamerv3": Peer(
        "DreamerV3",
        "dreamerv3/configs.yaml",
        "Vectors of 24 numbers, 4 sequences of 32 steps, 16 imagined steps",
        update,
        {
            "flat": f"{TASK} --strides 1 --agent.model.deter 159 --agent.model.hidden 159 "
            "--agent.novelty 0",
            "(1, 4)": f"{TASK} --strides 1 4 --agent.model.deter 123 --agent.model.hidden 123 "
            "--agent.novelty 0",
            "flat, with novelty": f"{TASK} --strides 1 --agent.model.deter 142 "
            "--agent.model.hidden 142 --agent.novelty 1",
        },
        10,
    ),
    "cwvae": Peer(
        "the original CW-VAE",
        "cwvae.py",
        "4 clips of 72 frames of 64 by 64 pixels, strides (1, 6, 36)",
        video,
        {"ours": "--preset cwvae --data hallways --size paper --batch 4 --length 72"},
        2,
    ),
}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("peer", choices=list(PEERS))
    parser.add_argument("--python", type=Path, required=True, help="with the other's requirements")
    parser.add_argument("--repository", type=Path, required=True, help="a checkout of it")
    cores = sorted(os.sched_getaffinity(0))
    parser.add_argument("--core", type=int, choices=cores, default=cores[0], help="to run on")
    args = parser.parse_args()
    peer = PEERS[args.peer]
    for path in (args.python, args.repository / peer.file):
        if not path.is_file():
            raise UserError(f"expected a file, received none at {path}; check the path")
    os.sched_setaffinity(0, {args.core})
    jax.config.update("jax_platforms", "cpu")
    enable_compilation_cache(None)
    keep_freed_memory()
    script = Path(__file__).with_name(f"{args.peer}.py")
    command = [args.python.absolute(), script, args.repository.resolve()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdin is not None and run.stdout is not None
        parameters = {peer.title: int(number(run.stdout))}
        works = {name: peer.work(flags) for name, flags in peer.rows.items()}
        parameters |= {name: count(work) for name, work in works.items()}
        seconds: dict[str, list[float]] = {name: [] for name in parameters}
        for _ in range(ROUNDS):
            run.stdin.write(f"{peer.updates}\n")
            run.stdin.flush()
            seconds[peer.title].append(number(run.stdout))
            for name, work in works.items():
                seconds[name].append(spent(work, peer.updates))
        run.stdin.close()
    path = RESULTS / f"peer_{args.peer}.md"
    write_text(path, page(args.peer, {name: x[1:] for name, x in seconds.items()}, parameters))
    print(path.read_text(encoding="utf-8"))


def number(lines: Iterable[str]) -> float:
    """The next line that is a number; what the other program prints besides is left out."""
    for line in lines:
        try:
            return float(line)
        except ValueError:
            continue
    raise SystemExit("error: the other program ended; what it printed last is above")


def spent(work: Work, updates: int) -> float:
    """CPU-seconds of an update."""
    start = time.process_time()
    for _ in range(updates):
        jax.block_until_ready(work.call())
    return (time.process_time() - start) / updates


def count(work: Work) -> int:
    """Number of parameters of what a work updates."""
    return sum(math.prod(x.shape) for x in jax.tree.leaves(work.args[0].params))


def page(name: str, seconds: Mapping[str, list[float]], parameters: Mapping[str, int]) -> str:
    """The table, as Markdown."""
    other = PEERS[name]
    peer = np.array(seconds[other.title])
    rows = []
    for title, found in seconds.items():
        low, ratio, high = np.quantile(np.array(found) / peer, (0.25, 0.5, 0.75))
        shown = "1" if title == other.title else f"{ratio:.2f} ({low:.2f} to {high:.2f})"
        cells = title, f"{parameters[title]:,}", f"{1e3 * np.median(found):.0f}", shown
        rows.append(f"| {' | '.join(cells)} |")
    lines = [
        f"# An update beside that of {other.title}",
        "",
        f"    python -m benchmarks.peers {name} --python PYTHON --repository REPOSITORY",
        "",
        f"{other.task}, float32, one core of {processor()}; medians of {len(peer)} turns of "
        f"{other.updates} updates, in CPU-seconds, and of their ratios, with the middle half.",
        "",
        "| | parameters | CPU-ms | ratio |",
        "|---|---|---|---|",
        *rows,
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    enter(main)
