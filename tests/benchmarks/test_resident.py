"""A run whose memory is read goes on until it is stopped; no agent is trained here."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from benchmarks import resident
from common import RunFailed, UserError


def test_a_run_that_ends_before_its_first_update_is_told(tmp_path, monkeypatch):
    def start(command, **_):
        return subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])

    stand_in = SimpleNamespace(Popen=start, DEVNULL=subprocess.DEVNULL)
    monkeypatch.setattr(resident, "subprocess", stand_in)
    with pytest.raises(RunFailed, match="start: .* exit code 3 after 0 readings; run the same .*"):
        resident.measure("start", tmp_path / "run", 60.0)


def test_a_time_in_which_nothing_is_read_is_refused(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["resident", "--minutes", "0"])
    with pytest.raises(UserError, match="minutes: expected more than 0, received 0"):
        resident.main()
