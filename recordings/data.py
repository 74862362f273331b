"""From a name or a path to stores of video: generated on first use, imported, or there already.

A data set is two replay stores. Imported, they are the folders `train/` and `test/` of one; those
generated are kept under `data.folder`, named by what made them. Runs share them. Read next:
`video.py`.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from rich.progress import track

from agents import ActionCodec, ActionDistribution
from common import check_bounds
from configs.data import DataConfig, SplitName
from configs.presets import resolve
from envs import EnvConfig
from envs.navigate.videos import NavigateVideos
from envs.registry import NAVIGATE
from recordings import Video, append_video, video_fields
from recordings.generators.mazes import Mazes
from recordings.generators.moving_ball import MovingBall
from recordings.generators.moving_digits import MovingDigits
from recordings.importers.video_folder import VideoFolder
from recordings.run import ImportConfig, run_import
from replay import Field, ReplayConfig, ReplayStore, read_fields
from replay.chunk import record_dtype

GENERATED = ("moving_digits", "moving_ball", "mazes", "navigate")
SIZES = ("episodes", "length", "test_episodes", "test_length")
SHOWN = "a generator (" + ", ".join(GENERATED) + "), a store, or a folder of videos"


def open_stores(config: DataConfig) -> tuple[ReplayStore, ReplayStore]:
    """(train, test), read-only; what is missing is generated or imported first.

    Raises:
      ValueError: on a name that is none of these, or numbers that make no video.
    """
    if (Path(config.name) / "store.json").exists():  # one store, such as a run's replay
        print(f"{config.name}: one store without train/ and test/; what is held out is also seen")
    return open_train(config), open_test(config)


def open_train(config: DataConfig) -> ReplayStore:
    """The store to train on, read-only; as ``open_stores``."""
    return _reader(place(config, "train"))


def open_test(config: DataConfig) -> ReplayStore:
    """The held-out store, read-only; as ``open_stores``."""
    return _reader(place(config, "test"))


def data_fields(config: DataConfig) -> dict[str, Field]:
    """Fields of the data set's records; as ``open_stores``."""
    return read_fields(place(config, "test"))


def place(config: DataConfig, split: SplitName) -> Path:
    """The store of one split, complete. As ``open_stores``."""
    if config.name in GENERATED:
        return generate(config, split)
    path = Path(config.name)
    if (path / "store.json").exists():
        return path
    if (path / "train" / "store.json").exists():
        return path / split
    if path.is_dir():
        return import_folder(path, config) / split
    raise ValueError(f"data: expected {SHOWN}, received {config.name!r}; check the name")


def generate(config: DataConfig, split: SplitName) -> Path:
    """Makes what is missing of a generated split; killed and run again, it goes on.

    Train and test draw from other seeds, and their digits from other images.
    """
    check_bounds(config, "data")
    names = ("episodes", "length") if split == "train" else ("test_episodes", "test_length")
    videos, length = (getattr(config, name) for name in names)
    options = asdict(config) | dict.fromkeys((*SIZES, "folder"))
    text = json.dumps([options, split, length], default=str, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    directory = config.folder / f"{config.name}-{split}-{digest}"
    seed = 2 * config.seed + (split == "test")
    fill(directory, _generator(config, split, length, seed), videos)
    return directory


def _generator(
    config: DataConfig, split: Literal["train", "test"], length: int, seed: int
) -> Callable[[int], Video]:
    """Number to video."""
    if config.name == "navigate":
        return partial(walk, config, seed=seed, length=length)
    makers = {
        "moving_digits": lambda: MovingDigits(
            length=length, speed=config.speed, mnist=config.mnist, split=split
        ),
        "moving_ball": lambda: MovingBall(length=length, speed=config.speed, change=config.change),
        "mazes": lambda: Mazes(length=length),
    }
    return partial(makers[config.name]().video, seed=seed)


def walk(config: DataConfig, index: int, seed: int, length: int) -> Video:
    """A video of the builtin Navigate world: its frames alone, or all that an agent sees."""
    preset = resolve("auto", config.env or NAVIGATE, "auto", False, "float32")
    env = preset.env if config.env else EnvConfig(NAVIGATE)
    made = NavigateVideos(env, length)
    if not config.env:
        episode = made.episode(index, seed)
        return Video(_walk_name(index), {"image": episode.obs["pov"]}, episode.factors)
    seen = demonstration(made, preset.agent.actions, index, seed)
    return seen if config.actions else seen._replace(action=None, reward=None)


def demonstration(
    made: NavigateVideos, actions: ActionDistribution, index: int, seed: int
) -> Video:
    """A walk as an agent would have lived it, with its encoded actions [T, A] and rewards [T]."""
    episode = made.episode(index, seed)
    codec = ActionCodec(made.agent_env().action_space, actions)
    steps = [{key: x[t] for key, x in episode.action.items()} for t in range(len(episode.reward))]
    action = np.stack([codec.encode(step) for step in steps])
    ended = bool(episode.terminal[-1])
    name = _walk_name(index)
    return Video(name, episode.obs, episode.factors, action, episode.reward, ended)


def _walk_name(index: int) -> str:
    return f"navigate-{index:06d}"


def fill(directory: Path, video: Callable[[int], Video], videos: int) -> None:
    """Appends the videos that a store lacks; each is one file, whole or absent."""
    if (directory / "store.json").exists():
        with _reader(directory) as store:
            if store.episodes >= videos:
                return
    first = video(0)
    fields = video_fields(first)
    steps = videos * first.steps
    room = 1 + 2e-9 * steps * record_dtype(fields).itemsize
    sizes = ReplayConfig(steps, room, chunk_steps=first.steps)
    with ReplayStore(directory, fields, sizes) as store:
        missing = range(store.episodes, videos)
        for index in track(missing, description=f"generating {directory.name}"):
            append_video(store, video(index))


def import_folder(path: Path, config: DataConfig) -> Path:
    """A folder of videos as stores under ``data.folder``.

    Raises:
      ValueError: if no video in it could be read.
    """
    digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()
    root = config.folder / f"{path.name}-{digest[:8]}"
    report = run_import("videos", VideoFolder(path), root, ImportConfig())
    for what, why in report.skipped:
        print(f"skipped {what}: {why}")
    if set(report.episodes) < {"train", "test"}:
        raise ValueError(
            f"data: expected a folder with videos to train on and to hold out, received "
            f"{report.episodes or 'none'} in {path}; add videos, or folders train/ and test/"
        )
    return root


def _reader(directory: Path) -> ReplayStore:
    return ReplayStore(directory, read_fields(directory), ReplayConfig(), read_only=True)
