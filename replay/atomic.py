"""Atomic writes: a file is written under a temporary name, then renamed to its final one."""

import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import named_in_errors

TEMPORARY = ".tmp-"
"""Prefix of the names of files still being written, or left unfinished by a killed process."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; it replaces `path` on success and is deleted on error.

    The temporary file lies in the same folder (a rename does not cross file systems), keeps the
    suffix (encoders look at it) and has a unique name; the folder is created if missing. The
    contents reach the disk before the rename.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{TEMPORARY}{path.stem}-{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        with named_in_errors(path):
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as npz, atomically."""
    named: dict[str, Any] = dict(arrays)
    with replacing(path) as temporary:
        np.savez(temporary, allow_pickle=False, **named)


def remove_unfinished(folder: Path) -> None:
    """Remove what killed processes left in a folder. Only its sole writer may call this."""
    for path in folder.glob(f"{TEMPORARY}*"):
        path.unlink(missing_ok=True)
