"""JSON as in all our files: numbers that are not finite are written as null, and read as nan.

JSON cannot represent nan and infinity; the bare `NaN` that Python writes is rejected by jq,
browsers and most other readers.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.errors import UserError

LARGEST = 2**28
"""Maximum size of a JSON file in bytes."""


def dump_json(tree: Any, **options: Any) -> str:
    """Serialise a tree of dicts, lists, strings and numbers; floats that are not finite as null.

    Args:
      options: options of `json.dumps`, such as `indent`.
    Raises:
      TypeError: for values that JSON cannot represent.
    """
    return json.dumps(_finite(tree), allow_nan=False, **options)


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
      UserError: if the file is not valid JSON, is nested too deeply, or exceeds `LARGEST` bytes.
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
    """Replace null by nan in a tree of numbers from `json.loads`."""
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
