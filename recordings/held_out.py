"""Held-out videos for evaluation, shared by several runs, in the requested number and length."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from common import UserError
from common.images import FIT
from configs.data import GENERATED, DataConfig
from recordings.data import look, open_test
from replay import ReplayStore, first_steps

MOST_VIDEOS, LONGEST = 100, 1000  # caps on defaults: the original's videos, the paper's frames


def common_data(data: Mapping[str, DataConfig]) -> DataConfig:
    """The common data of several runs, given by run; the sizes of the data may differ.

    Raises:
      UserError: naming the first setting in which two runs' data differ.
    """
    (first, config), *others = data.items()
    mine = asdict(_which(config))
    for name, other in others:
        for setting, value in asdict(_which(other)).items():
            if value != mine[setting]:
                raise UserError(
                    f"run: expected runs of one data set, received data.{setting} = "
                    f"{mine[setting]} in {first} and {value} in {name}; evaluate them one by one"
                )
    return config


def _which(data: DataConfig) -> DataConfig:
    """The settings that identify the data, without their amount and location."""
    data = replace(
        data, episodes=1, length=1, test_episodes=1, test_length=1, folder=Path(), shard=False
    )
    return (
        replace(data, image_size=look(data).size, image_fit=FIT) if data.name in GENERATED else data
    )


def read_videos(
    data: DataConfig, videos: int | None, context: int, horizon: int | None
) -> tuple[dict[str, Any], int]:
    """Read the beginnings of held-out videos.

    Args:
      videos, context, horizon: as for `sizes`.
    Returns:
      [videos, context + horizon, ...], nested as a batch, and the number of shorter videos.
    Raises:
      UserError: if too few videos have that many frames.
    """
    with open_test(enough(data, videos, context, horizon)) as store:
        count, frames = sizes(store, videos, context, horizon)
        shorter = sum(steps < context + frames for steps in _lengths(store))
        return first_steps(store, count, context + frames), shorter


def enough(data: DataConfig, videos: int | None, context: int, horizon: int | None) -> DataConfig:
    """The data; if generated, with enough held-out videos of sufficient length."""
    if data.name not in GENERATED:
        return data
    length = max(data.test_length, context + (horizon or 1))
    episodes = max(data.test_episodes, videos or 1)
    if (length, episodes) == (data.test_length, data.test_episodes):
        return data
    print(f"{data.name}: generating {episodes} held-out videos of {length:,} frames")
    return replace(data, episodes=1, test_length=length, test_episodes=episodes)


def sizes(
    store: ReplayStore, videos: int | None, context: int, horizon: int | None
) -> tuple[int, int]:
    """Number of videos and horizon.

    Args:
      videos: None for all that are long enough, at most ``MOST_VIDEOS``.
      context: frames before the horizon.
      horizon: None for as many frames as all those videos have, at most ``LONGEST``; if both are
        None, those that make the most frames to predict in all: a few short videos are left out.
    """
    least = context + (horizon or 1)
    lengths = _lengths(store)
    long = [min(n - context, LONGEST) for n in lengths if n >= least]
    most = min(len(long), MOST_VIDEOS)
    if videos is None and horizon is None:
        most = max(range(1, most + 1), key=lambda n: (n * long[n - 1], n), default=0)
    count = videos or max(1, most)
    if len(long) < count:
        raise UserError(
            f"videos: expected {count} held-out videos of {least} frames or more, received "
            f"{len(long)} of {len(lengths)}, the longest of {max(lengths, default=0)}; ask for "
            "fewer --videos, a shorter --horizon or --context"
        )
    return count, horizon or long[count - 1]


def _lengths(store: ReplayStore) -> list[int]:
    """Frames of each video, the longest first."""
    return sorted((s.steps for s in store.index.segments if s.whole), reverse=True)


def only_image(obs: Mapping[str, np.ndarray]) -> str:
    """Name of the only image among observations [V, T, ...].

    Raises:
      UserError: if there is none, or more than one.
    """
    images = [name for name, x in obs.items() if x.ndim == 5]
    if len(images) != 1:
        raise UserError(
            f"data: expected one image per record, received {images} of {sorted(obs)}; only a "
            "single image can be scored"
        )
    return images[0]
