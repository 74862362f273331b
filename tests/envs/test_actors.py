"""Environments in actors of Ray: what replay holds of them, failures, lost machines, ends."""

import os
import socket
import subprocess
import sys
from contextlib import contextmanager

import pytest
from emitted import TROUBLED, collect, logged, stored

from envs import EnvConfig, make_vector

ray = pytest.importorskip("ray")


@contextmanager
def node(*flags):
    """A machine of a cluster, as `ray start` makes it, in a session of its own."""
    least = ["--block", "--disable-usage-stats", "--include-log-monitor=false"]
    least += ["--object-store-memory", str(80 * 2**20)]
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", *flags, *least]
    settings = {"RAY_AUTH_MODE": "disabled", "RAY_worker_niceness": "0"}  # whatever lies here
    process = subprocess.Popen(
        command,
        start_new_session=True,
        env=os.environ | settings,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert any("--block" in line for line in process.stdout)  # which it says once it runs
    try:
        yield process
    finally:
        process.terminate()  # which ends all that it started
        process.communicate()


@pytest.fixture(scope="module")
def cluster():
    """Of one machine with four CPUs, at the address that runs look for."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    address = f"127.0.0.1:{port}"
    head = ["--head", f"--port={port}", "--no-monitor", "--include-dashboard=false"]
    with node(*head, "--num-cpus=4"):
        os.environ["RAY_ADDRESS"] = address
        yield address
        del os.environ["RAY_ADDRESS"]
        ray.shutdown()


def config(**options):
    told = {name: str(value) for name, value in options.items()}
    return EnvConfig(name=TROUBLED, workers="ray", step_timeout=20.0, options=told)


def test_replay_holds_what_was_emitted_and_nothing_else(cluster, tmp_path):
    """Six environments in four actors, two of which have two."""
    envs = make_vector(config(log=tmp_path, always=-1), 6, seed=5)
    assert envs.rows == [[0, 1], [2, 3], [4], [5]]
    records, ended = collect(envs, 40, overlap=True)
    envs.close()
    logs = logged(tmp_path)
    assert sorted(logs) == list(range(5, 11))
    for seed, stream in zip(range(5, 11), records, strict=True):
        assert stored(stream) == logs[seed] and len(stream) == 41
    assert len(ended) == sum(row[-1] for log in logs.values() for row in log)
