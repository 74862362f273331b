"""`.npz` episodes as DreamerV2 writes them, chunks as DreamerV3 does, and what is damaged."""

import json

import numpy as np
import pytest

from recordings.__main__ import main
from recordings.importers.images import Look
from recordings.importers.npz import Npz


def episode(steps=6, **changes):
    rng = np.random.default_rng(0)
    arrays = {
        "image": rng.integers(0, 256, (steps, 64, 64, 3), np.uint8),
        "pose": rng.normal(size=(steps, 2, 2)).astype(np.float32),
        "action": rng.normal(size=(steps, 3)).astype(np.float32),
        "reward": rng.normal(size=steps).astype(np.float32),
        "is_first": np.arange(steps) == 0,
        "is_last": np.arange(steps) == steps - 1,
        "is_terminal": np.arange(steps) == steps - 1,
        "discount": np.ones(steps, np.float32),
        "log_keys": np.arange(steps),
    }
    arrays["action"][0] = 0
    arrays = {**arrays, **changes}
    return {key: value for key, value in arrays.items() if value is not None}


def read(tmp_path, arrays, **options):
    np.savez_compressed(tmp_path / "x.npz", **arrays)
    source = Npz(tmp_path, **options)
    [name] = source.names()
    return list(source.read(name))


def test_a_dreamerv2_episode(tmp_path):
    arrays = episode()
    [video] = read(tmp_path, arrays)
    assert set(video.obs) == {"image", "pose"} and video.terminal
    assert video.notes == ("log_keys left out: no observation by its name",)
    np.testing.assert_array_equal(video.obs["image"], arrays["image"])
    np.testing.assert_array_equal(video.obs["pose"], arrays["pose"].reshape(6, 4))
    np.testing.assert_array_equal(video.action, arrays["action"])
    np.testing.assert_array_equal(video.reward, arrays["reward"])


def test_a_terminal_told_by_the_discount(tmp_path):
    discount = np.array([1, 1, 1, 1, 1, 0], np.float32)
    assert read(tmp_path, episode(is_terminal=None, discount=discount))[0].terminal
    assert not read(tmp_path, episode(is_terminal=None))[0].terminal
    assert not read(tmp_path, episode(is_terminal=None, discount=None))[0].terminal


def test_a_dreamerv3_chunk(tmp_path):
    """Two episodes and the end of a third; the action at t was taken there, and leads to t + 1."""
    first = np.array([0, 0, 1, 0, 0, 1])
    terminal = np.array([0, 1, 0, 0, 0, 0])
    action = np.arange(1, 7, dtype=np.float32)[:, None]
    latents = {"dyn/deter": np.zeros((6, 4))}
    arrays = episode(is_first=first, is_terminal=terminal, action=action, **latents)
    videos = read(tmp_path, arrays, actions="taken_at")
    assert [video.steps for video in videos] == [2, 3, 1]
    assert [video.terminal for video in videos] == [True, False, False]
    assert [video.action[:, 0].tolist() for video in videos] == [[0, 1], [0, 3, 4], [0]]
    assert videos[0].notes[0] == "begins in mid-episode"
    assert set(videos[1].notes) == {
        f"{key} left out: no observation by its name" for key in ("dyn/deter", "log_keys")
    }
    np.testing.assert_array_equal(videos[1].obs["image"], arrays["image"][2:5])


def test_the_wrong_convention_is_noticed(tmp_path):
    with pytest.raises(ValueError, match="--actions taken_at"):
        read(tmp_path, episode(action=np.ones((6, 3), np.float32)))


def test_integer_actions_need_their_number(tmp_path):
    arrays = episode(action=np.array([0, 2, 1, 0, 2, 2]))
    with pytest.raises(ValueError, match="give --num-actions"):
        read(tmp_path, arrays)
    [video] = read(tmp_path, arrays, num_actions=3, actions="taken_at")
    assert video.action.argmax(axis=1)[1:].tolist() == [0, 2, 1, 0, 2]
    with pytest.raises(ValueError, match="expected 0 to 1 .*received 0 to 2"):
        read(tmp_path, arrays, num_actions=2, actions="taken_at")


@pytest.mark.parametrize("convention", ["led_to", "taken_at"])
def test_integer_actions_need_their_convention(tmp_path, convention):
    """The first of them is an action like any other, so nothing shows which it is."""
    number = np.array([0, 2, 1, 0, 2, 2])
    with pytest.raises(ValueError, match=r"DreamerV2.*DreamerV3.*--actions led_to or taken_at"):
        read(tmp_path, episode(action=number), num_actions=3)
    [video] = read(tmp_path, episode(action=number), num_actions=3, actions=convention)
    shown = number[1:] if convention == "led_to" else number[:-1]
    assert video.action.argmax(axis=1)[1:].tolist() == shown.tolist()
    with pytest.raises(ValueError, match="--actions taken_at"):  # floats tell, in any case
        read(tmp_path, episode(action=np.ones((6, 3), np.float32)), num_actions=3)


def test_an_import_of_the_former_default_convention_goes_on(tmp_path):
    (tmp_path / "d").mkdir()
    np.savez(tmp_path / "d" / "a.npz", **episode())
    run = ["npz", str(tmp_path / "d"), str(tmp_path / "s"), "--test-fraction", "0"]
    assert main(run) == 0
    summary = tmp_path / "s" / "import.json"
    text = summary.read_text()
    assert '"actions": null' in text
    summary.write_text(text.replace('"actions": null', '"actions": "led_to"'))
    assert main(run) == 0
    assert main([*run, "--actions", "taken_at"]) == 2


@pytest.mark.parametrize("folders", [("train_eps",), ("train_eps", "eval_eps")])
def test_episodes_for_evaluation_are_held_out_or_a_share_is(tmp_path, folders):
    for name in folders:
        (tmp_path / "d" / name).mkdir(parents=True)
        for number in range(10):
            np.savez(tmp_path / "d" / name / f"{number}.npz", **episode())
    assert main(["npz", str(tmp_path / "d"), str(tmp_path / "s")]) == 0
    summary = json.loads((tmp_path / "s" / "import.json").read_text())
    if len(folders) == 1:
        assert summary["episodes"] == {"train": 9, "test": 1}
    else:
        assert summary["episodes"] == {"train": 10, "test": 10}
        assert all(name.startswith("eval_eps/") for name in summary["held_out"])


def test_images_of_other_sizes_and_no_actions(tmp_path):
    image = np.full((3, 10, 30, 1), 77, np.uint8)
    [video] = read(tmp_path, {"image": image}, look=Look(size=32))
    assert video.action is None and (video.obs["image"] == 77).all()
    assert video.obs["image"].shape == (3, 32, 32, 1)


BAD = {
    "object": (episode(action=np.array([None] * 6, object)), "damaged, or of objects"),
    "lengths": (episode(reward=np.zeros(4, np.float32)), "arrays of different or no length"),
    "empty_episode": (episode(1, image=np.zeros((0, 64, 64, 3), np.uint8)), "no length"),
    "nothing": ({"action": np.zeros((3, 2))}, "no observations"),
    "done": (episode(done=np.zeros(6)), "done: expected DreamerV2's names"),
    "complex": (episode(pose=np.zeros((6, 2), complex)), "expected numbers"),
    "dark": (episode(image=np.full((6, 64, 64, 3), -1.0)), "image: pictures of float64 from -1 to"),
    "nan": (episode(image=np.full((6, 64, 64, 3), np.nan)), "from nan to nan, expected"),
    "many": (episode(image=np.zeros((6, 20, 64, 64, 3), np.uint8)), "pictures of 60 channels"),
    "rewards": (episode(reward=np.zeros((6, 2))), "expected one number at each step"),
    "terminal": (episode(is_terminal=np.arange(6) == 2), "not the last"),
}


def test_bad_files_are_named_and_the_good_one_is_kept(tmp_path, files):
    root = tmp_path / "d"
    root.mkdir()
    for name, (arrays, _) in BAD.items():
        np.savez(root / f"{name}.npz", **arrays)
    np.savez(root / "good.npz", **episode())
    np.savez(root / "cut.npz", **episode())
    files.truncate(root / "cut.npz")
    np.savez_compressed(root / "flipped.npz", **episode())
    data = bytearray((root / "flipped.npz").read_bytes())
    data[1000:1010] = bytes(10)
    (root / "flipped.npz").write_bytes(data)
    (root / "zero.npz").write_bytes(b"")
    (root / "words.npz").write_text("no zip at all")
    np.save(root / "array", np.zeros(3))
    (root / "array.npy").rename(root / "array.npz")
    run = ["npz", str(root), str(tmp_path / "s"), "--test-fraction", "0"]
    assert main(run) == 0
    summary = json.loads((tmp_path / "s" / "import.json").read_text())
    assert summary["episodes"] == {"train": 1} and summary["frames"] == 6
    reasons = dict(summary["skipped"])
    for name, (_, reason) in BAD.items():
        assert reason in reasons.pop(f"{name}.npz"), name
    assert set(reasons) == {f"{x}.npz" for x in ("cut", "flipped", "zero", "words", "array")}


def test_pictures_in_every_order_and_of_every_kind_are_the_same(tmp_path):
    """Colours first, floats in [0, 1] and in [0, 255], integers: what bytes [T, H, W, C] hold."""
    image = episode()["image"]
    kinds = {
        "first": (np.moveaxis(image, -1, 1), None),
        "unit": ((image / 255).astype(np.float32), "floats from 0 to 1, stored times 255"),
        "float": (image.astype(np.float64), "float64 from 0 to 255, stored as bytes"),
        "long": (image.astype(np.int64), "int64 from 0 to 255, stored as bytes"),
        "long first": (np.moveaxis(image, -1, 1).astype(np.int64), "int64 from 0 to 255"),
    }
    for name, (array, said) in kinds.items():
        [video] = read(tmp_path, episode(image=array, log_keys=None))
        np.testing.assert_array_equal(video.obs["image"], image, err_msg=name)
        notes = [f"image: pictures of {said}"] if said else []
        assert [note[: len(notes[0])] if notes else note for note in video.notes] == notes


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_integers_of_0_and_1_are_said_to_be_nearly_black(tmp_path, dtype):
    image = (episode()["image"] > 127).astype(dtype)
    [video] = read(tmp_path, episode(image=image, log_keys=None))
    assert video.obs["image"].max() == 1
    assert video.notes == (
        "image: numbers of 0 and 1, nearly black as bytes; store booleans or floats",
    )
    [video] = read(tmp_path, episode(image=0 * image.astype(np.uint8), log_keys=None))
    assert video.notes == ()


def test_grey_pictures_without_an_axis_of_colours(tmp_path):
    image = episode()["image"][..., 0]
    for array in (image, image.astype(np.int64), image / 255, image[:, None]):
        [video] = read(tmp_path, {"image": array})
        np.testing.assert_array_equal(video.obs["image"], image[..., None])
    [video] = read(tmp_path, {"image": image > 127})
    np.testing.assert_array_equal(video.obs["image"], 255 * (image > 127)[..., None])


def test_what_is_no_picture_stays_a_vector(tmp_path):
    """Small arrays, features of many channels, colours out of bounds; the last is said."""
    arrays = {"pose": np.zeros((3, 2, 2), np.uint8), "grid": np.zeros((3, 9, 9, 7))}
    arrays["field"] = np.full((3, 9, 9, 3), -2.0)
    [video] = read(tmp_path, arrays)
    assert {key: x.shape for key, x in video.obs.items()} == {
        **{"pose": (3, 4), "grid": (3, 567), "field": (3, 243)}
    }
    assert video.notes == ("field: float64 (9, 9, 3) stored as a vector of 243",)


def test_columns_of_one_number_are_numbers(tmp_path):
    arrays = episode(log_keys=None)
    columns = {key: arrays[key][:, None] for key in ("reward", "is_first", "is_terminal")}
    [video] = read(tmp_path, arrays | columns)
    np.testing.assert_array_equal(video.reward, arrays["reward"])
    assert video.terminal and video.reward.shape == (6,)


def test_text_and_single_values_are_left_out_and_said(tmp_path):
    words = {"task": np.array(["push"] * 6), "env": np.array("Push-v0"), "rate": np.array(30)}
    [video] = read(tmp_path, episode(log_keys=None) | words)
    assert set(video.obs) == {"image", "pose"}
    single = "left out: one value, not one per step"
    assert set(video.notes) == {"task left out: text", "env left out: text", f"rate {single}"}


def transitions(**changes):
    """D4RL's: an episode of 3 transitions that ends by time, one of 2 that ends in a terminal."""
    arrays = {
        "observations": np.arange(10, dtype=np.float64).reshape(5, 2),
        "actions": np.arange(1, 6, dtype=np.float32)[:, None],
        "rewards": np.arange(1, 6, dtype=np.float32)[:, None],
        "terminals": np.arange(5) == 4,
        "timeouts": np.arange(5) == 2,
        "next_observations": np.arange(10, dtype=np.float64).reshape(5, 2) + 0.5,
        "infos/qpos": np.zeros((5, 3)),
    }
    arrays["next_observations"][[0, 1, 3]] = arrays["observations"][[1, 2, 4]]
    return {key: x for key, x in (arrays | changes).items() if x is not None}


@pytest.mark.parametrize("timeouts", [True, False])
def test_transitions_by_the_names_of_d4rl(tmp_path, timeouts):
    """Actions were taken at their observations; where no timeouts are given, an episode ends where
    the next observation is not the one that was arrived at."""
    changes = {} if timeouts else {"timeouts": None}
    first, second = read(tmp_path, transitions(**changes))
    assert first.obs["observation"][:, 0].tolist() == [0, 2, 4, 4.5]
    assert second.obs["observation"][:, 0].tolist() == [6, 8, 8.5]
    for video, values in ((first, [0, 1, 2, 3]), (second, [0, 4, 5])):
        assert video.action[:, 0].tolist() == video.reward.tolist() == values
    assert (first.terminal, second.terminal) == (False, True)
    assert "infos/qpos left out: no observation by its name" in first.notes


def test_transitions_whose_last_observation_is_not_given(tmp_path):
    first, second = read(tmp_path, transitions(next_observations=None))
    assert first.obs["observation"][:, 0].tolist() == [0, 2, 4]
    assert first.reward.tolist() == [0, 1, 2] and not first.terminal
    assert "that step's action and reward left out" in first.notes[0]
    assert second.obs["observation"][:, 0].tolist() == [6, 8, 8]
    assert second.reward.tolist() == [0, 4, 5] and second.terminal
    assert "that before it, twice" in second.notes[0]


def test_transitions_of_pictures(tmp_path):
    pictures = np.random.default_rng(0).integers(0, 256, (5, 3, 64, 64), np.uint8)
    [video, _] = read(tmp_path, transitions(observations=pictures, next_observations=None))
    np.testing.assert_array_equal(video.obs["image"], np.moveaxis(pictures[:3], 1, -1))


@pytest.mark.parametrize("key", ["actions", "rewards", "terminals"])
def test_transitions_that_lack_an_array_are_refused(tmp_path, key):
    with pytest.raises(ValueError, match=f"observations without {key}, by D4RL's names"):
        read(tmp_path, transitions(**{key: None}))
