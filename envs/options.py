"""What `EnvConfig.options` says: keyword options of an environment, and of Navigate some more.

Read next: `registry.py`, which hands them to the environment.
"""

import ast
from collections.abc import Mapping
from typing import Any, NamedTuple

from common import UserError
from envs.config import EnvConfig


class NavigateOptions(NamedTuple):
    """Navigate's own; all others go to the back end, such as the builtin's `goal_distance` in
    blocks."""

    dense: bool
    """Also reward each frame's decrease of the distance to the compass target. Default: True."""
    camera_limit: float
    """Largest turn in degrees per frame and axis, of the 180 that MineRL allows. Default: 15."""
    held_keys: dict[str, int]
    """Keys taken out of the agent's action space, each held at a value, such as `jump=1 attack=0`;
    the environment itself keeps MineRL's action space. Default: none."""
    rest: dict[str, Any]
    """Of the back end."""


def navigate_options(config: EnvConfig) -> NavigateOptions:
    """The options of Navigate.

    Raises:
      UserError: for a value that an option cannot take.
    """
    rest = literals(config.options)
    dense, limit = rest.pop("dense", True), rest.pop("camera_limit", 15.0)
    held = str(rest.pop("held_keys", "")).replace(",", " ").split()
    if not isinstance(dense, bool):
        raise _refused("dense", "True or False", dense)
    if isinstance(limit, bool) or not isinstance(limit, int | float) or not 0 < limit <= 180:
        raise _refused("camera_limit", "above 0 to 180 degrees per frame", limit)
    pairs = [key.partition("=") for key in held]
    if not all(equals and value.isdigit() for _, equals, value in pairs):
        raise _refused("held_keys", "keys and their values, such as 'jump=1 attack=0'", held)
    return NavigateOptions(dense, float(limit), {k: int(v) for k, _, v in pairs}, rest)


def _refused(name: str, expected: str, received: Any) -> UserError:
    return UserError(f"env.options: {name}: expected {expected}, received {received!r}")


def literals(options: Mapping[str, str]) -> dict[str, Any]:
    """The options, each value a Python literal where its text is one (3, 0.5, True, None), and
    otherwise the text."""
    return {key: _literal(text) for key, text in options.items()}


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):  # the last two: nested too deep
        return text
