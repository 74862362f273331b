"""Environments in processes of their own: what replay holds of them, failures, ends."""

import gc
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import gymnasium
import jax
import numpy as np
import pytest
from processes import ROOT

from agents import ActionCodec
from agents.driver import Collector, Stepper, play
from common import EnvironmentFailed
from envs import EnvConfig, choose_workers, make_agent_env, make_vector

TROUBLED = f"{Path(__file__).with_name('troubled.py')}:Troubled"


class Store:
    """Keeps what is appended, by stream."""

    def __init__(self, size):
        self.records = [[] for _ in range(size)]

    def append(self, stream, record, last):
        self.records[stream].append({**record, "last": last})


def config(workers="async", **options):
    told = {name: str(value) for name, value in options.items()}
    return EnvConfig(name=TROUBLED, workers=workers, step_timeout=2.0, options=told)


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


@pytest.mark.parametrize("workers", ["sync", "async"])
def test_replay_holds_what_was_emitted_and_nothing_else(workers, tmp_path):
    envs = make_vector(config(workers, log=tmp_path, always=-1), 2, seed=5)
    records, ended = collect(envs, 40, overlap=workers == "async")
    envs.close()
    logs = logged(tmp_path)
    assert sorted(logs) == [5, 6]
    for seed, stream in zip((5, 6), records, strict=True):
        assert stored(stream) == logs[seed] and len(stream) == 41
    assert len(ended) == sum(row[-1] for log in logs.values() for row in log)


def test_one_that_raises_dies_or_hangs_is_named_and_started_again(tmp_path, caplog):
    """Environment 0 goes on; of the others replay holds what the first process emitted, cut, and
    then what the second did."""
    envs = make_vector(config(log=tmp_path), 4, seed=0)
    start = time.monotonic()
    records, _ = collect(envs, 20, overlap=True)
    assert time.monotonic() - start < 15
    assert envs.restarts == [0, 1, 1, 1]
    envs.close()
    ways = {
        1: "index 1, step 7: step raised ValueError: deep in the user's code",
        2: "index 2: its process ended with code 3",
        3: "index 3: expected a step or a reset to return within 2 s (--env.step-timeout)",
    }
    for told in ways.values():
        assert f"environment {TROUBLED}, {told}; it is started again, its" in caplog.text
    assert 'raise ValueError("deep in the user\'s code")' in caplog.text  # the user's own line
    logs = logged(tmp_path)
    assert stored(records[0]) == logs[0] and len(records[0]) == 21
    for seed in (1, 2, 3):
        first, second = logs[seed], records[seed][len(logs[seed]) :]
        assert stored(records[seed][: len(first)]) == first and len(records[seed]) == 21
        assert not first[-1][-1] and second[0]["is_first"]  # cut: no last record, and a first one
        assert stored(second) in [log for later, log in logs.items() if later > 3]


def test_too_many_failures_in_a_row_end_the_run(caplog):
    envs = make_vector(config(always=1), 1, seed=0)
    with pytest.raises(EnvironmentFailed, match="failure 5 in a row with fewer than 1,000 steps"):
        collect(envs, 100)
    assert envs.restarts == [4] and caplog.text.count("started again") == 4
    envs.close()


def test_an_episode_that_a_failure_cut_is_told_from_others():
    envs = make_vector(config(always=2, at=3), 2, seed=4)
    stepper = Stepper(envs, ActionCodec(envs.single_action_space))
    played = play(stepper, lambda *_: np.zeros((2, 1), np.float32))
    envs.close()
    assert [(episode.cut, episode.length) for episode in played.episodes] == [(True, 2), (True, 2)]


def test_the_same_seeds_give_the_same_as_in_one_process():
    streams = []
    for workers in ("sync", "async"):
        envs = make_vector(EnvConfig(name="gym:Pendulum-v1", workers=workers), 2, seed=3)
        obs, _ = envs.reset()
        space = envs.action_space
        space.seed(0)
        streams.append([obs, *(envs.step(space.sample())[:4] for _ in range(30))])
        envs.close()
    jax.tree.map(np.testing.assert_array_equal, *streams)


def test_an_id_that_this_process_registered_is_known_in_the_others():
    def make():
        from gymnasium.envs.classic_control import PendulumEnv

        return PendulumEnv()

    gymnasium.register("OfThisProcess-v0", entry_point=make)
    try:
        envs = make_vector(EnvConfig(name="gym:OfThisProcess-v0", workers="async"), 1, seed=0)
        envs.reset()
        envs.close()
    finally:
        gymnasium.registry.pop("OfThisProcess-v0")


@pytest.mark.parametrize(
    ("env", "chosen"),
    [(EnvConfig(name="pure:pendulum"), "sync"), (EnvConfig(name="gym:Pendulum-v1"), "sync")],
)
def test_workers_are_chosen_by_the_time_of_a_step(env, chosen, monkeypatch):
    made = make_agent_env(env)
    assert choose_workers(made, env)[0] == chosen
    if env.name.startswith("gym:"):
        slow = EnvConfig(name="gym:Pendulum-v1", workers=None)
        monkeypatch.setattr("envs.vector.time_step", lambda env: 0.005)
        workers, why = choose_workers(made, slow)
        assert workers == "async" and "5 ms" in why
        assert choose_workers(made, EnvConfig(workers="sync")) == ("sync", "as asked")


def test_processes_end_with_a_vector_that_no_one_closed():
    """Without a warning; a step is under way."""
    envs = make_vector(config(always=-1), 2, seed=0)
    envs.reset()
    envs.step_async(np.zeros((2, 1), np.float32))
    pids = [worker.processes[0].pid for worker in envs.workers]
    assert all(group(pid) for pid in pids)
    del envs
    gc.collect()
    assert not any(group(pid) for pid in pids)


def group(pid):
    """Processes of a session that run."""
    listed = subprocess.run(["ps", "-eo", "sid,stat"], capture_output=True, text=True, check=True)
    rows = [line.split() for line in listed.stdout.splitlines()[1:]]
    return [row for row in rows if int(row[0]) == pid and not row[1].startswith("Z")]


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGTERM, 0),
        pytest.param(signal.SIGKILL, -signal.SIGKILL, marks=pytest.mark.slow),
    ],
)
def test_environments_and_what_they_started_end_with_the_process(number, code):
    """Asked to stop, and killed; while they hang."""
    command = [sys.executable, Path(__file__).with_name("ends.py")]
    settings = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, env=settings, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    workers = [int(pid) for pid in process.stdout.readline().split()]
    assert len(workers) == 2 and all(len(group(pid)) == 2 for pid in workers)
    time.sleep(0.5)  # into the step that hangs
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    until = time.monotonic() + 20
    while any(group(pid) for pid in workers) and time.monotonic() < until:
        time.sleep(0.1)
    assert [group(pid) for pid in workers] == [[], []]
