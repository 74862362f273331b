"""Batches of two stores: whose rows are whose, and what of the video is unknown."""

import numpy as np
import pytest

from recordings.episode import Video, append_video, video_fields
from replay import Field, MixedSampler, ReplayConfig, ReplayStore, SequenceSampler


def of_videos(path, shape=(4, 4, 3), width=0):
    """A store of one video of constant 200 and with ground truth; where `width` is not 0, with
    actions of that width, step t's being t, and its reward 10 t."""
    obs = {"image": np.full((12, *shape), 200, np.uint8), "id": np.full((12, 2), 9, np.float32)}
    t = np.arange(12, dtype=np.float32)
    known = (np.repeat(t[:, None], width, axis=1), 10 * t) if width else ()
    video = Video("v", obs, {"truth": np.arange(12)}, *known)
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


@pytest.mark.parametrize("width", [1, 2])
def test_actions_and_rewards_of_recordings_are_kept(tmp_path, world, width):
    """The agent's are of width 2: recordings narrower by the mark of plans were planned anew."""
    own = SequenceSampler(world.filled(tmp_path / "a", [9]), batch=3, length=4, stride=2, seed=0)
    recorded = of_videos(tmp_path / "b", width=width)
    video = SequenceSampler(recorded, batch=8, length=4, stride=2, seed=0)
    batch = {k: x[3:] for k, x in MixedSampler(own, video, True).sample().items() if k != "obs"}
    real = batch["mask"] > 0
    np.testing.assert_array_equal(batch["reward"], 10 * batch["action"][..., 0])
    marks = batch["action"][..., 0] > 0  # the episode's first action, a 0, led nowhere
    np.testing.assert_array_equal(batch["action"][..., 1] > 0, marks)
    assert set(batch["action"][..., 1].ravel()) <= ({0, 1} if width == 1 else set(range(12)))
    assert batch["action_mask"][real].all() and (batch["action"][real] > 1).any()


@pytest.mark.parametrize("width", [1, 4])
def test_actions_of_another_width_are_refused(tmp_path, world, width):
    """A float short too, where the agent does not mark plans."""
    own = SequenceSampler(world.filled(tmp_path / "a", [9]), batch=3, length=4, stride=2, seed=0)
    recorded = of_videos(tmp_path / "b", width=width)
    video = SequenceSampler(recorded, batch=2, length=4, stride=2, seed=0)
    with pytest.raises(ValueError, match=f"expected actions of 2 floats, received {width}"):
        MixedSampler(own, video)


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
    with pytest.raises(
        ValueError, match=r"of the environment, .*4, 4, 3.* received .*8, 8, 3.*size"
    ):
        MixedSampler(own, video)
