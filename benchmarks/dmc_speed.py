"""Frames per CPU second of `dmc:` environments, alternating with dm_control's own loop.

  MUJOCO_GL=egl python benchmarks/dmc_speed.py

Every side steps the same task by random actions in a separate process (graphics contexts of two
libraries in one process interfere with each other), one after the other. CPU seconds of all threads
are counted, so that other work on the machine does not decide the result. From state, `ours` is the
environment that the agent sees (canonical float32 vectors), and `dm_control` is its `env.step`
alone. From pixels, each draws 64x64 pixels per frame from the same camera: `dm_control` by
`physics.render` with its defaults (shadows, reflections, oversampling), `dm_control, plain` by the
same call with our drawing settings. Ratios are medians over rounds of ours / the other.
"""

import argparse
import multiprocessing
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from common.entry import enter
from envs import EnvConfig, make_agent_env
from envs.dmc import load_suite
from envs.dmc_render import SHADOW_MAP

TASKS = {
    "walker_walk": ("walker", "walk"),
    "cheetah_run": ("cheetah", "run"),
    "cartpole_swingup": ("cartpole", "swingup"),
}
SIZE = 64  # pixels
Step = Callable[[np.ndarray], object]


def ours(task: str, pixels: bool) -> Step:
    """A function that steps the agent's environment by one frame."""
    env = make_agent_env(EnvConfig(name=f"dmc:{task}", pixels=pixels, image_size=SIZE))
    env.reset(seed=0)

    def step(action: np.ndarray) -> None:
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()

    return step


def theirs(task: str, pixels: bool, plain: bool) -> Step:
    """A function that steps dm_control's environment, which resets itself, by one frame."""
    env = load_suite().load(*TASKS[task], task_kwargs={"random": 0})
    flags: dict[str, Any] = {}
    if plain:
        env.physics.model.vis.quality.shadowsize = SHADOW_MAP
        env.physics.model.vis.quality.offsamples = 0
        flags = {"render_flag_overrides": {"shadow": False, "reflection": False}}
    env.reset()

    def step(action: np.ndarray) -> None:
        env.step(action)
        if pixels:
            env.physics.render(SIZE, SIZE, camera_id=0, **flags)

    return step


SIDES: dict[str, Callable[[str, bool], Step]] = {
    "ours": ours,
    "dm_control": partial(theirs, plain=False),
    "dm_control, plain": partial(theirs, plain=True),
}


def serve(side: str, task: str, pixels: bool, pipe: Connection) -> None:
    """Run a side's process: it receives CPU seconds and sends frames per CPU second; 0 ends it."""
    step = SIDES[side](task, pixels)
    width = make_agent_env(EnvConfig(name=f"dmc:{task}")).action_space.shape or (1,)
    actions = np.random.default_rng(0).uniform(-1, 1, (1000, *width)).astype(np.float32)
    step(actions[0])  # creates graphics contexts
    while seconds := pipe.recv():
        frames, used, start = 0, 0.0, time.process_time()
        while used < seconds:
            step(actions[frames % len(actions)])
            frames, used = frames + 1, time.process_time() - start
        pipe.send(frames / used)


def measure(task: str, pixels: bool, seconds: float, rounds: int) -> str:
    """One row of the table."""
    sides = [name for name in SIDES if pixels or name != "dm_control, plain"]
    context = multiprocessing.get_context("spawn")
    pipes: list[Any] = []
    for side in sides:
        here, there = context.Pipe()
        context.Process(target=serve, args=(side, task, pixels, there), daemon=True).start()
        pipes.append(here)
    rates = np.zeros((rounds, len(sides)))
    for row in range(rounds):
        for index in range(len(sides)):
            which = (row + index) % len(sides)  # no side always goes first
            pipes[which].send(seconds)
            rates[row, which] = pipes[which].recv()
    for pipe in pipes:
        pipe.send(0)
    cells = [f"{np.median(x):,.0f} ({x.min():,.0f}-{x.max():,.0f})" for x in rates.T]
    cells += [f"{np.median(rates[:, 0] / x):.2f}" for x in rates.T[1:]]
    if not pixels:
        cells = [*cells[:2], "", cells[2], ""]
    return f"| {task} | {'pixels' if pixels else 'state'} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1, help="CPU, of each side and round")
    arguments = parser.parse_args()
    print("| task | observed | ours: median (range) | dm_control | dm_control, plain |", end="")
    print(" ours / dm_control | ours / plain |\n|---|---|---|---|---|---|---|")
    for pixels in (False, True):
        for task in arguments.tasks:
            print(measure(task, pixels, arguments.seconds, arguments.rounds), flush=True)


if __name__ == "__main__":
    enter(main)
