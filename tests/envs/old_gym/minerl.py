"""A stand-in for the package: nothing but its version. `gym.py` beside it is the game."""

__version__ = "0.4.4"
