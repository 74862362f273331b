"""Moving MNIST: mnist_test_seq.npy (frames, videos, 64, 64), mp4 folders, damaged arrays."""

import json

import numpy as np
import pytest

from recordings.__main__ import main
from recordings.importers.images import Look
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
    np.save(root / "flat.npy", np.zeros((5, 2, 4096), np.uint8))
    np.save(root / "wild.npy", np.full((5, 2, 64, 64), -3.0))
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
    assert set(reasons) == {
        *(f"{x}.npy" for x in ("flat", "object", "none", "empty", "text", "cut")),
        *("wild.npy:00000", "wild.npy:00001"),
    }
    assert reasons["flat.npy"].startswith("uint8 (5, 2, 4096), expected pictures")
    assert "float64 from -3 to -3, expected numbers" in reasons["wild.npy:00001"]
    assert reasons["empty.npy"] == "an empty file" and reasons["none.npy"] == "no sequences in it"
    [episode] = files.episodes(tmp_path / "s" / "test")
    assert np.abs(episode["obs/image"].astype(int) - files.frames(1, 20)[..., :1]).max() <= 6


def test_names_are_cheap_and_in_order(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 12, 64, 64), np.uint8))
    names = MovingMnist(tmp_path).names()
    assert names[0] == "a.npy:00000" and names[-1] == "a.npy:00011" and names == sorted(names)


def flights(frames, videos):
    """uint8 [frames, videos, 32, 32]: squares that move by a pixel, or as videos go, anywhere."""
    images = np.zeros((frames, videos, 32, 32), np.uint8)
    starts = np.random.default_rng(0).integers(0, 16, (videos, 2))
    for n, (row, column) in enumerate(starts):
        for t in range(frames):
            images[t, n, (row + t) % 24 : (row + t) % 24 + 8, column : column + 8] = 255
    return images


@pytest.mark.parametrize(("frames", "videos"), [(20, 6), (20, 20), (9, 5), (5, 9)])
def test_either_way_round(tmp_path, frames, videos):
    """Time is the axis of 20, as published; else that along which neighbours differ less."""
    images = flights(frames, videos)
    for array in (images, images.swapaxes(0, 1)):
        np.save(tmp_path / "a.npy", array)
        source = MovingMnist(tmp_path, Look(size=32))
        found = [video for name in source.names() for video in source.read(name)]
        np.testing.assert_array_equal(
            np.stack([video.obs["image"][..., 0] for video in found], axis=1), images
        )
        told = {note for video in found for note in video.notes}
        assert all(note.endswith("(--order)") for note in told)
        assert told or array.shape[:2] == (20, 6)


def test_the_order_may_be_given(tmp_path):
    images = flights(6, 20)
    np.save(tmp_path / "a.npy", images)
    assert len(MovingMnist(tmp_path).names()) == 6
    source = MovingMnist(tmp_path, Look(size=32), order="frames_first")
    assert len(source.names()) == 20
    [video] = source.read("a.npy:00007")
    np.testing.assert_array_equal(video.obs["image"][..., 0], images[:, 7])


def test_arrays_with_an_axis_of_colours_and_of_floats(tmp_path):
    images = flights(20, 2)
    for array in (images[:, :, None], images[..., None], images / 255):
        np.save(tmp_path / "a.npy", array)
        [video] = MovingMnist(tmp_path, Look(size=32)).read("a.npy:00001")
        np.testing.assert_array_equal(video.obs["image"][..., 0], images[:, 1])
