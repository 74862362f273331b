"""The one command: what it starts, and what it says."""

import os
import subprocess
import sys

import pytest
from processes import ROOT

from clockwork import __main__ as command
from clockwork.__main__ import BY_KIND, MODULES, USAGE, chosen
from common import UserError
from training.commands import command as shown
from training.commands import resume_command, this_command


def test_every_command_is_told_and_names_a_script():
    for name in ("train", "pretrain", "imagine"):
        assert chosen(name, ["--x", "1"]) == (MODULES[name], ["--x", "1"])
        assert f"  {name} " in USAGE
    assert all(f"  {name} " in USAGE for name in (*BY_KIND, "import"))


def test_runs_are_looked_into_by_what_they_are(agent_run, video_run):
    agent, video = str(agent_run.path), str(video_run.path)
    assert chosen("evaluate", ["--episodes", "2", "--run", agent]) == (
        "train_agent", ["--episodes", "2", "--eval", agent],
    )  # fmt: skip
    assert chosen("evaluate", [f"--run={agent}"]) == ("train_agent", [f"--eval={agent}"])
    assert chosen("analyse", ["--run", agent]) == ("analyse_agent", ["--run", agent])
    for name in BY_KIND:
        assert chosen(name, ["--run", video]) == (f"{name}_video", ["--run", video])


def test_what_is_missing_or_misspelt_is_told():
    with pytest.raises(UserError, match=r"received 'trian'; did you mean train\?"):
        chosen("trian", [])
    with pytest.raises(UserError, match="evaluate: expected --run RUN"):
        chosen("evaluate", ["--episodes", "2"])


def test_its_closing_lines_name_itself(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["clockwork train", "--env", "a b"])
    assert shown("imagine.py", "--run", "a b") == "clockwork imagine --run 'a b'"
    assert this_command() == "clockwork train --env 'a b'"
    assert resume_command("runs/x") == "clockwork train --env 'a b' --logdir runs/x"


def test_it_runs_from_anywhere(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["clockwork"])
    command.main()
    assert capsys.readouterr().out.startswith("usage: clockwork COMMAND")
    line = [sys.executable, "-m", "clockwork", "imagine", "--run", "none", "--output", "a.mp4"]
    path = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(line, cwd=tmp_path, env=path, text=True, capture_output=True, check=False)
    assert done.returncode == 2 and "none" in done.stderr and done.stderr.startswith("error: ")
