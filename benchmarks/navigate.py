"""The builtin Navigate world: how fast it runs, and how often simple policies reach the goal.

    python -m benchmarks.navigate > benchmarks/results/navigate.md

Speed is for one process: physics, dense reward, compass and the 64 x 64 picture of every frame, in
wall time and in CPU time (they differ if other programs use the machine). Success is a sparse
return of at least 100, that is, the goal block touched within 6 000 frames; one world per episode,
the same for every policy. The policies:

- follower: `envs.navigate.follower.CompassFollower`, which sees only the picture and the needle;
- random: `env.action_space.sample()` every frame, so the camera jumps by up to ±180 degrees;
- random, camera ±15: the same over the agent's action space (`envs.options`);
- random, camera ±15, held: the same, each action held for 20 frames (1 s), a better explorer.
"""

import argparse
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np

from benchmarks.machine import measured
from common.entry import enter
from configs.spelling import whole
from envs import EnvConfig, make_vector
from envs.navigate import NavigateEnv
from envs.navigate.follower import CompassFollower
from envs.wrappers import CameraLimit

Policy = Callable[[dict[str, Any]], dict[str, Any]]
CAMERA = 15.0  # degrees per frame
HOLD = 20  # frames
COLD_START = """
import time; start = time.perf_counter()
from envs.navigate import NavigateEnv
env = NavigateEnv(); env.reset(seed=0); env.step(env.action_space.sample())
print(time.perf_counter() - start)
"""


def report_speed(worlds: int, frames: int) -> None:
    """Print frames per second of a player who walks, turns, digs and keeps the horizon in view."""
    env = CameraLimit(NavigateEnv(dense=True), CAMERA)
    actions = walking(env.action_space, frames)
    env.reset(seed=0)
    env.step(actions[0])
    wall, cpu, resets = [], [], []
    for seed in range(worlds):
        start = time.perf_counter()
        env.reset(seed=seed)
        resets.append(1e3 * (time.perf_counter() - start))
        start, start_cpu = time.perf_counter(), time.process_time()
        for action in actions:
            env.step(action)
        wall.append(frames / (time.perf_counter() - start))
        cpu.append(frames / (time.process_time() - start_cpu))
    print("| | median | lowest and highest of", worlds, "worlds |")
    print("|---|---|---|")
    print(f"| frames/s, wall time | {row(wall)} |")
    print(f"| frames/s, CPU time | {row(cpu)} |")
    print(f"| reset, ms | {row(resets)} |")


def walking(space: gymnasium.Space[Any], count: int) -> list[dict[str, Any]]:
    """Samples of a space or batched space with `forward` held, no `back`, and a steady pitch."""
    space.seed(0)
    actions = [space.sample() for _ in range(count)]
    for action in actions:
        action["camera"] = action["camera"] * np.array((0.1, 1.0), np.float32)
        action["forward"] = np.ones_like(action["forward"])
        action["back"] = np.zeros_like(action["back"])
    return actions


def row(values: list[float]) -> str:
    """Median and span, as table cells."""
    return f"{statistics.median(values):.0f} | {min(values):.0f} to {max(values):.0f}"


def report_vector(frames: int) -> None:
    """Print frames per second through the agent's wrappers and vector, resets included."""
    envs = make_vector(EnvConfig(backend="builtin"), 4, seed=0)
    envs.reset()
    actions = walking(envs.action_space, frames)
    start = time.perf_counter()
    for action in actions:
        envs.step(action)
    speed = 4 * frames / (time.perf_counter() - start)
    print(f"\nThrough `make_vector`, 4 environments: {speed:.0f} frames/s, wall time.")


def report_cold_start() -> None:
    """Print the seconds from import to the first step, with and without compiled kernels."""
    with tempfile.TemporaryDirectory() as cache:
        settings = {**os.environ, "NUMBA_CACHE_DIR": cache, "PYTHONPATH": os.getcwd()}
        command = [sys.executable, "-c", COLD_START]
        cold, warm = (
            float(subprocess.run(command, env=settings, capture_output=True, check=True).stdout)
            for _ in range(2)
        )
    print(f"\nImport to first step: {cold:.1f} s the first time (compiling), then {warm:.1f} s.")


def random_policy(seed: int, camera: float, hold: int) -> Policy:
    """Uniform over the action space with a narrowed camera, each action held for `hold` frames."""
    space = CameraLimit(NavigateEnv(), camera).action_space
    space.seed(seed)
    last: dict[str, Any] = {"frames": 0}

    def act(obs: dict[str, Any]) -> dict[str, Any]:
        if last["frames"] % hold == 0:
            last["action"] = space.sample()
        last["frames"] += 1
        return last["action"]

    return act


def run_policy(
    env: NavigateEnv, make_policy: Callable[[int], Policy], episodes: int
) -> list[tuple[float, bool, int]]:
    """(dense return, goal touched, frames) of every episode; world i has seed 10 000 + i."""
    results = []
    for episode in range(episodes):
        policy, total = make_policy(episode), 0.0
        obs, info = env.reset(seed=10_000 + episode)
        done = False
        while not done:
            obs, reward, terminated, truncated, info = env.step(policy(obs))
            total, done = total + reward, terminated or truncated
        results.append((total, bool(info["success"]), env.frames))
    return results


def wilson(successes: int, count: int) -> tuple[float, float]:
    """95% interval of a share (Wilson score interval)."""
    z, share = 1.96, successes / count
    middle = share + z * z / (2 * count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return (middle - half) / scale, (middle + half) / scale


def report_policies(follower_episodes: int, random_episodes: int) -> None:
    """Print the table of success rates."""
    policies: dict[str, Callable[[int], Policy]] = {
        "follower": CompassFollower,
        "random": lambda seed: random_policy(seed, 180.0, 1),
        f"random, camera ±{CAMERA:.0f}": lambda seed: random_policy(seed, CAMERA, 1),
        f"random, camera ±{CAMERA:.0f}, held": lambda seed: random_policy(seed, CAMERA, HOLD),
    }
    print(
        "\n| policy | episodes | sparse return ≥ 100 | 95% interval | mean dense return | frames |"
    )
    print("|---|---|---|---|---|---|")
    for name, make_policy in policies.items():
        looks = name == "follower"
        env = NavigateEnv(dense=True)
        env.seen = looks
        episodes = follower_episodes if looks else random_episodes
        results = run_policy(env, make_policy, episodes)
        wins = sum(success for _, success, _ in results)
        low, high = wilson(wins, episodes)
        dense = np.mean([total for total, _, _ in results])
        frames = np.median([frames for _, _, frames in results])
        print(
            f"| {name} | {episodes} | {wins / episodes:.0%} | {low:.1%} to {high:.1%} "
            f"| {dense:.1f} | {frames:.0f} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=whole, default=100, help="of the follower")
    parser.add_argument("--random-episodes", type=int, default=200, help="of each random policy")
    parser.add_argument("--worlds", type=int, default=24, help="worlds for the speed")
    parser.add_argument("--frames", type=whole, default=1000, help="frames per world for the speed")
    arguments = parser.parse_args()
    with measured("Navigate, builtin back end", "benchmarks.navigate"):
        report_speed(arguments.worlds, arguments.frames)
        report_vector(arguments.frames)
        report_cold_start()
        report_policies(arguments.episodes, arguments.random_episodes)


if __name__ == "__main__":
    enter(main)
