"""Settings of video data, and the table of all data sets that can be generated.

Read next: `recordings/data.py`, which opens them.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import tyro

from common import Before, Count, CountOrZero, MayChange, Positive, Share
from common.images import FIT, Fit, ImageSize

SplitName = Literal["train", "test"]
Like = Literal["moving_mnist", "kth", "mazes", "minerl"]
"""Data sets of the CW-VAE paper, each with its own hyperparameters."""


class Generated(NamedTuple):
    """A data set that is generated on first use."""

    maker: str  # module:Class; the fields that it shares with `DataConfig` are its options
    like: Like  # data set whose hyperparameters suit it
    on_black: bool = False  # bright objects on black, so that their positions can be measured


GENERATED = {
    "orbiting_ball": Generated(
        "recordings.generators.orbiting_ball:OrbitingBall", "mazes", on_black=True
    ),
    "moving_digits": Generated(
        "recordings.generators.moving_digits:MovingDigits", "moving_mnist", on_black=True
    ),
    "moving_ball": Generated(
        "recordings.generators.moving_ball:MovingBall", "mazes", on_black=True
    ),
    "hallways": Generated("recordings.generators.hallways:Hallways", "mazes"),
    "navigate": Generated("recordings.generators.navigate:NavigateWalks", "minerl"),
}
"""All generated data sets by name. Help, messages and choices are made from this table."""

SOURCES = f"a generator ({', '.join(GENERATED)}), a store, or a folder of videos or frames"


@dataclass(frozen=True)
class DataConfig:
    """Which videos."""

    name: Annotated[
        str, tyro.conf.arg(aliases=("--data",), help=f"Data set: {SOURCES} to import.")
    ] = "orbiting_ball"
    folder: MayChange[Path] = Path("data")
    """Directory for generated and imported videos."""
    image_size: Annotated[ImageSize | None, Before(None)] = None
    """Pixels along each edge of an image, as --env.image-size: 32, 48, 64, 80, 96, 112 or 128.
    None: 64, or the size in an existing store."""
    image_fit: Annotated[Fit, Before("crop")] = FIT
    """For a folder of videos: how non-square frames become square, as --env.image-fit."""
    episodes: Count = 500
    """Generated videos for training."""
    length: Count = 200
    """Frames per generated training video."""
    test_episodes: Count = 64
    """Generated held-out videos."""
    test_length: Count = 300
    """Frames per generated held-out video (the paper's Moving MNIST: 1 000)."""
    seed: CountOrZero = 0
    """Random seed of the generator; held-out videos have seeds of their own."""
    speed: Positive = 1.0
    """moving_digits, moving_ball: factor on the speed in pixels per frame."""
    change: Share = 0.1
    """moving_ball: probability per frame that the colour changes. Source: DLH."""
    bounce_change: Annotated[bool, Before(True)] = True
    """moving_ball: whether the colour also changes at each bounce. With this off and
    --data.change 0, a ball keeps its colour."""
    shard: Annotated[bool, Before(False)] = False
    """With --hosts: the --data of each process is a separate part of the videos, from which it
    draws its rows of every batch. The parts should be of about equal size. docs/scaling.md."""
    mnist: str | None = None
    """moving_digits: folder of MNIST's idx files, to use in place of scikit-learn's digits."""
    env: str = ""
    """navigate: empty to record every frame, without actions; otherwise the environment whose
    agent's view is recorded, with that environment's preset (default with preset `agent`:
    minerl_navigate)."""
    actions: bool = False
    """navigate, with `env`: keep the agent's actions; otherwise they are unknown, as in plain
    video."""


def absolute(data: DataConfig) -> DataConfig:
    """The same data with absolute paths, so that they are found from every directory; a name that
    is not an existing path stays as it is."""
    own = data.name not in GENERATED and Path(data.name).exists()
    name = str(Path(data.name).absolute()) if own else data.name
    return replace(data, name=name, folder=data.folder.absolute())
