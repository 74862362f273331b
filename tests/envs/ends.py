"""A process with environments in others, which tells their ids and steps until a signal; the
environments hang."""

import sys
from multiprocessing.process import active_children
from pathlib import Path

import numpy as np

from common.entry import enter
from common.signals import first_signal
from envs import EnvConfig, make_vector, workers


def main():
    workers.PATIENCE = 1.0
    name = f"{Path(__file__).with_name('troubled.py')}:Troubled"
    options = {"child": sys.argv[2], "always": "3"}
    envs = make_vector(EnvConfig(name=name, workers=sys.argv[1], options=options), 2, seed=0)
    stopped = []
    with first_signal("stopping", lambda: stopped.append(True)):
        envs.reset()
        print(*(child.pid for child in active_children()), flush=True)
        while not stopped:
            envs.step_async(np.zeros((2, 1), np.float32))
            if not stopped:
                envs.step_wait()
    envs.close()


if __name__ == "__main__":
    enter(main)
