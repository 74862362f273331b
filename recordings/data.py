"""From a name or a path to stores of video: generated on first use, imported, or already there.

A data set is two replay stores. Those of an import are the subfolders `train/` and `test/` of one
folder; generated ones are kept under `data.folder`, named by the settings that made them, and
shared by runs. Read next: `configs/data.py`, the table of what can be generated; `generators/`.
"""

import functools
import hashlib
import importlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from rich.progress import track

from common import UserError, check_bounds, dump_json
from common.fields import before
from common.images import SIZE
from configs.data import GENERATED, SOURCES, DataConfig, SplitName
from envs.images import SQUARED, described, resize
from recordings import report
from recordings.episode import Video, append_video, video_fields
from recordings.generators.seeded import PIXELS
from recordings.importers.folder import VALIDATION
from recordings.importers.images import Look
from recordings.importers.video_folder import VideoFolder
from recordings.ledger import read_summary
from recordings.run import ImportConfig, run_import
from replay import Field, ReplayConfig, ReplayStore, read_fields
from replay.chunk import record_dtype
from replay.store import EpisodeGone

SIZES = ("episodes", "length", "test_episodes", "test_length")


class Generator(Protocol):
    """A generator of videos: number i of a seed's endless series depends only on its options."""

    def video(self, index: int, seed: int) -> Video:
        """Make video number `index`."""


def open_stores(config: DataConfig) -> tuple[ReplayStore, ReplayStore]:
    """Open (train, test), read-only; what is missing is generated or imported first.

    Raises:
      UserError: on an unknown name, or on sizes that make no video.
    """
    if (Path(config.name) / "store.json").exists():  # one store, such as a run's replay
        print(
            f"{config.name}: a store without train/ and test/; held-out videos are also trained on"
        )
    return open_train(config), open_test(config)


def open_train(config: DataConfig) -> ReplayStore:
    """Open the training store, read-only; see ``open_stores``."""
    return _open(config, "train")


def open_test(config: DataConfig) -> ReplayStore:
    """Open the held-out store, read-only; see ``open_stores``."""
    return _open(config, "test")


def _open(config: DataConfig, split: SplitName) -> ReplayStore:
    """Open the store of a split, read-only; of generated videos, as many as are asked for, though
    another run may have generated more."""
    store = _sized(_reader(place(config, split)), config)
    if config.name in GENERATED:
        most = _sizes(config, split)[0]
        for episode in {segment.key[0] for segment in store.index.segments}:
            if episode >= most:
                store.index.remove(episode)
    return store


def data_fields(config: DataConfig) -> dict[str, Field]:
    """Fields of the data set's records; see ``open_stores``."""
    return read_fields(place(config, "test"))


def place(config: DataConfig, split: SplitName) -> Path:
    """Path of the complete store of one split; see ``open_stores``."""
    if config.name in GENERATED:
        return generate(config, split)
    path = Path(config.name)
    if (path / "store.json").exists():
        return path
    if (path / "train" / "store.json").exists():
        return path / _split(path, split)
    if path.is_dir():
        root = import_folder(path, config)
        return root / _split(root, split)
    root = _imported(path, config)
    if (read_summary(root) or {}).get("complete"):  # of a folder that is no longer there
        return root / _split(root, split)
    raise UserError(f"data: expected {SOURCES}, received {config.name!r}; check the name")


def _split(stores: Path, split: SplitName) -> str:
    """Name of a split's folder; validation/ is held out if there is no test/."""
    other = split == "test" and not (stores / split).exists()
    return VALIDATION if other and (stores / VALIDATION).exists() else split


def generate(config: DataConfig, split: SplitName) -> Path:
    """Generate what is missing of a split; after a kill, the next call resumes.

    Train and test use different seeds, and their digits come from different images.
    """
    check_bounds(config, "data")
    videos, length = _sizes(config, split)
    directory = _generated(config, split)
    seed = 2 * config.seed + (split == "test")
    made = make_generator(config, split, length)
    fill(directory, lambda index: resized(made.video(index, seed), look(config).size), videos)
    return directory


def look(config: DataConfig) -> Look:
    """Size and fit of images that are generated or imported."""
    return Look(config.image_size or SIZE, config.image_fit)


def resized(video: Video, size: int) -> Video:
    """Resize images to ``size`` pixels along each edge; positions stay in the old pixels."""
    images = {name: resize(x, size) for name, x in video.obs.items() if x.dtype == np.uint8}
    return video._replace(obs=video.obs | images)


def is_there(config: DataConfig) -> bool:
    """Whether the data exist, or have been generated or imported at least in part."""
    if config.name in GENERATED:
        return any(_generated(config, split).exists() for split in ("train", "test"))
    path = Path(config.name)
    stores = (path / "store.json", path / "train" / "store.json")
    return any(store.exists() for store in stores) or _imported(path, config).exists()


def unplaced(config: DataConfig) -> DataConfig:
    """The same data, in the default folder."""
    return replace(config, folder=DataConfig.folder)


def _sizes(config: DataConfig, split: SplitName) -> tuple[int, int]:
    """Number of videos, and frames per video."""
    if split == "train":
        return config.episodes, config.length
    return config.test_episodes, config.test_length


def images_of(config: DataConfig) -> str:
    """Describe in words how images were made to fit, as far as it is known."""
    if config.name in GENERATED:
        drawn, size = f"drawn at {PIXELS} x {PIXELS}", look(config).size
        return ", ".join(filter(None, [drawn, described(PIXELS, PIXELS, size, config.image_fit)]))
    summary = read_summary(place(config, "train").parent) or {}
    fit = _nested(summary, "options", "look", "fit")
    return f"imported, non-square ones {SQUARED[fit]}" if fit in SQUARED else "not known"


def read_as(config: DataConfig, size: int) -> tuple[Look, float | None]:
    """How the data's videos were made to fit, and the frames kept per second, so that another video
    can be read in the same way.

    Args:
      size: pixels along each edge.
    """
    for root in (Path(config.name), _imported(Path(config.name), config)):
        options = (read_summary(root) or {}).get("options", {}) if root.is_dir() else {}
        fit, fps = _nested(options, "look", "fit"), _nested(options, "fps")
        if fit in SQUARED:
            return Look(size, fit), fps if isinstance(fps, int | float) else None
    return Look(size, config.image_fit), None


def _nested(tree: Any, *names: str) -> Any:
    """The value under nested names; None if there is none."""
    for name in names:
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree


def _generated(config: DataConfig, split: SplitName) -> Path:
    """Path of the store of a generated split, named by the settings that make it."""
    size, newer = look(config).size, before(DataConfig)
    named = asdict(config) | dict.fromkeys((*SIZES, "folder"))
    named |= {"image_size": None if size == SIZE else size, "image_fit": newer["image_fit"]}
    named["shard"] = False
    # some settings are newer than the names: they are left out at the value of earlier data
    options = {name: x for name, x in named.items() if name not in newer or x != newer[name]}
    text = dump_json([options, split, _sizes(config, split)[1]], default=str, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return config.folder / f"{config.name}-{split}-{digest}"


def _imported(path: Path, config: DataConfig) -> Path:
    """Path that a folder of videos is imported to."""
    fits = look(config)
    earlier = (fits.size, fits.fit) == (SIZE, "crop")  # once the only way, so not in the name
    text = f"{path.resolve()}" if earlier else f"{path.resolve()} {fits.size} {fits.fit}"
    digest = hashlib.sha256(text.encode()).hexdigest()
    return config.folder / f"{path.name}-{digest[:8]}"


def make_generator(config: DataConfig, split: SplitName, length: int) -> Generator:
    """Make the generator that ``config`` names, with those settings of it that the generator has.

    Args:
      split: which images the videos are made from, if there is a choice.
      length: frames of each video.
    """
    kind = _maker(config.name)
    names = {field.name for field in fields(kind)}
    given = {name: getattr(config, name) for name in names if hasattr(config, name)}
    given |= {"length": length} | ({"split": split} if "split" in names else {})
    return kind(**given)


def has_option(config: DataConfig, option: str) -> bool:
    """Whether the data are generated, by a generator that takes this option of ``DataConfig``."""
    if config.name not in GENERATED:
        return False
    return option in {field.name for field in fields(_maker(config.name))}


def _maker(name: str) -> type[Any]:
    """The class of a generator."""
    module, _, attribute = GENERATED[name].maker.partition(":")
    kind: type[Any] = getattr(importlib.import_module(module), attribute)
    return kind


def fill(directory: Path, video: Callable[[int], Video], videos: int) -> None:
    """Append the videos that a store lacks; each is one file, written atomically."""
    if (directory / "store.json").exists():
        with _reader(directory) as store:
            if store.episodes >= videos:
                return
    first = video(0)
    record = video_fields(first)
    steps = videos * first.steps
    room = 1 + 2e-9 * steps * record_dtype(record).itemsize
    sizes = ReplayConfig(steps, room, chunk_steps=first.steps)
    with ReplayStore(directory, record, sizes) as store:
        missing = range(store.episodes, videos)
        for index in track(missing, description=f"generating {directory.name}"):
            append_video(store, video(index))


def import_folder(path: Path, config: DataConfig) -> Path:
    """Import a folder of videos into stores under ``data.folder``.

    Raises:
      UserError: if it has too few readable videos for training and held-out data.
    """
    root = _imported(path, config)
    before = read_summary(root)
    imported = run_import("videos", VideoFolder(path, look(config)), root, ImportConfig())
    if read_summary(root) != before:
        print(f"{root}: images of {look(config).described} (--data.image-size, --data.image-fit)")
        print("\n".join(report.lines(imported, root)))
    else:
        for line in report.changed(imported, root):
            _say(line)
    if not ("train" in imported.episodes and {"test", "validation"} & set(imported.episodes)):
        raise UserError(
            f"data: expected a folder with two or more videos, to train on and to hold out, "
            f"received {imported.episodes or 'none'} in {path}; add videos"
        )
    return root


@functools.cache
def _say(line: str) -> None:
    """Print a line, once: a run opens its data several times."""
    print(line)


def _sized(store: ReplayStore, config: DataConfig) -> ReplayStore:
    """Check the image size of a store and return it.

    Raises:
      UserError: if its images have another size than requested.
    """
    asked = config.image_size
    for name, field in store.fields.items():
        if asked and name.startswith("obs/") and field.dtype == "uint8" and field.shape[0] != asked:
            store.close()
            raise UserError(
                f"data.image_size: expected images of {asked} pixels along an edge, as asked, "
                f"received {name[4:]!r} of {field.shape[0]} in {config.name}; leave "
                "--data.image-size out, or import the data again (python -m recordings ... --size)"
            )
    return store


def _reader(directory: Path) -> ReplayStore:
    """Open a store for reading, without the episodes that contain a number that is not finite.

    Raises:
      UserError: if all of them do.
    """
    store = ReplayStore(directory, read_fields(directory), ReplayConfig(), read_only=True)
    bad = dict(_not_finite(store))
    for episode, name in bad.items():
        store.index.remove(episode)
        print(f"skipped episode {episode} of {directory}: {name} is not finite")
    if bad and not store.episodes:
        store.close()
        raise UserError(
            f"{directory}: expected episodes of finite numbers, received none; generate or import "
            "them again"
        )
    return store


def _not_finite(store: ReplayStore) -> Iterator[tuple[int, str]]:
    """(episode, field) of every chunk that contains nan or infinity."""
    floats = [name for name in store.fields if store.dtype[name].base.kind == "f"]
    for chunk in [chunk for segment in store.index.segments for chunk in segment.chunks]:
        try:
            records = store.read(chunk, 0, chunk.steps)
        except EpisodeGone:  # evicted by the run that writes the store
            continue
        for name in floats:
            if not np.isfinite(records[name]).all():
                yield chunk.episode, name
    store.close_maps()
