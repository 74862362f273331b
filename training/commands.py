"""Command lines for the user's shell, valid in the current directory."""

import shlex
import shutil
import sys
from pathlib import Path

COMMAND = "clockwork"
NAMES = {
    "train_agent.py": "train",
    "pretrain_video.py": "pretrain",
    "evaluate_video.py": "evaluate",
    "imagine.py": "imagine",
    "analyse_agent.py": "analyse",
    "analyse_video.py": "analyse",
    "compare_runs.py": "report",
}
"""Subcommand of the installed package for each script (`clockwork/__main__.py`)."""


def command(script: str, *args: object) -> str:
    """Command line that runs a script beside the current one.

    Args:
      script: its file name, such as `imagine.py`.
      args: quoted where the shell requires it.
    """
    if by_command():
        evaluates = args[:1] == ("--eval",)  # the flag of train_agent.py
        name, given = ("evaluate", ("--run", *args[1:])) if evaluates else (NAMES[script], args)
        return shlex.join([COMMAND, name, *map(str, given)])
    path = Path(sys.argv[0]).with_name(script)
    return shlex.join([python(), *map(str, (path, *args))])


def this_command() -> str:
    """Command line that repeats the current command."""
    if by_command():
        return shlex.join([*sys.argv[0].split(), *sys.argv[1:]])
    return shlex.join([python(), *sys.argv])


def by_command() -> bool:
    """Whether the installed command was used instead of a script."""
    return sys.argv[0].startswith(f"{COMMAND} ")


def resume_command(logdir: Path) -> str:
    """Command line that resumes the run that this command began in a directory."""
    named = any(arg.partition("=")[0] == "--logdir" for arg in sys.argv)
    return this_command() if named else f"{this_command()} {shlex.join(['--logdir', str(logdir)])}"


def python() -> str:
    """This interpreter: `python` if the shell finds it in the same folder, else its path."""
    found = shutil.which("python")
    ours = Path(sys.executable)
    return "python" if found and Path(found).absolute().parent == ours.parent else str(ours)


def tensorboard(logdir: Path) -> str:
    """Command line that shows a run's curves and videos."""
    return shlex.join(["tensorboard", "--logdir", str(logdir)])
