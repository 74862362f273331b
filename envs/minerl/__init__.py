"""The real MineRL Navigate, in an interpreter of its own."""

from envs.minerl.adapter import interpreter, make, missing

__all__ = ["interpreter", "make", "missing"]
