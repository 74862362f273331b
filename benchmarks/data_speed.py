"""Speed at which data that needs no download is generated, on one core.

    python -m benchmarks.data_speed > benchmarks/results/data_speed.md

Frames per second of each generator, in CPU time and in wall time (they differ if other programs use
the machine). Videos, factors and the set-up of each video are included, but not the first video of
each kind (compiling, loading digits). Each window of about a second makes some videos and then
copies the same frames, frame by frame, from memory to memory: the ratio of the two times is the
cost of a frame relative to just writing it, whatever else the machine did in that second.
`navigate` is every frame of the raw environment; `navigate, agent` is what the agent of the
`minerl_navigate` preset sees, every fourth frame.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from benchmarks.machine import measured
from common.entry import enter
from configs.presets import resolve
from envs import EnvConfig
from envs.navigate.videos import NavigateVideos
from recordings.generators.hallways import Hallways
from recordings.generators.moving_ball import MovingBall
from recordings.generators.moving_digits import MovingDigits
from recordings.generators.seeded import SeededVideos

SEED = 7
TARGET = 2_000  # frames/s


class Window(NamedTuple):
    """One measurement."""

    cpu: float  # frames/s
    wall: float  # frames/s
    copies: float  # CPU time divided by that of copying the same frames


def sources() -> dict[str, tuple[int, Callable[[int], np.ndarray]]]:
    """Name -> (frames per video, video number -> its frames)."""
    made: dict[str, tuple[int, Callable[[int], np.ndarray]]] = {}
    for source in (MovingDigits(), MovingBall(), Hallways()):
        made[source.name] = source.length, partial(drawn, source)
    for name, config in (("navigate", EnvConfig()), ("navigate, agent", agent_settings())):
        walks = NavigateVideos(config)
        made[name] = walks.length, partial(walked, walks)
    return made


def drawn(source: SeededVideos, index: int) -> np.ndarray:
    """Frames of a generated video."""
    return source.video(index, SEED).obs["image"]


def walked(walks: NavigateVideos, index: int) -> np.ndarray:
    """Frames of a walk."""
    return walks.episode(index, SEED).obs["pov"]


def agent_settings() -> EnvConfig:
    """The environment of the `minerl_navigate` preset."""
    return resolve("minerl_navigate", None, "s", accelerator=False, dtype="float32").env


def measure(make: Callable[[int], np.ndarray], first: int, videos: int) -> Window:
    """Measure one window: videos first .. first + videos - 1, then the copy of their frames."""
    start, start_cpu = time.perf_counter(), time.process_time()
    made = [make(first + i) for i in range(videos)]
    cpu, wall = time.process_time() - start_cpu, time.perf_counter() - start
    frames = sum(len(video) for video in made)
    return Window(frames / cpu, frames / wall, cpu / copy_time(made))


def copy_time(videos: list[np.ndarray]) -> float:
    """CPU seconds to copy every frame into an array of its video's size."""
    rounds = 0
    start = time.process_time()
    while (spent := time.process_time() - start) < 0.05:
        for video in videos:
            target = np.zeros_like(video)
            for t in range(len(video)):
                target[t] = video[t]
        rounds += 1
    return spent / rounds


def print_table(windows: int, seconds: float) -> None:
    """Print the table."""
    print("| data | frames/s, CPU time: median | lowest and highest window ", end="")
    print(f"| frames/s, wall time: median | times a copy: median | {TARGET:,} reached |")
    print("|---|---|---|---|---|---|")
    for name, (length, make) in sources().items():
        make(0)
        pilot = measure(make, 1, 1).cpu
        videos = max(1, round(seconds * pilot / length))
        seen = [measure(make, 2 + videos * k, videos) for k in range(windows)]
        cpu = [window.cpu for window in seen]
        median, best = statistics.median(cpu), max(cpu)
        reached = "yes" if median >= TARGET else "best window" if best >= TARGET else "no"
        wall, copies = (statistics.median(x) for x in list(zip(*seen, strict=True))[1:])
        print(
            f"| {name} | {median:,.0f} | {min(cpu):,.0f} to {best:,.0f} | {wall:,.0f} "
            f"| {copies:,.0f} | {reached} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--windows", type=int, default=12, help="measurements of each kind of data")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each, about")
    arguments = parser.parse_args()
    with measured("Data that needs no download", "benchmarks.data_speed"):
        print_table(arguments.windows, arguments.seconds)


if __name__ == "__main__":
    enter(main)
