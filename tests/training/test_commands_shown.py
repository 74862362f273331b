"""Commands that are printed work from where the user stands."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from processes import ROOT

from training.commands import command, python, resume_command, tensorboard, this_command


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A folder of the user's that is not the clone, named with a space; runs are there."""
    folder = tmp_path / "my runs"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_a_script_is_named_as_the_one_that_runs_was(elsewhere, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["../a clone/train_agent.py", "--steps", "9"])
    shown = command("imagine.py", "--run", Path("a b"), "--ticks", 3)
    assert shlex.split(shown)[1:] == ["../a clone/imagine.py", "--run", "a b", "--ticks", "3"]
    monkeypatch.setattr(sys, "argv", ["train_agent.py"])
    assert shlex.split(command("imagine.py"))[1:] == ["imagine.py"]


def test_what_is_shown_runs_from_there(elsewhere, monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(ROOT / "train_agent.py")])
    shown = command("imagine.py", "--run", elsewhere / "no run", "--output", "a.mp4")
    done = subprocess.run(shown, shell=True, text=True, capture_output=True, check=False)
    assert done.returncode == 2 and "no run" in done.stderr and "error: " in done.stderr


def test_a_stopped_run_is_gone_on_with(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["x/train_agent.py", "--env.options", "a b", "c"])
    shown = resume_command(Path("runs/a b"))
    words = ["x/train_agent.py", "--env.options", "a b", "c", "--logdir", "runs/a b"]
    assert shlex.split(shown)[1:] == words
    monkeypatch.setattr(sys, "argv", words)
    assert shlex.split(this_command())[1:] == words
    assert resume_command(Path("runs/a b")) == this_command()
    assert shlex.split(tensorboard(Path("runs/a b")))[-1] == "runs/a b"


def test_python_is_this_one(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert python() == sys.executable
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    assert python() == "python"
