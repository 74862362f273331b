"""From a name or a path to stores of video."""

import hashlib
import shutil
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest

from configs.data import GENERATED, DataConfig, Generated
from configs.video_presets import parse_pretrain
from envs.images import resize
from recordings.data import (
    _generated,
    data_fields,
    fill,
    has_option,
    images_of,
    open_stores,
    open_test,
    place,
    read_as,
)
from recordings.episode import Video
from recordings.generators.seeded import SeededVideos
from recordings.held_out import common_data, read_videos
from recordings.importers.images import Look
from replay import first_steps

FITS = ((None, "crop"), (64, "squeeze"), (32, "squeeze"))
FEW = {"episodes": 3, "length": 20, "test_episodes": 2, "test_length": 25}


@pytest.mark.parametrize("name", GENERATED)
def test_generators_fill_two_stores_once(tmp_path, name):
    config = DataConfig(name, tmp_path, **FEW)
    train, test = open_stores(config)
    assert (train.episodes, train.steps, test.episodes, test.steps) == (3, 60, 2, 50)
    assert train.fields["obs/image"].shape[:2] == (64, 64) and "action" not in train.fields
    before = sorted((p, p.stat().st_mtime_ns) for p in tmp_path.rglob("*"))
    again, _ = open_stores(config)
    assert before == sorted((p, p.stat().st_mtime_ns) for p in tmp_path.rglob("*"))
    one, two = (first_steps(s, 3, 20)["obs"]["image"] for s in (train, again))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one[0], first_steps(test, 1, 20)["obs"]["image"][0])


@dataclass(frozen=True)
class Stripes(SeededVideos):
    """A generator of one's own, in one file."""

    name: ClassVar[str] = "stripes"
    speed: float = 1.0
    """Pixels per frame."""

    def draw(self, rng):
        x = np.arange(64) + int(rng.integers(64))
        rows = np.array([(x + self.speed * t) % 16 < 8 for t in range(self.length)], np.uint8)
        return np.tile(255 * rows[:, None, :, None], (1, 64, 1, 1)), {}


def test_a_generator_is_a_class_and_a_row_of_the_table(tmp_path, monkeypatch):
    """Its options, the paper's settings that fit it and what is measured of it follow from them."""
    row = Generated(f"{Stripes.__module__}:Stripes", "kth")
    monkeypatch.setitem(GENERATED, "stripes", row)
    config = parse_pretrain(["--data", "stripes", "--data.speed", "2"], False, "float32")
    assert config.like == "kth" and has_option(config.data, "speed")
    train, test = open_stores(replace(config.data, folder=tmp_path, **FEW))
    assert (train.steps, test.steps) == (60, 50)
    frames = first_steps(train, 1, 8)["obs"]["image"][0, :, 0, :, 0]
    np.testing.assert_array_equal(frames[1:, :-2], frames[:-1, 2:])  # two pixels per frame


def test_help_names_what_there_is(capsys):
    with pytest.raises(SystemExit):
        parse_pretrain(["--help"], False, "float32")
    text = capsys.readouterr().out
    assert all(name in text for name in GENERATED)


def test_more_of_the_same_go_on_from_what_is_there(tmp_path):
    config = DataConfig("moving_ball", tmp_path, **FEW)
    few = first_steps(open_stores(config)[0], 3, 20)["obs"]["image"]
    more, _ = open_stores(replace(config, episodes=5))
    assert more.episodes == 5 and len(list(tmp_path.iterdir())) == 2
    np.testing.assert_array_equal(first_steps(more, 3, 20)["obs"]["image"], few)


def test_of_what_other_runs_have_made_only_what_is_asked_for_is_read(tmp_path):
    more = DataConfig("moving_ball", tmp_path, **FEW | {"episodes": 5, "test_episodes": 4})
    assert [store.episodes for store in open_stores(more)] == [5, 4]
    few, held_out = open_stores(replace(more, episodes=3, test_episodes=2))
    assert (few.episodes, few.steps, held_out.episodes) == (3, 60, 2)
    assert {segment.key[0] for segment in few.index.segments} == {0, 1, 2}


def test_longer_tests_do_not_make_training_videos_anew(tmp_path):
    config = DataConfig("moving_ball", tmp_path, **FEW)
    open_stores(config)
    longer = open_test(replace(config, test_length=40))
    assert longer.index.longest == 40
    assert sorted(p.name.rpartition("-")[0] for p in tmp_path.iterdir()) == [
        "moving_ball-test",
        "moving_ball-test",
        "moving_ball-train",
    ]


def test_navigate_as_its_agent_sees_it(tmp_path):
    config = DataConfig("navigate", tmp_path, **FEW, env="minerl_navigate")
    names = {name for name in data_fields(config) if name.startswith("obs/")}
    assert names == {"obs/pov", "obs/compass.needle", "obs/inventory.dirt"}
    acted = data_fields(replace(config, actions=True))
    assert acted["action"].shape == (10,)


def test_a_single_store_is_taken_and_said_to_be_one(tmp_path, capsys):
    made = place(DataConfig("moving_ball", tmp_path, **FEW), "train")
    train, test = open_stores(DataConfig(str(made), tmp_path))
    assert train.steps == test.steps == 60
    assert "held-out videos are also trained on" in capsys.readouterr().out


def test_generated_images_of_another_size_are_those_of_64_pixels_resized(tmp_path):
    config = DataConfig("moving_ball", tmp_path, **FEW)
    drawn = first_steps(open_stores(config)[0], 3, 20)
    small = first_steps(open_stores(replace(config, image_size=32))[0], 3, 20)
    np.testing.assert_array_equal(small["obs"]["image"], resize(drawn["obs"]["image"], 32))
    assert len(list(tmp_path.iterdir())) == 4
    asked = replace(config, image_size=64, image_fit="pad")  # no other data: nothing is no square
    assert place(asked, "train") == place(config, "train")
    assert images_of(config) == "drawn at 64 x 64"
    assert images_of(replace(config, image_size=32)) == "drawn at 64 x 64, resized to 32 x 32"


def test_runs_of_generated_data_are_of_one_data_set_if_of_one_size():
    """How what is no square was made to fit, and 64 by name or by default, make no difference."""
    old, new, small = (DataConfig(image_size=x, image_fit=y) for x, y in FITS)
    assert common_data({"old": old, "new": new}) == old
    with pytest.raises(ValueError, match="received data.image_size = 64 in old and 32 in small"):
        common_data({"old": old, "small": small})


LENGTHS = [310, 40, 295, 300, 280, 305, 290, 300, 300, 37]


@pytest.mark.parametrize(
    ("videos", "horizon", "expected"),
    [
        (None, None, (8, 280 - 36, 2)),  # not one frame of all ten
        (9, None, (9, 40 - 36, 1)),
        (None, 1, (10, 1, 0)),
        (None, 270, (1, 270, 9)),
        (2, 250, (2, 250, 3)),
    ],
)
def test_one_short_video_does_not_shorten_the_evaluation(tmp_path, videos, horizon, expected):
    made = [Video(str(n), {"x": np.zeros((n, 1), np.float32)}) for n in LENGTHS]
    fill(tmp_path / "s", lambda index: made[index], len(made))
    steps, shorter = read_videos(DataConfig(str(tmp_path / "s")), videos, 36, horizon)
    count, length, _ = steps["obs"]["x"].shape
    assert (count, length - 36, shorter) == expected


def test_a_store_has_a_size_of_its_own(tmp_path):
    made = place(DataConfig("moving_ball", tmp_path, image_size=32, **FEW), "train")
    for asked in (None, 32):
        train, _ = open_stores(DataConfig(str(made), tmp_path, image_size=asked))
        assert train.fields["obs/image"].shape == (32, 32, 3)
    with pytest.raises(
        ValueError, match="images of 64 pixels .*, as asked, received 'image' of 32"
    ):
        open_stores(DataConfig(str(made), tmp_path, image_size=64))


def test_a_folder_is_imported_for_every_size_and_fit(tmp_path, files, capsys):
    """And what earlier versions imported, cut to the middle square of 64 pixels, is found."""
    for n in range(9):
        files.video(tmp_path / f"v/{n}.mp4", files.frames(n, 4, (96, 64)))
    folder = DataConfig(str(tmp_path / "v"), tmp_path / "data")
    places = [
        place(replace(folder, **asked), "train").parent
        for asked in ({}, {"image_size": 32}, {"image_fit": "pad"}, {"image_fit": "crop"})
    ]
    printed = capsys.readouterr().out
    assert "images of 32 x 32 pixels, non-square ones squeezed to a square" in printed
    assert len(set(places)) == 4
    digest = hashlib.sha256(str((tmp_path / "v").resolve()).encode()).hexdigest()
    assert places[3].name == f"v-{digest[:8]}"
    assert images_of(DataConfig(str(places[2]))) == (
        "imported, non-square ones padded to a square with black bars"
    )
    summary = places[0] / "import.json"
    summary.write_text(summary.read_text().replace('"squeeze"', '"stretch"'))  # an earlier word
    assert "squeezed" in images_of(DataConfig(str(places[0])))
    assert read_as(DataConfig(str(places[0])), 48)[0] == Look(48, "squeeze")
    again = DataConfig(str(places[1]), image_size=32)
    assert open_stores(again)[0].fields["obs/image"].shape == (32, 32, 3)
    shutil.rmtree(tmp_path / "v")  # what was imported of it can be read all the same
    assert place(replace(folder, image_size=32), "train").parent == places[1]


@pytest.mark.parametrize("name", ["moving_digit", "/nowhere/at/all"])
def test_unknown_names_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match=r"data: expected a generator .*moving_digits"):
        open_stores(DataConfig(name, tmp_path))


def test_folders_without_a_video_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError):
        open_stores(DataConfig(str(tmp_path / "empty"), tmp_path / "data"))


def test_newer_settings_do_not_make_data_anew():
    """Folders as 289f83a named them."""
    given = {"change": 0.3, "image_size": 32}
    digits, ball = DataConfig("moving_digits"), DataConfig("moving_ball", **given, shard=True)
    assert _generated(digits, "train").name == "moving_digits-train-1be46729"
    assert _generated(digits, "test").name == "moving_digits-test-07cb153a"
    assert _generated(ball, "train").name == "moving_ball-train-710b861c"
    other = replace(ball, bounce_change=False)
    assert _generated(other, "train") != _generated(ball, "train")
