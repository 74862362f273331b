"""The files of a data set's folder, in a fixed order, and the split that their paths name."""

import os
import re
from collections.abc import Callable
from pathlib import Path

from common import UserError

TRAIN, TEST, VALIDATION = "train", "test", "validation"
SPLITS = (TRAIN, TEST, VALIDATION)

_SPLIT = r"(train(?:ing)?|test(?:ing)?|eval(?:uation)?|val(?:id(?:ation)?)?)"
_FOLDER = re.compile(rf"{_SPLIT}(?![a-z])", re.IGNORECASE)  # train, test-seq1000
_FILE = re.compile(rf"(?:^|[-_.]){_SPLIT}(?=[-_.]|$)", re.IGNORECASE)  # mazes-train.tfrecord-00000


def find(source: Path, wanted: Callable[[str], bool]) -> list[str]:
    """Find files whose name is `wanted`: sorted paths inside `source`, without hidden files.

    Args:
      source: a folder, searched recursively (also through links, each folder once), or one file.
      wanted: a predicate of a file's name without its folder.
    Raises:
      UserError: if `source` does not exist.
    """
    if source.is_file():
        return [source.name]
    if not source.is_dir():
        raise UserError(f"expected a folder or file to import, received {source}: not found")
    names, seen = [], set()
    for folder, inside, files in os.walk(source, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            inside.clear()
            continue
        seen.add(real)
        inside[:] = sorted(name for name in inside if not name.startswith("."))
        paths = [Path(folder, name) for name in files if not name.startswith(".") and wanted(name)]
        names += [path.relative_to(source).as_posix() for path in paths]
    return sorted(names)


def locate(source: Path, name: str) -> Path:
    """Path of the file that `find` returned as `name`."""
    return source if source.is_file() else source / name


def split_of(name: str) -> str | None:
    """The split that a path names, in the beginning of a folder's name or in the file's name.

    `train-seq100/7.mp4` and `mazes-train.tfrecord-00000` belong to `train`, `eval_eps/7.npz` to
    `test`; None if none is named.
    """
    *folders, file = name.split("/")
    found = [match for folder in folders if (match := _FOLDER.match(folder))]
    found += [match for match in [_FILE.search(file)] if match and "tfrecord" in file]
    if not found:
        return None
    word = found[0][1].lower()
    return TRAIN if word.startswith("tr") else VALIDATION if word.startswith("va") else TEST
