"""Errors that are meant for users, told from all others by their class.

The entry scripts print a `UserError` as one line and end with code 2, an `EnvironmentFailed` as the
traceback of the user's own code and one line, and a `RunFailed` as one line, both with code 1;
every other exception is a fault of ours and keeps its traceback.
"""


class UserError(ValueError):
    """A mistake that a user can mend: one line, what was expected, what came, where, the remedy."""


class EnvironmentFailed(RuntimeError):
    """Code of an environment raised; `__cause__` is what it raised, the message says where."""


class RunFailed(RuntimeError):
    """What ends a run that was set up well: one line, what happened, where, how to go on."""
