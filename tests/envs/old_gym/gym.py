"""A stand-in for old Gym with MineRL's Navigate: `seed`, bare `reset`, four values from `step`. It
prints on stdout, starts two processes, and at its third step fails as the word TROUBLE says."""

import json
import os
import subprocess
import time
from types import SimpleNamespace

import numpy as np

__version__ = "0.19.0"
KEYS = ("attack", "back", "forward", "jump", "left", "right", "sneak", "sprint")
TROUBLE = os.environ.get("TROUBLE", "")


class Actions:
    spaces = {**dict.fromkeys(KEYS, "Discrete(2)"), "camera": "Box(2)", "place": "Enum", "new": "x"}

    def no_op(self):
        return {**dict.fromkeys(KEYS, 0), "camera": np.zeros(2), "place": "none", "new": 0}


class Game:
    action_space, observation_space = Actions(), "Dict(...)"

    def __init__(self):
        if TROUBLE == "actions":
            self.action_space = SimpleNamespace(spaces={"ESC": "Discrete(2)"})
        if TROUBLE == "start":
            raise OSError("no Java here")
        apart = [subprocess.Popen(["sleep", "600"], start_new_session=x) for x in (False, True)]
        self.write("pids", [os.getpid(), *(process.pid for process in apart)])

    def write(self, name, what):
        with open(os.path.join(os.environ["LOG"], name), "a") as file:
            file.write(json.dumps(what) + "\n")

    def seed(self, seed):
        assert isinstance(seed, int)
        self.write("calls", seed)

    def reset(self):
        print("a line of the game", flush=True)
        self.steps = 0
        return self.look()

    def step(self, action):
        print("x" * 100_000, flush=True)
        told = {key: np.asarray(value).tolist() for key, value in action.items()}
        assert action["camera"].dtype == np.float32 and isinstance(action["jump"], int)
        self.write("calls", told)
        self.steps += 1
        info = {"monitor": None}
        if self.steps == 3:
            if TROUBLE == "raise":
                raise KeyError("deep in the game")
            if TROUBLE == "die":
                print("out of memory", flush=True)
                os._exit(3)
            if TROUBLE == "hang":
                time.sleep(600)
            if TROUBLE == "late":
                time.sleep(3)
            if TROUBLE == "error":
                info = {"error": "Connection timed out!"}
            if TROUBLE == "new gym":
                return self.look(), 0.0, False, False, info
            if TROUBLE == "frame":
                os.write(int(os.sys.argv[2]), b"a line on the pipe of the frames")
        return self.look(), 100.0 if self.steps == 4 else 0.5, self.steps == 4, info

    def look(self):
        wrong = self.steps == 3
        side = 32 if wrong and TROUBLE == "shape" else 64
        angle = "north" if wrong and TROUBLE == "word" else np.float64(-3.5)
        kind = np.float32 if wrong and TROUBLE == "kind" else np.uint8
        pov = np.full((side, side, 3), self.steps, kind)
        return {"pov": pov, "compass": {"angle": angle}, "inventory": {"dirt": 2}}

    def close(self):
        if TROUBLE == "no end":
            time.sleep(600)


def make(name):
    assert name in ("MineRLNavigate-v0", "MineRLNavigateDense-v0")
    return Game()
