"""Environments of a user's own, in a file, that write down what they emit and fail by their seed.
Processes of their own make them: nothing is imported here but what a user's file would import."""

import json
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import gymnasium
import numpy as np
from gymnasium import spaces


class Loaded(gymnasium.Env):
    """Its observation is whether its process has loaded JAX."""

    observation_space = spaces.Dict({"x": spaces.Box(0, 1, (1,), np.float64)})
    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return {"x": np.full(1, float("jax" in sys.modules))}, {}

    def step(self, action):
        return *self.reset()[:1], 0.0, False, False, {}


def started(child):
    if child == "sleep":
        return subprocess.Popen(["sleep", "600"])
    process = multiprocessing.get_context(child).Process(target=time.sleep, args=(600,))
    process.start()
    return process


class Troubled(gymnasium.Env):
    """Episodes of 4 to 9 steps. First reset by seed 1 it raises at its seventh step, by seed 2 it
    exits, by seed 3 it hangs; by any other all goes well. Its log holds a line for every record:
    [seed, number, action, reward, terminal, last]; a file beside it says that it hangs. Its child
    is a command, "sleep", or a process of `multiprocessing`, "fork" or "spawn"."""

    observation_space = spaces.Dict({"x": spaces.Box(0, np.inf, (1,), np.float64)})
    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, log="", always=0, at=7, child=""):
        self.log = Path(log) / f"{os.getpid()}-{id(self)}" if log else None
        self.always, self.at, self.emitted, self.steps, self.trouble = always, at, 0, 0, None
        self.kind, self.child = child, None

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if self.trouble is None:
            self.seed, self.trouble = seed, self.always or seed
            self.child = started(self.kind) if self.kind else None
        self.left = int(self.np_random.integers(4, 10))
        return self.emit(None, 0.0, False, False), {}

    def step(self, action):
        self.steps += 1
        if self.steps == self.at:
            self.fail()
        self.left -= 1
        over, terminal = self.left == 0, bool(self.np_random.integers(2))
        ends = over and terminal, over and not terminal
        reward = float(self.np_random.random())
        return self.emit(float(action[0]), reward, *ends), reward, *ends, {"success": over}

    def close(self):
        if self.child is not None:
            self.child.terminate()
            self.child.wait() if isinstance(self.child, subprocess.Popen) else self.child.join()

    def fail(self):
        if self.trouble == 1:
            raise ValueError("deep in the user's code")
        if self.trouble == 2:
            os._exit(3)
        if self.trouble == 3:
            if self.log is not None:
                self.log.with_suffix(".hangs").touch()
            time.sleep(600)

    def emit(self, action, reward, terminal, limit):
        self.emitted += 1
        if self.log is not None:
            row = [self.seed, self.emitted, action, reward, terminal, terminal or limit]
            with self.log.open("a") as file:
                file.write(json.dumps(row) + "\n")
        return {"x": np.array([float(self.emitted)])}
