"""Ctrl-C and SIGTERM while a command still imports: one line, no traceback."""

import signal
import time
from pathlib import Path

import pytest
from house_tree import ROOT
from processes import PATIENCE, start

COMMANDS = [(path.name,) for path in sorted(ROOT.glob("*.py"))] + [("-m", "recordings", "videos")]


def loads(process, library):
    """Until a library of that name is mapped."""
    deadline = time.monotonic() + PATIENCE
    while library not in Path(f"/proc/{process.pid}/maps").read_text():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="tells by /proc what is imported")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("args", COMMANDS, ids=lambda args: args[-1])
def test_a_signal_during_imports_is_one_line(args, number):
    process = start(*args)
    loads(process, "numpy")
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out, err) == (128 + number, "", "stopping\n")
