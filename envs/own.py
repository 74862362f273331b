"""What environments and wrappers of this project offer to those around them, by inheritance.

An attribute of the same name in a user's environment may mean anything, such as a count of the
cells seen or a limit in seconds, so it is neither set nor read. Read next: `wrappers.py`.
"""

from __future__ import annotations

from typing import Any

import gymnasium


class Sparing:
    """An environment that saves work on observations that no one sees: it draws no picture for
    them and does not check them. The last observation of an episode that it ends itself is always
    complete; if a wrapper around it ends episodes, no work can be saved.
    """

    seen = True  # whether the observations of the next steps are seen


class Limited:
    """An environment that may end episodes by a limit of its own."""

    time_limit: int | None  # frames after which an episode is truncated; None: never


def own_limit(env: gymnasium.Env[Any, Any]) -> int | None:
    """Frames after which an environment itself ends an episode; None if there is no known limit."""
    inner = env.unwrapped
    limit = inner.time_limit if isinstance(inner, Limited) else None
    return limit or (env.spec.max_episode_steps if env.spec is not None else None)
