"""Moving MNIST: mnist_test_seq.npy (frames, videos, 64, 64), mp4 folders, damaged arrays."""

import json

import numpy as np

from recordings.__main__ import main
from recordings.importers.sequences import MovingMnist


def test_the_array_of_the_paper(tmp_path, files):
    array = np.random.default_rng(0).integers(0, 256, (20, 6, 64, 64), np.uint8)
    np.save(tmp_path / "mnist_test_seq.npy", array)
    run = ["moving_mnist", str(tmp_path / "mnist_test_seq.npy"), str(tmp_path / "s")]
    assert main([*run, "--test-fraction", "0"]) == 0
    episodes = files.episodes(tmp_path / "s" / "train")
    assert len(episodes) == 6
    for number, episode in enumerate(episodes):
        np.testing.assert_array_equal(episode["obs/image"], array[:, number, ..., None])


def test_a_folder_of_everything(tmp_path, files):
    root = tmp_path / "mm"
    files.video(root / "train-seq100" / "1.mp4", files.frames(0, 10))
    files.video(root / "test-seq1000" / "1.mp4", files.frames(1, 20))
    np.save(root / "a.npy", np.zeros((5, 2, 64, 64), np.uint8))
    np.save(root / "float.npy", np.zeros((5, 2, 64, 64)))
    np.save(root / "object.npy", np.array([{}, {}], object))
    np.save(root / "none.npy", np.zeros((5, 0, 64, 64), np.uint8))
    (root / "empty.npy").write_bytes(b"")
    (root / "text.npy").write_text("no array")
    np.save(root / "cut.npy", np.zeros((5, 2, 64, 64), np.uint8))
    files.truncate(root / "cut.npy")
    assert main(["moving_mnist", str(root), str(tmp_path / "s"), "--test-fraction", "0"]) == 0
    summary = json.loads((tmp_path / "s" / "import.json").read_text())
    assert summary["episodes"] == {"train": 3, "test": 1}
    reasons = dict(summary["skipped"])
    assert set(reasons) == {f"{x}.npy" for x in ("float", "object", "none", "empty", "text", "cut")}
    assert reasons["float.npy"].startswith("float64 (5, 2, 64, 64), expected uint8")
    assert reasons["empty.npy"] == "an empty file" and reasons["none.npy"] == "no sequences in it"
    [episode] = files.episodes(tmp_path / "s" / "test")
    assert np.abs(episode["obs/image"].astype(int) - files.frames(1, 20)[..., :1]).max() <= 6


def test_names_are_cheap_and_in_order(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 12, 64, 64), np.uint8))
    names = MovingMnist(tmp_path).names()
    assert names[0] == "a.npy:00000" and names[-1] == "a.npy:00011" and names == sorted(names)
