"""What every room stands on: errors meant for users, and how settings are declared and checked."""

from common.errors import EnvironmentFailed, UserError
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

__all__ = [
    "Before",
    "Count",
    "CountOrZero",
    "EnvironmentFailed",
    "MayChange",
    "NonNegative",
    "Positive",
    "Share",
    "UserError",
    "changeable",
    "check_bounds",
]
