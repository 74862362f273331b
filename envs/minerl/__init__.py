"""The real MineRL Navigate, in a separate Python interpreter."""

from envs.minerl.adapter import interpreter, make, missing

__all__ = ["interpreter", "make", "missing"]
