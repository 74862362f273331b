"""The real MineRL Navigate, where it is installed."""

from envs.minerl.adapter import make, missing

__all__ = ["make", "missing"]
