"""Runs in processes of their own: killed, interrupted, and gone on with by the same command."""

import signal
import subprocess
import time
from pathlib import Path

import pytest
from fixtures.runs import DIGITS, PENDULUM
from processes import finish, last_update, start, wait_for_update

from training import read_metrics

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    """A run that was killed, resumed by the same command, stopped by Ctrl-C, resumed, finished:
    (directory, steps at its stops, steps at its end, what the last two commands printed)."""
    logdir = tmp_path_factory.mktemp("runs") / "run"
    log, saves = logdir / "metrics.jsonl", logdir / "checkpoints"
    flags = [*PENDULUM, "--save-every", 400, "--logdir", logdir, "--steps"]

    def saved():
        return max((int(p.name) for p in saves.iterdir() if p.name.isdigit()), default=0)

    first = start("train_agent.py", *flags, 1_000_000)
    wait_for_update(first, log)
    while not saved():
        time.sleep(0.1)
        assert first.poll() is None
    first.kill()
    first.communicate()
    killed = saved()
    second = start("train_agent.py", *flags, 1_000_000)
    wait_for_update(second, log, after=last_update(log))
    second.send_signal(signal.SIGINT)
    resumed, err = finish(second)
    assert second.returncode == 0, err
    stopped = saved()
    steps = stopped + 880
    third = start("train_agent.py", *flags, steps)
    out, err = finish(third)
    assert third.returncode == 0, err
    return logdir, (killed, stopped), steps, (resumed, out)


def test_a_run_goes_on_from_its_last_checkpoint(agent):
    logdir, (killed, stopped), _, (resumed, out) = agent
    assert f"resuming {logdir} at step {killed:,}" in resumed
    assert "stopped at step" in resumed and f"--logdir {logdir}" in resumed
    assert f"resuming {logdir} at step {stopped:,}" in out and stopped > killed


def test_a_resumed_run_neither_drops_nor_doubles(agent):
    logdir, (killed, stopped), steps, _ = agent
    rows = read_metrics(logdir / "metrics.jsonl")
    logged = [row["step"] for row in rows if "replay/steps" in row]
    assert logged == sorted(set(logged)) and logged[-1] >= steps
    for stop in (killed, stopped):
        assert any(step <= stop for step in logged) and any(step > stop for step in logged)
    assert rows[-1]["step"] >= steps
    collected = [row["replay/steps"] for row in rows if "replay/steps" in row][-1]
    assert collected >= stopped - 2 * 200  # at most the unfinished episodes of 2 environments


def test_a_video_run_that_was_interrupted_goes_on(tmp_path):
    """Of streams; the data are made once."""
    where = ["--streams", "True", "--logdir", tmp_path / "run", "--data.folder", tmp_path / "data"]
    flags = [*DIGITS, *where, "--steps"]
    first = start("pretrain_video.py", *flags, 10**6)
    wait_for_update(first, tmp_path / "run" / "metrics.jsonl")
    first.send_signal(signal.SIGINT)
    out, err = finish(first)
    assert first.returncode == 0, err
    stopped = int(out.split("stopped at update ")[1].split(";")[0].replace(",", ""))
    second = start("pretrain_video.py", *flags, stopped + 9)
    out, err = finish(second)
    assert second.returncode == 0, err
    assert f"at update {stopped:,}" in out and "resuming" in out and "generating" not in out
    rows = read_metrics(tmp_path / "run" / "metrics.jsonl")
    steps = [r["step"] for r in rows if "loss/total" in r]
    assert steps == sorted(set(steps)) and steps[-1] <= stopped + 9


def children(pid):
    """Processes that a process started, and those that they did."""
    listed = subprocess.run(["ps", "-eo", "pid,ppid"], capture_output=True, text=True, check=True)
    rows = [tuple(map(int, line.split())) for line in listed.stdout.splitlines()[1:]]
    direct = [child for child, parent in rows if parent == pid]
    return direct + [further for child in direct for further in children(child)]


def test_environments_in_processes_end_with_their_run(tmp_path):
    logdir = tmp_path / "run"
    where = ["--env.workers", "async", "--logdir", logdir, "--steps", 1_000_000]
    run = start("train_agent.py", *PENDULUM, *where)
    wait_for_update(run, logdir / "metrics.jsonl")
    started = children(run.pid)
    assert len(started) >= 2 + 1  # environments, and what forks them
    run.send_signal(signal.SIGTERM)
    out, err = finish(run)
    assert run.returncode == 0 and "stopped at step" in out, err
    until = time.monotonic() + 20
    while alive(started) and time.monotonic() < until:
        time.sleep(0.1)
    assert alive(started) == []


def alive(pids):
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]
