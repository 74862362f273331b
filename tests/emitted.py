"""What environments of `envs/troubled.py` write down of what they emit, and what replay holds."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

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
    for file in Path(folder).iterdir():
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        found[rows[0][0]] = [row[1:] for row in rows]
    return found
