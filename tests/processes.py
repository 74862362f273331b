"""The project's commands as a user starts them: in processes of their own, or in this one."""

import resource
import runpy
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from training import read_metrics

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 900
"""Seconds after which a command hangs. Many times what it takes: speed is not tested here."""


def run_here(script, *args):
    """Runs a script in this process, which shares its compiled programs; no test imports one."""
    before = sys.argv
    sys.argv = [script, *map(str, args)]
    try:
        runpy.run_path(str(ROOT / script), run_name="__main__")
    finally:
        sys.argv = before


@contextmanager
def full_disk(most: int) -> Iterator[None]:
    """A disk that no file of more than so many bytes has room on, for this process."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def start(script, *args):
    return subprocess.Popen(
        [sys.executable, script, *map(str, args)],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def finish(process):
    """What it printed, (output, errors). One that hangs is killed, and fails the test."""
    try:
        return process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"still running after {PATIENCE} s; it printed:\n{out}{err}") from None


def last_update(log):
    """The last step with an update in ``log``, a run's metrics.jsonl; -1 before the first."""
    rows = read_metrics(log) if log.exists() else []
    return max((row["step"] for row in rows if "loss/total" in row), default=-1)


def wait_for_update(process, log, after=-1):
    """Until an update later than that step stands in ``log``."""
    deadline = time.monotonic() + PATIENCE
    while last_update(log) <= after:
        assert process.poll() is None, process.communicate()
        if time.monotonic() > deadline:
            process.kill()
            raise AssertionError(f"no update after {PATIENCE} s; {process.communicate()}")
        time.sleep(0.2)
