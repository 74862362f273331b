"""What environments of `envs/troubled.py` write down of what they emit, and what replay holds."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from processes import PATIENCE, ROOT

from agents import ActionCodec
from agents.driver import Collector, Stepper

TROUBLED = f"{Path(__file__).parent / 'envs' / 'troubled.py'}:Troubled"


class Store:
    """Keeps what is appended, by stream."""

    def __init__(self, size):
        self.records = [[] for _ in range(size)]

    def append(self, stream, record, last):
        self.records[stream].append({**record, "last": last})


def collect(envs, rounds, overlap=False):
    """What replay holds after so many steps of every environment, by stream, and episodes' ends."""
    store, rng = Store(envs.num_envs), np.random.default_rng(0)
    stepper = Stepper(envs, ActionCodec(envs.single_action_space))

    def policy(params, carry, obs, is_first, key):
        return carry, rng.uniform(-1, 1, (envs.num_envs, 1)).astype(np.float32)

    collector = Collector(stepper, policy, None, store, overlap).begin()
    ended = []
    for _ in range(rounds):
        ended += collector.step(None, jax.random.key(0))
    return store.records, ended + collector.arrive()


def limit_only(envs, index, folder):
    """The time limit is for environment ``index`` once it hangs, as its log in ``folder`` says. All
    else is waited for, since a machine may be slow."""
    wait = envs._wait

    def waited(worker, until):
        rows = envs.rows[envs.workers.index(worker)]
        limited = index in rows and not envs.restarts[index]
        deadline = time.monotonic() + PATIENCE
        while not worker.ready(0.1) and not (limited and any(folder.glob("*.hangs"))):
            assert time.monotonic() < deadline
        return wait(worker, until)

    envs._wait = waited


def stored(records):
    """As `Troubled` writes them down."""
    return [
        [
            float(r["obs/x"][0]),
            None if r["is_first"] else float(r["action"][0]),
            pytest.approx(float(r["reward"])),
            bool(r["terminal"]),
            r["last"],
        ]
        for r in records
    ]


def logged(folder):
    """What was emitted, by the seed that an environment began from."""
    found = {}
    for file in Path(folder).glob("*[0-9]"):
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        found[rows[0][0]] = [row[1:] for row in rows]
    return found


def group(pid):
    """Processes of a session that run: its id, state, and name of each, of 15 letters at most."""
    rows = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = file.read_text(errors="replace")
        except (FileNotFoundError, ProcessLookupError):  # it has ended
            continue
        before, after = text.rsplit(")", 1)
        state, _, _, session, *_ = after.split()
        if int(session) == pid and state not in "ZX":
            rows.append([session, state, before.split("(", 1)[1]])
    return rows


def start_ends(workers, child="sleep", **options):
    """Starts `envs/ends.py`, whose environments are stepped so and start such a child each."""
    command = [sys.executable, Path(__file__).parent / "envs" / "ends.py", workers, child]
    settings = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    settings["PYTHONPATH"] = str(ROOT)
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=settings, text=True, stdout=pipe, stderr=pipe, **options)
