"""Foundations of all packages: errors meant for users, declarations of settings, JSON."""

from common.errors import EnvironmentFailed, RunFailed, UserError
from common.fields import (
    Before,
    Count,
    CountOrZero,
    MayChange,
    NonNegative,
    Positive,
    Share,
    changeable,
    check_bounds,
)
from common.json_text import dump_json, null_as_nan, read_json

__all__ = [
    "Before",
    "Count",
    "CountOrZero",
    "EnvironmentFailed",
    "MayChange",
    "NonNegative",
    "Positive",
    "RunFailed",
    "Share",
    "UserError",
    "changeable",
    "check_bounds",
    "dump_json",
    "null_as_nan",
    "read_json",
]
