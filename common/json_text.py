"""JSON as every file of ours holds it: a number that is not finite is null, and read as nan.

JSON has no word for nan and infinity; the bare `NaN` that Python writes is refused by jq, by
browsers, and by most other readers.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.errors import UserError

LARGEST = 2**28
"""Bytes of a file of JSON."""


def dump_json(tree: Any, **options: Any) -> str:
    """A tree of dicts, lists, strings and numbers as JSON; floats that are not finite as null.

    Args:
      options: of `json.dumps`, such as `indent`.
    Raises:
      TypeError: for what JSON does not hold.
    """
    return json.dumps(_finite(tree), allow_nan=False, **options)


def read_json(path: Path) -> Any:
    """What a file of JSON holds.

    Raises:
      UserError: for a file that holds none, objects too deep to be read, or more than `LARGEST`
        bytes.
    """
    size = path.stat().st_size
    if size > LARGEST:
        raise UserError(
            f"{path}: expected at most {LARGEST:,} bytes of JSON, received {size:,}; restore the "
            "file, or use another run"
        )
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{path}: expected JSON, received: {error}; restore the file, or use another run"
        ) from error


def null_as_nan(tree: Any) -> Any:
    """A tree of numbers as `json.loads` gives it, with nan where it holds null."""
    if isinstance(tree, dict):
        return {name: null_as_nan(value) for name, value in tree.items()}
    if isinstance(tree, list):
        return [null_as_nan(value) for value in tree]
    return math.nan if tree is None else tree


def _finite(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {name: _finite(value) for name, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_finite(value) for value in tree]
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree
