"""Lines for the user's shell, which work from where the user stands."""

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
"""What the command of an installed package calls each script (`clockwork/__main__.py`)."""


def command(script: str, *args: object) -> str:
    """Runs a script that lies beside the one that runs now.

    Args:
      script: its file's name, such as `imagine.py`.
      args: quoted where a shell asks for it.
    """
    if by_command():
        evaluates = args[:1] == ("--eval",)  # the flag of train_agent.py
        name, given = ("evaluate", ("--run", *args[1:])) if evaluates else (NAMES[script], args)
        return shlex.join([COMMAND, name, *map(str, given)])
    path = Path(sys.argv[0]).with_name(script)
    return shlex.join([python(), *map(str, (path, *args))])


def this_command() -> str:
    """Runs again what runs now."""
    if by_command():
        return shlex.join([*sys.argv[0].split(), *sys.argv[1:]])
    return shlex.join([python(), *sys.argv])


def by_command() -> bool:
    """Whether the installed command was used, not a script."""
    return sys.argv[0].startswith(f"{COMMAND} ")


def resume_command(logdir: Path) -> str:
    """Goes on with the run that this command began in a directory."""
    named = any(arg.partition("=")[0] == "--logdir" for arg in sys.argv)
    return this_command() if named else f"{this_command()} {shlex.join(['--logdir', str(logdir)])}"


def python() -> str:
    """This interpreter: `python`, where the shell finds it in the same folder, else its path."""
    found = shutil.which("python")
    ours = Path(sys.executable)
    return "python" if found and Path(found).absolute().parent == ours.parent else str(ours)


def tensorboard(logdir: Path) -> str:
    """Shows a run's curves and videos."""
    return shlex.join(["tensorboard", "--logdir", str(logdir)])
