"""What every room stands on: errors that are meant for users."""

from common.errors import EnvironmentFailed, UserError

__all__ = ["EnvironmentFailed", "UserError"]
