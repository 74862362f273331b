"""The one command: what it starts, and what it says."""

import os
import re
import subprocess
import sys
from importlib.metadata import version

import pytest
from processes import ROOT

from clockwork import __main__ as command
from clockwork.__main__ import BY_KIND, LOOKING, MODULES, USAGE, chosen
from clockwork.completion import SETTINGS, SHELLS, script
from common import UserError
from training.commands import command as shown
from training.commands import resume_command, this_command


def test_every_command_is_told_and_names_a_script():
    for name in ("train", "pretrain", "imagine"):
        assert chosen(name, ["--x", "1"]) == (MODULES[name], ["--x", "1"])
        assert f"  {name} " in USAGE
    assert all(f"  {name} " in USAGE for name in (*BY_KIND, "report", "import", "completion"))


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
    with pytest.raises(UserError, match="name it first: clockwork evaluate RUN --episodes 2"):
        chosen("evaluate", ["--episodes", "2"])


def test_a_run_may_be_named_without_its_flag(agent_run):
    run = str(agent_run.path)
    for name in LOOKING:
        assert chosen(name, [run, "--seed", "3"]) == chosen(name, ["--run", run, "--seed", "3"])
        assert chosen(name, ["--seed", "3", run]) == chosen(name, ["--seed", "3", "--run", run])
        assert chosen(name, ["--seed=3", run]) == chosen(name, ["--seed=3", "--run", run])
    assert chosen("evaluate", ["--eval", run]) == chosen("evaluate", [f"--run={run}"])[:1] + (
        ["--eval", run],
    )


def test_help_of_both_kinds_of_runs_begins_with_examples(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["clockwork", "evaluate", "--help"])
    command.main()
    out = capsys.readouterr().out
    agent, video = out.split("=== for the run of a video model")
    assert agent.startswith("=== for the run of an agent: clockwork evaluate RUN [options]")
    assert "--episodes INT" in agent
    assert "clockwork evaluate --run RUN --run RUN2" in video and "--protocol" in video


def test_import_names_itself_as_it_was_called(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["clockwork", "import", "--help"])
    with pytest.raises(SystemExit):
        command.main()
    assert capsys.readouterr().out.startswith("usage: clockwork import FORMAT SOURCE STORE")


def test_its_version(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["clockwork", "--version"])
    command.main()
    assert capsys.readouterr().out.split() == ["clockwork", version("clockwork-world-model")]


def completed(text, *words):
    """What the TAB key offers after these words of a command line, by bash itself."""
    line = " ".join(words)
    asked = f"{text}\nCOMP_WORDS=({line!s} ''); COMP_CWORD={len(words)}; _{{}}; "
    function = re.search(r"complete -F (\S+) clockwork", text)[1]
    asked = asked.replace("_{}", function) + 'printf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.run(["bash", "-c", asked], text=True, capture_output=True, check=True)
    return set(done.stdout.split())


def test_completion_of_commands_flags_and_choices():
    bash = script("bash")
    assert {*SETTINGS, "import", "completion"} <= completed(bash, "clockwork")
    flags = completed(bash, "clockwork", "train")
    assert {"--env", "--env.name", "--steps", "--seeds", "--agent.model.half-life"} <= flags
    assert {"debug", "s", "l", "auto"} <= completed(bash, "clockwork", "train", "--size")
    assert {"--episodes", "--protocol", "--run"} <= completed(bash, "clockwork", "evaluate")
    assert {"videos", "minerl"} <= completed(bash, "clockwork", "import")
    for shell in SHELLS:
        assert "agent.model.half-life" in script(shell)
    with pytest.raises(UserError, match="completion: expected one of bash, zsh, fish"):
        script("powershell")


def test_its_closing_lines_name_itself(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["clockwork train", "--env", "a b"])
    assert shown("imagine.py", "--run", "a b") == "clockwork imagine --run 'a b'"
    assert shown("train_agent.py", "--eval", "r", "--episodes", 2) == (
        "clockwork evaluate --run r --episodes 2"
    )
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
