"""Replay's sampling speed compared with raw random memory-map reads of the same bytes, in turns.

    python benchmarks/replay_speed.py --gb 8 --budget-gb 2        (needs 8 GB of disk)

The data are larger than the RAM that they may occupy: before each measured block every page of the
data is dropped from the page cache (maps closed, `posix_fadvise`), and after it the resident pages
are counted (`mincore`); the run fails if they exceed the budget. The raw side copies exactly the
slices that make up the sampler's batches of that block, as whole records, from
`np.load(mmap_mode="r")` arrays into one buffer. Its slices, arrays and buffer are prepared before
its clock starts, whereas the sampler draws, opens files and builds its batches while its clock
runs. `raw` reads slice after slice; `raw advised` first announces the whole batch to the kernel, as
the sampler does. `in RAM` repeats each block immediately, with its data now cached; the page tables
of the raw maps are then filled already, those of the sampler only for the files that it keeps open.
"""

import argparse
import ctypes
import mmap
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from common.entry import enter
from replay import Field, ReplayConfig, ReplayStore, SequenceSampler, standard_fields

FIELDS = standard_fields(
    {"pov": Field((64, 64, 3), "uint8"), "compass": Field((1,), "float32")}, 12
)
EPISODE = 1000  # steps
BATCH, LENGTH = 16, 64
Slices = list[tuple[Path, int, int]]  # (file, first step, end step)


def fill(store: ReplayStore, size: float) -> None:
    """Append episodes of noise until the store occupies `size` bytes."""
    images = np.random.default_rng(0).integers(0, 256, (EPISODE, 64, 64, 3), np.uint8)
    while store.bytes < size:
        for t in range(EPISODE):
            record = {
                "obs/pov": images[t],
                "obs/compass": np.zeros(1, np.float32),
                "action": np.ones(12, np.float32),
                "action_mask": np.float32(1),
                "reward": np.float32(t),
                "terminal": False,
                "is_first": t == 0,
            }
            store.append(0, record, last=t == EPISODE - 1)


def drop(store: ReplayStore, folder: Path) -> None:
    """Close the store's maps and drop the data from the page cache."""
    store.close_maps()
    for path in folder.iterdir():
        file = os.open(path, os.O_RDONLY)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)


def resident(folder: Path) -> int:
    """Bytes of the data that are in RAM, counted page by page."""
    libc = ctypes.CDLL(None, use_errno=True)
    total = 0
    for path in folder.iterdir():
        view = np.memmap(path, np.uint8, "r")
        pages = np.zeros(-(-len(view) // mmap.PAGESIZE), np.uint8)
        address, vector = ctypes.c_void_p(view.ctypes.data), ctypes.c_void_p(pages.ctypes.data)
        if libc.mincore(address, ctypes.c_size_t(len(view)), vector):
            raise OSError(ctypes.get_errno(), "mincore")
        total += int((pages & 1).sum()) * mmap.PAGESIZE
    return total


def anonymous() -> float:
    """MB of this process's memory that is not backed by a file."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1e3 for line in lines if line.startswith("RssAnon"))


def slices_of(sampler: SequenceSampler, folder: Path, batches: int) -> list[Slices]:
    """The slices of the sampler's next batches; the sampler's state is left unchanged."""
    state = sampler.state()
    runs = [sampler.draw() for _ in range(batches)]
    sampler.restore(state)
    return [
        [
            (folder / chunk.name, first, end)
            for run in batch
            for chunk, first, end in run.segment.pieces(run.start, run.stop)
        ]
        for batch in runs
    ]


class Raw:
    """Copies every slice of every batch into one buffer; maps and buffer are made in advance."""

    def __init__(self, plan: list[Slices], step: int, advise: bool) -> None:
        self.plan, self.step, self.advise = plan, step, advise
        paths = {path for slices in plan for path, _, _ in slices}
        self.maps = {path: np.load(path, mmap_mode="r") for path in paths}
        self.bytes = {path: np.asarray(array).view(np.uint8) for path, array in self.maps.items()}
        most = max(sum(end - first for _, first, end in slices) for slices in plan)
        self.buffer = np.zeros(most * step, np.uint8)

    def __call__(self) -> None:
        for slices in self.plan:
            if self.advise:
                self._advise(slices)
            at = 0
            for path, first, end in slices:
                size = (end - first) * self.step
                self.buffer[at : at + size] = self.bytes[path][first * self.step : end * self.step]
                at += size

    def _advise(self, slices: Slices) -> None:
        for path, first, end in slices:
            start = self.maps[path].offset + first * self.step
            begin = start // mmap.PAGESIZE * mmap.PAGESIZE
            size = start - begin + (end - first) * self.step
            self.maps[path]._mmap.madvise(mmap.MADV_WILLNEED, begin, size)


class Sampled:
    """The sampler's batches, from the same state each time."""

    def __init__(self, sampler: SequenceSampler, batches: int) -> None:
        self.sampler, self.batches, self.state = sampler, batches, sampler.state()

    def __call__(self) -> None:
        self.sampler.restore(self.state)
        for _ in range(self.batches):
            self.sampler.sample()


def timed(work: Callable[[], object], sequences: int) -> float:
    """Sequences per second."""
    start = time.perf_counter()
    work()
    return sequences / (time.perf_counter() - start)


def measure(store: ReplayStore, folder: Path, arguments: argparse.Namespace) -> None:
    sequences = arguments.batches * BATCH
    speeds: dict[str, list[float]] = {}
    most, before = 0, anonymous()
    for block in range(arguments.rounds):
        sampler = SequenceSampler(
            store, batch=BATCH, length=LENGTH, stride=arguments.stride, seed=block
        )
        plan = slices_of(sampler, folder, arguments.batches)
        ways: dict[str, Callable[[], Callable[[], None]]] = {
            "raw": partial(Raw, plan, store.dtype.itemsize, advise=False),
            "raw advised": partial(Raw, plan, store.dtype.itemsize, advise=True),
            "sampler": partial(Sampled, sampler, arguments.batches),
        }
        for name in list(ways)[block % 3 :] + list(ways)[: block % 3]:
            drop(store, folder)
            way = ways[name]()
            speeds.setdefault(f"{name}, from disk", []).append(timed(way, sequences))
            most = max(most, resident(folder))
            speeds.setdefault(f"{name}, in RAM", []).append(timed(way, sequences))
            del way
    if most > arguments.budget_gb * 1e9:
        raise SystemExit(f"{most / 1e9:.2f} GB resident: over the budget; lower --batches")
    print(f"- most of the data ever in RAM: {most / 1e9:.2f} GB of {store.bytes / 1e9:.2f} GB")
    print(f"- anonymous memory: {before:.0f} MB before, {anonymous():.0f} MB after\n")
    print("| data | reader | sequences/s, median (range) | GB/s | sampler / reader |")
    print("|---|---|---|---|---|")
    for where in ("from disk", "in RAM"):
        ours = speeds[f"sampler, {where}"]
        for name in ("raw", "raw advised", "sampler"):
            rates = speeds[f"{name}, {where}"]
            ratio = statistics.median(a / b for a, b in zip(ours, rates, strict=True))
            median, span = statistics.median(rates), f"{min(rates):.0f}-{max(rates):.0f}"
            gb = median * (LENGTH + arguments.stride - 1) * store.dtype.itemsize / 1e9
            print(f"| {where} | {name} | {median:.0f} ({span}) | {gb:.2f} | {ratio:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gb", type=float, default=8, help="size of the data, GB")
    parser.add_argument("--budget-gb", type=float, default=2, help="RAM the data may occupy, GB")
    parser.add_argument("--batches", type=int, default=20, help="per block")
    parser.add_argument("--rounds", type=int, default=6, help="blocks of each kind")
    parser.add_argument("--stride", type=int, default=1, help="K; the lead-in has K-1 frames")
    parser.add_argument("--directory", help="keep the data here; default: a temporary directory")
    arguments = parser.parse_args()
    directory = Path(arguments.directory or tempfile.mkdtemp(prefix="replay-benchmark-"))
    config = ReplayConfig(capacity_steps=10**9, capacity_gb=arguments.gb + 1)
    try:
        with ReplayStore(directory, FIELDS, config) as store:
            start, before = time.perf_counter(), store.steps
            fill(store, arguments.gb * 1e9)
            rate = (store.steps - before) / (time.perf_counter() - start)
        drop(store, directory / "chunks")
        start = time.perf_counter()
        with ReplayStore(directory, FIELDS, config) as store:
            opened = time.perf_counter() - start
            if rate:
                print(f"- appended at {rate:,.0f} steps/s, each chunk fsynced")
            print(f"- reopened in {opened:.1f} s, every byte checked, from disk")
            measure(store, directory / "chunks", arguments)
    finally:
        if not arguments.directory:
            shutil.rmtree(directory)


if __name__ == "__main__":
    enter(main)
