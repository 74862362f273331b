"""Environments in actors of Ray: what replay holds of them, failures, lost machines, ends."""

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack

import pytest
from emitted import TROUBLED, collect, group, limit_only, logged, start_ends, stored
from machines import free_address, machines, ray_node
from processes import PATIENCE, ROOT, finish

from benchmarks.actors import rates
from common import UserError
from envs import EnvConfig, choose_workers, make_vector
from replay import ReplayConfig, ReplayStore, read_fields

ray = pytest.importorskip("ray")

HEAD = ("--head", "--no-monitor", "--include-dashboard=false")


@pytest.fixture(scope="module")
def cluster():
    """Of one machine with four CPUs, at the address that runs look for."""
    address = free_address()
    with ray_node(*HEAD, f"--port={address.rpartition(':')[2]}", "--num-cpus=4"):
        os.environ["RAY_ADDRESS"] = address
        yield address
        del os.environ["RAY_ADDRESS"]
        ray.shutdown()


def config(limit=PATIENCE, **options):
    told = {name: str(value) for name, value in options.items()}
    return EnvConfig(name=TROUBLED, workers="ray", step_timeout=limit, options=told)


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


def assert_cut(stream, logs, seed):
    """Replay holds what the first process emitted, but for a step that may not have arrived, cut,
    and then what the second did."""
    first, found = logs[seed], stored(stream)
    later = [log for other, log in logs.items() if other != seed]
    cuts = [k for k in (len(first), len(first) - 1) if found[:k] == first[:k]]
    (cut,) = (k for k in cuts if found[k:] in later)
    assert not found[cut - 1][-1] and stream[cut]["is_first"]  # no last record, and a first one


def test_one_that_raises_dies_or_hangs_is_named_and_started_again(cluster, tmp_path, caplog):
    """Of five environments in four actors: 0 and 1 are in one, in which 1 raises."""
    envs = make_vector(config(log=tmp_path, limit=1.0), 5, seed=0)
    limit_only(envs, 3, tmp_path)
    records, _ = collect(envs, 20, overlap=True)
    assert envs.rows[0] == [0, 1] and envs.restarts == [0, 1, 1, 1, 0]
    envs.close()
    ways = {
        1: "index 1, step 7: step raised ValueError: deep in the user's code",
        2: "index 2: its actor ended: its worker process has died",
        3: "index 3: expected a step or a reset to return within 1 s (--env.step-timeout)",
    }
    logs = logged(tmp_path)
    for seed, told in ways.items():
        assert f"environment {TROUBLED}, {told}; it is restarted, and its" in caplog.text
        assert_cut(records[seed], logs, seed)
    assert 'raise ValueError("deep in the user\'s code")' in caplog.text  # the user's own line
    for seed in (0, 4):
        assert stored(records[seed]) == logs[seed]
    assert [len(stream) for stream in records] == [21] * 5


@pytest.mark.slow
def test_what_a_lost_machine_stepped_goes_on_elsewhere(cluster, tmp_path, caplog):
    """A second machine is killed in mid-step, with all that runs there."""
    with ray_node(f"--address={cluster}", "--num-cpus=2") as second:
        envs = make_vector(config(log=tmp_path, always=-1), 12, seed=0)
        assert [len(rows) for rows in envs.rows] == [2] * 6
        send, sent = envs.step_async, []

        def step_async(actions):
            send(actions)
            sent.append(actions)
            if len(sent) == 10:
                subprocess.run(["pkill", "-KILL", "-s", str(second.pid)], check=True)

        envs.step_async = step_async
        records, _ = collect(envs, 25, overlap=True)
    lost = [i for i, count in enumerate(envs.restarts) if count]
    envs.close()
    logs = logged(tmp_path)
    assert 2 <= len(lost) < 12 and all(i ^ 1 in lost for i in lost)  # both of an actor
    assert f"indices {lost[0]} to {lost[1]}: its actor ended: " in caplog.text
    for i, stream in enumerate(records):
        assert len(stream) == 26
        if i in lost:
            assert_cut(stream, logs, i)
        else:
            assert stored(stream) == logs[i]


@pytest.mark.slow
def test_a_machine_that_is_cut_off_is_missed_and_its_environments_go_on_elsewhere(tmp_path):
    """Of two machines that step for a third. What replay holds is what was counted."""
    run, logs = tmp_path / "run", tmp_path / "logs"
    logs.mkdir()
    flags = f"--env {TROUBLED} --env.options log {logs} always -1 --env.workers ray"
    flags += " --env.num-envs 8 --size debug --length 16 --updates-per-step 0 --steps 4000"
    flags += " --video-every 0 --eval-every 0 --save-every 4000 --eval-episodes 1 --report False"
    with ExitStack() as stack:
        learner, *others = stack.enter_context(machines(3))
        address = f"{learner.address}:6379"
        for on, *own in (
            (learner, *HEAD, "--port=6379", "--num-cpus=0"),
            *((other, f"--address={address}", "--num-cpus=2") for other in others),
        ):
            here = f"--node-ip-address={on.address}"
            stack.enter_context(ray_node(*own, here, prefix=on.prefix))
        process = subprocess.Popen(
            [*learner.prefix, sys.executable, "train_agent.py", *flags.split(), "--logdir", run],
            cwd=ROOT,
            env=os.environ | {"RAY_ADDRESS": address, "RAY_AUTH_MODE": "disabled"},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        stack.callback(process.kill)
        deadline = time.monotonic() + PATIENCE
        while sum(len(log.read_text().splitlines()) for log in logs.iterdir()) < 400:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.2)
        others[1].unplug()
        out, err = finish(process)
    assert process.returncode == 0, err
    assert f"4 actors for 8 environments, in a cluster of 4 CPUs at {address}" in out
    assert "its actor ended: the actor's node was terminated unexpectedly" in err
    with ReplayStore(run / "replay", read_fields(run / "replay"), ReplayConfig()) as store:
        kept = store.steps
    assert kept == 4000 + 8


@pytest.mark.parametrize("workers", ["async", "ray"])
def test_no_worker_loads_jax(cluster, workers):
    name = TROUBLED.replace("Troubled", "Loaded")
    envs = make_vector(EnvConfig(name=name, workers=workers), 1, seed=0)
    obs, _ = envs.reset()
    envs.close()
    assert "jax" in sys.modules and obs["x"].tolist() == [[0.0]]


def test_the_benchmark_counts_steps(cluster, tmp_path):
    """Two environments of 20 ms do at most 100 a second, with updates and without."""
    plain, learning, spent = rates(2, 4, tmp_path)
    assert 0 < plain < 101 and 0 < learning < 101 and spent > 0


def test_where_environments_step_is_said(cluster):
    workers, why = choose_workers(None, EnvConfig(num_envs=9, workers="ray"))
    told = f"4 actors for 9 environments, in a cluster of 4 CPUs at {cluster} (RAY_ADDRESS)"
    assert workers == "ray" and why == told


def test_an_address_at_which_no_one_listens_is_named(monkeypatch):
    ray.shutdown()
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    with pytest.raises(
        UserError, match=r"^RAY_ADDRESS: expected .* received 127.0.0.1:9: .*refused"
    ):
        make_vector(config(), 1, seed=0)


def test_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match="expected the package ray .*; pip install ray$"):
        make_vector(config(), 1, seed=0)


def running(session):
    """But for two agents of Ray's own, which miss the one that was killed for a minute or two."""
    return [row for row in group(session) if row[-1][:12] not in ("ray::Dashboa", "ray::Runtime")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 0), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_a_cluster_started_here_ends_with_the_process(number, code):
    """Asked to stop, and killed; environments hang, and have started processes of their own."""
    process = start_ends("ray", start_new_session=True)
    assert process.stdout is not None
    process.stdout.readline()
    names = [row[-1] for row in group(process.pid)]
    assert names.count("sleep") == 2 and "raylet" in names
    time.sleep(0.5)  # into the step that hangs
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    until = time.monotonic() + 30
    while running(process.pid) and time.monotonic() < until:
        time.sleep(0.1)
    assert running(process.pid) == []
