"""What environments in processes of their own start, and how a new one is seeded."""

import signal
import time

import numpy as np
import pytest
from emitted import TROUBLED, group, logged, start_ends

from envs import EnvConfig, make_vector


def begin(seed=0, **options):
    """One environment in its process, and the process's id."""
    told = {name: str(value) for name, value in options.items()}
    config = EnvConfig(name=TROUBLED, workers="async", step_timeout=60.0, options=told)
    envs = make_vector(config, 1, seed)
    envs.reset()
    return envs, envs.workers[0].env.processes[0].pid


def step(envs):
    return envs.step(np.zeros((1, 1), np.float32))


def alive(pid):
    until = time.monotonic() + 20
    while group(pid) and time.monotonic() < until:
        time.sleep(0.1)
    return group(pid)


@pytest.mark.parametrize("child", ["fork", "spawn"])
def test_an_environment_may_use_multiprocessing(child):
    """Its `close` terminates its child, and so ends itself, not killed with it."""
    envs, pid = begin(always=-1, child=child)
    step(envs)
    assert len(group(pid)) == 2
    process = envs.workers[0].env.processes[0]
    envs.close()
    assert not group(pid) and process.exitcode == 0


@pytest.mark.parametrize("child", ["fork", "spawn"])
def test_what_it_started_ends_with_a_parent_that_is_killed(child):
    process = start_ends("async", child)
    pids = [int(pid) for pid in process.stdout.readline().split()]
    assert [len(group(pid)) for pid in pids] == [2, 2]
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert [alive(pid) for pid in pids] == [[], []]


def test_the_end_of_one_whose_child_goes_on_is_noticed_at_once(caplog):
    """The child holds the pipe open."""
    envs, pid = begin(always=2, at=2, child="fork")
    step(envs)
    start = time.monotonic()
    assert step(envs)[-1]["restarted"].all() and time.monotonic() - start < 30
    assert "its process ended with code 3" in caplog.text and not group(pid)
    envs.close()


def test_a_new_seed_fits_in_31_bits(tmp_path):
    seed = next(s for s in range(9) if np.random.SeedSequence((s, 0, 1)).generate_state(1) >> 31)
    envs, _ = begin(seed, always=1, at=1, log=tmp_path)
    step(envs)
    envs.close()
    (again,) = set(logged(tmp_path)) - {seed}
    assert 0 <= again < 2**31
