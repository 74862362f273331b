"""Environments in processes of their own: what replay holds of them, failures, ends."""

import gc
import signal
import time
from functools import partial

import gymnasium
import jax
import numpy as np
import pytest
from emitted import TROUBLED, collect, group, limit_only, logged, start_ends, stored
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from processes import PATIENCE

from agents import ActionCodec
from agents.driver import Stepper, play
from common import EnvironmentFailed
from envs import EnvConfig, choose_workers, make_agent_env, make_vector
from envs.workers import Lost, Worker, WorkerVectorEnv


def config(workers="async", limit=PATIENCE, **options):
    told = {name: str(value) for name, value in options.items()}
    return EnvConfig(name=TROUBLED, workers=workers, step_timeout=limit, options=told)


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
    envs = make_vector(config(log=tmp_path, limit=1.0), 4, seed=0)
    limit_only(envs, 3, tmp_path)
    records, _ = collect(envs, 20, overlap=True)
    assert envs.restarts == [0, 1, 1, 1]
    envs.close()
    ways = {
        1: "index 1, step 7: step raised ValueError: deep in the user's code",
        2: "index 2: its process ended with code 3",
        3: "index 3: expected a step or a reset to return within 1 s (--env.step-timeout)",
    }
    for told in ways.values():
        assert f"environment {TROUBLED}, {told}; it is restarted, and its" in caplog.text
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
    assert envs.restarts == [4] and caplog.text.count("it is restarted") == 4
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
    pids = [worker.env.processes[0].pid for worker in envs.workers]
    assert all(group(pid) for pid in pids)
    del envs
    gc.collect()
    assert not any(group(pid) for pid in pids)


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGTERM, 0),
        pytest.param(signal.SIGKILL, -signal.SIGKILL, marks=pytest.mark.slow),
    ],
)
def test_environments_and_what_they_started_end_with_the_process(number, code):
    """Asked to stop, and killed; while they hang."""
    process = start_ends("async")
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


class Scripted(gymnasium.Env):
    """Counts its steps; at the steps that a script names it raises, or ends its worker."""

    observation_space = spaces.Dict({"x": spaces.Box(0, np.inf, (1,), np.float64)})
    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, script):
        self.script = script

    def reset(self, *, seed=None, options=None):
        self.steps = 0
        return self.does("reset"), {}

    def step(self, action):
        self.steps += 1
        return self.does(self.steps), float(self.steps), False, False, {"success": True}

    def does(self, when):
        if self.script and self.script[0][0] == when:
            raise self.script.pop(0)[1]
        return {"x": np.full(1, self.steps, float)}


class Here(Worker):
    """A worker of this process."""

    def __init__(self, here, remotes):
        super().__init__(here, remotes)
        self.envs = SyncVectorEnv(remotes, autoreset_mode=AutoresetMode.NEXT_STEP)

    def reset(self, seeds, options):
        self.asked = lambda: self.envs.reset(seed=seeds, options=options)

    def step(self, actions):
        self.asked = lambda: self.envs.step(actions)

    def ready(self, seconds):
        return True

    def answer(self):
        try:
            return self.asked()
        except KeyboardInterrupt:  # of a script; no `Exception`
            raise Lost(f"{self.here}: ended") from None

    @staticmethod
    def close(workers, asked):
        for worker in workers:
            worker.envs.close()


def scripted(*scripts, groups):
    makers = [partial(Scripted, list(script)) for script in scripts]
    given = Scripted.observation_space, Scripted.action_space, 0, 1.0
    return WorkerVectorEnv(Here, groups, "scripted", makers, *given)


def steps(envs, number):
    """Of every environment: its steps, or None where it was started again."""
    envs.reset()
    found = []
    for _ in range(number):
        obs, reward, _, _, infos = envs.step(np.zeros((envs.num_envs, 1), np.float32))
        again = infos.get("restarted", np.zeros(envs.num_envs, bool))
        assert (reward[again] == 0).all() and (reward == obs["x"][:, 0]).all()
        found.append([None if a else int(x) for a, x in zip(again, obs["x"][:, 0], strict=True)])
    return found


def test_of_a_group_what_raises_is_made_anew_and_the_others_go_on(caplog):
    raises = [(2, ValueError("one")), ("reset", ValueError("two"))]
    envs = scripted([], raises, [], groups=1)
    assert steps(envs, 3) == [[1, 1, 1], [2, None, 2], [3, 1, 3]]
    assert envs.restarts == [0, 2, 0] and caplog.text.count("its episode is cut") == 2
    envs.close()


def test_a_worker_that_ends_takes_its_group_with_it(caplog):
    """At a step; and as an environment of it that raised is made anew, though the others had
    stepped: their rows begin anew as well."""
    ends = [(2, KeyboardInterrupt())]
    envs = scripted([], ends, [], [], groups=2)
    assert steps(envs, 3) == [[1, 1, 1, 1], [None, None, 2, 2], [1, 1, 3, 3]]
    assert "environment scripted, indices 0 to 1: ended; they are restarted" in caplog.text
    envs.close()
    later = [(2, ValueError("one")), ("reset", KeyboardInterrupt())]
    envs = scripted([], later, [], groups=2)
    assert steps(envs, 3) == [[1, 1, 1], [None, None, 2], [1, 1, 3]]
    assert envs.restarts == [1, 2, 0]
    envs.close()
