"""Batches of two stores: whose rows are whose, and what of the video is unknown."""

import numpy as np
import pytest

from replay import Field, MixedSampler, ReplayConfig, ReplayStore, SequenceSampler
from replay.importers import Video, append_video, video_fields


def of_videos(path, shape=(4, 4, 3)):
    """A store of one video without actions, of constant 200 and with ground truth."""
    obs = {"image": np.full((12, *shape), 200, np.uint8), "id": np.full((12, 2), 9, np.float32)}
    video = Video("v", obs, {"truth": np.arange(12)})
    config = ReplayConfig(capacity_gb=0.001)
    with ReplayStore(path, video_fields(video), config) as store:
        append_video(store, video)
    return ReplayStore(path, video_fields(video), config, read_only=True)


def test_rows_of_video_are_unknown_and_come_last(tmp_path, world):
    own = SequenceSampler(world.filled(tmp_path / "a", [9]), batch=3, length=4, stride=2, seed=0)
    video = SequenceSampler(of_videos(tmp_path / "b"), batch=2, length=4, stride=2, seed=0)
    batch = MixedSampler(own, video).sample()
    assert batch["obs"]["image"].shape == (5, 5, 4, 4, 3) and batch["action"].shape == (5, 5, 2)
    real = batch["mask"] > 0
    assert (batch["obs"]["image"][3:][real[3:]] == 200).all()
    assert (batch["obs"]["id"][:3][real[:3]][:, 0] == 1).all()
    assert not batch["action_mask"][3:].any() and not batch["action"][3:].any()
    assert batch["action_mask"][:3][real[:3]].all()
    assert "factor/truth" not in batch


def test_a_mixed_sampler_resumes(tmp_path, world):
    stores = world.filled(tmp_path / "a", [9]), of_videos(tmp_path / "b")
    first, second = [
        MixedSampler(*[SequenceSampler(s, batch=2, length=4, stride=2, seed=seed) for s in stores])
        for seed in (0, 1)
    ]
    first.sample()
    second.restore(first.state())
    one, two = first.sample(), second.sample()
    np.testing.assert_array_equal(one["obs"]["id"], two["obs"]["id"])


def test_other_observations_are_refused(tmp_path, world):
    own = SequenceSampler(world.filled(tmp_path / "a", [9]), batch=3, length=4, stride=2, seed=0)
    store = of_videos(tmp_path / "b", (8, 8, 3))
    assert store.fields["obs/image"] == Field((8, 8, 3), "uint8")
    video = SequenceSampler(store, batch=2, length=4, stride=2, seed=0)
    with pytest.raises(ValueError, match="expected the observations of the environment"):
        MixedSampler(own, video).sample()
