"""Files that appear whole or not at all: written beside their place, then renamed onto it."""

import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import named_in_errors

TEMPORARY = ".tmp-"
"""How the name of a file begins that is still being written, or was when its process was killed."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path to write to; on success it replaces `path`, on any error it goes.

    The temporary file lies in the same folder (a rename does not cross file systems), keeps the
    suffix (encoders look at it) and is this call's alone; the folder is made if missing. What was
    written is on the disk before the name is.
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
    """Writes `text` as UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays as npz, whole or not at all."""
    named: dict[str, Any] = dict(arrays)
    with replacing(path) as temporary:
        np.savez(temporary, allow_pickle=False, **named)


def remove_unfinished(folder: Path) -> None:
    """Removes what killed processes left in a folder. Only for whoever alone may write there."""
    for path in folder.glob(f"{TEMPORARY}*"):
        path.unlink(missing_ok=True)
