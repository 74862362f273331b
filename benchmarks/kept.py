"""Runs that a benchmark keeps and does not repeat: each has its command beside it.

A kept run is reported only under the command that made it; under another one its results would be
told as those of settings that were never run.
"""

import shlex
from collections.abc import Sequence
from pathlib import Path

from common import UserError
from replay.atomic import write_text


def claim(script: Sequence[str], logdir: Path) -> None:
    """Note the command of a run in ``LOGDIR.command``, or check that it is the one noted there.

    Args:
      script: one of our scripts and its flags, without those that only say where files are.
      logdir: directory of the run, or of several that the command makes.
    Raises:
      UserError: if the directory exists and was made by another command, or by an unknown one.
    """
    command, note = shlex.join(["python", *script]), logdir.with_name(f"{logdir.name}.command")
    if not logdir.exists():
        write_text(note, command + "\n")
        return
    kept = note.read_text(encoding="utf-8").strip() if note.is_file() else ""
    if kept != command:
        found = f"one of `{kept}`" if kept else f"one without {note.name}, so of unknown flags"
        raise UserError(
            f"{logdir}: expected a run of `{command}`, received {found}; choose --output anew"
        )
