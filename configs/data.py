"""Which videos: the settings. Read next: `recordings/data.py`, which opens them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from common import Count, CountOrZero, MayChange, Positive, Share

SplitName = Literal["train", "test"]


@dataclass(frozen=True)
class DataConfig:
    """Which videos."""

    name: str = "moving_digits"
    """A generator (moving_digits, moving_ball, mazes, navigate), a store (of recordings), or
    a folder of videos, which is imported."""
    folder: MayChange[Path] = Path("data")
    """Where generated and imported videos are kept."""
    episodes: Count = 500
    """Generated videos to train on."""
    length: Count = 200
    """Frames of each."""
    test_episodes: Count = 64
    """Generated videos held out."""
    test_length: Count = 300
    """Frames of each (the paper's Moving MNIST: 1 000)."""
    seed: CountOrZero = 0
    """Of the generator; the held-out videos have seeds of their own."""
    speed: Positive = 1.0
    """moving_digits, moving_ball: factor on the pixels per frame."""
    change: Share = 0.1
    """moving_ball: probability per frame that the colour changes. DLH."""
    mnist: str | None = None
    """moving_digits: folder of MNIST's idx files, to draw those in place of scikit-learn's."""
    env: str = ""
    """navigate: empty for its frames at every tick, alone; else the environment whose agent's view
    is recorded, by that environment's preset (`agent` preset: minerl_navigate)."""
    actions: bool = False
    """navigate, with `env`: keep the agent's actions; otherwise they are unknown, as in video."""
