"""Parsing of `EnvConfig.options`: an environment's keyword options, and more for Navigate.

Read next: `registry.py`, which passes them to the environment.
"""

import ast
from collections.abc import Mapping
from typing import Any, NamedTuple

from common import UserError
from envs.config import EnvConfig


class NavigateOptions(NamedTuple):
    """Navigate's own options. All others go to the back end, such as the builtin's `goal_distance`
    in blocks."""

    dense: bool
    """Also reward each frame's decrease of the distance to the compass target. Default: True."""
    camera_limit: float
    """Largest turn in degrees per frame and axis; MineRL allows 180. Default: 15."""
    held_keys: dict[str, int]
    """Keys removed from the agent's action space, each held at a fixed value, such as
    `jump=1 attack=0`; the environment itself keeps MineRL's action space. Default: none."""
    rest: dict[str, Any]
    """Options of the back end."""


def navigate_options(config: EnvConfig) -> NavigateOptions:
    """Parse the options of Navigate.

    Raises:
      UserError: for a value that an option does not accept.
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
    """Parse each option's text as a Python literal if it is one (3, 0.5, True, None); otherwise
    keep the text."""
    return {key: _literal(text) for key, text in options.items()}


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):  # the last two: nested too deep
        return text
