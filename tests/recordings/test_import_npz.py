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
    assert set(video.obs) == {"image", "pose"} and video.terminal and not video.notes
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
    assert videos[0].notes == ("begins in mid-episode",) and not videos[1].notes
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
    "text": (episode(pose=np.array(["a"] * 6)), "expected numbers"),
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
