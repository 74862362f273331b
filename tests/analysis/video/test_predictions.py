"""A model's scores over a set of videos are those of its frames, whatever the batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.models import drawn
from flax import nnx
from skimage.metrics import structural_similarity

from analysis.metrics.protocols import PROTOCOLS
from analysis.video import predictions
from analysis.video.predictions import Trial, score_model, score_references
from analysis.video.rollout import imagine_samples
from worldmodel import ClockworkConfig, ObjectiveConfig
from worldmodel.clockwork_video import ClockworkVideo
from worldmodel.records import video

VIDEOS, CONTEXT, HORIZON, SAMPLES = 3, 4, 11, 2
CONFIG = ClockworkConfig(
    strides=(1, 2, 4),
    window="lookahead",
    deter=6,
    hidden=8,
    stoch=3,
    embed=5,
    conv_depth=1,
)


@pytest.fixture(scope="module")
def model():
    objective = ObjectiveConfig(kl="elbo")
    shapes = {"image": (64, 64, 1)}
    return drawn(lambda: ClockworkVideo(CONFIG, shapes, 0, objective, nnx.Rngs(0)), 0.0)


def network(videos: np.ndarray) -> np.ndarray:
    """Stands where I3D would: two numbers per video."""
    x = videos.reshape(len(videos), -1).astype(float)
    return np.stack([x.mean(1), x.std(1)], axis=1)


def make_trial(**changes) -> Trial:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (VIDEOS, CONTEXT + HORIZON, 64, 64, 1), dtype=np.uint8)
    trial = Trial(frames, "image", CONTEXT, SAMPLES, PROTOCOLS["cwvae"], None, network, 0, 8)
    return trial._replace(**changes)


def records_of(trial: Trial):
    return jax.device_get(video({"image": jnp.asarray(trial.videos)}))


def test_scores_are_those_of_the_models_frames(model, monkeypatch):
    trial = make_trial()
    monkeypatch.setattr(predictions, "batch_size", lambda *_: VIDEOS)
    scored = score_model(trial, model, records_of(trial), CONTEXT)
    assert list(scored.values) == ["ssim", "psnr"]
    assert all(x.shape == (VIDEOS, SAMPLES, HORIZON) for x in scored.values.values())

    @jax.jit
    def frames(records):
        key = jax.random.split(jax.random.key(0), 1)[0]
        features = imagine_samples(model, records, CONTEXT, HORIZON, SAMPLES, key)
        return model.decode(features)["image"]

    drawn = np.asarray(frames(records_of(trial)), np.float64)
    rule = {"win_size": 7, "data_range": 2.0, "use_sample_covariance": True}
    for v, n, t in [(0, 0, 0), (1, 1, 5), (2, 0, 10)]:
        true = trial.future[v, t, ..., 0] / 255
        want = structural_similarity(true, drawn[n, v, t, ..., 0], **rule)
        assert abs(scored.values["ssim"][v, n, t] - want) < 1e-4
    stills = np.round(np.clip(drawn[0][:, trial.still_times], 0, 1) * 255)
    assert scored.stills.shape == stills.shape
    assert np.abs(scored.stills - stills).max() <= 1


def test_batches_of_any_size_cover_every_video_once(model, monkeypatch):
    """The last batch is filled up and cut: references have no noise that batches could change."""
    trial = make_trial()
    want = None
    for size in (1, 2, 3):
        monkeypatch.setattr(predictions, "batch_size", lambda *_, s=size: s)
        got = score_references(trial)
        assert list(got) == ["blank", "mean frame", "random frame"]
        assert got["random frame"].values["ssim"].shape == (VIDEOS, SAMPLES, HORIZON)
        values = {name: got[name] for name in ("blank", "mean frame")}
        for name, scored in values.items():
            assert scored.values["psnr"].shape == (VIDEOS, 1, HORIZON)
            if want is not None:
                np.testing.assert_allclose(scored.values["psnr"], want[name].values["psnr"])
                assert scored.fvd == pytest.approx(want[name].fvd)
        want = want or values


def test_batches_are_bounded_by_memory():
    trial = make_trial()
    assert predictions.batch_size(trial, 10) == VIDEOS
    states = SAMPLES * HORIZON * 10
    assert predictions.batch_size(trial, 10 * predictions.FLOATS // (2 * states)) == 2
    assert predictions.batch_size(trial, predictions.FLOATS) == 1
    assert predictions.batch_size(make_trial(samples=10**8), 10) == 1


def test_one_video_has_no_random_frames_and_no_features_no_distance():
    trial = make_trial(fvd=None)
    scored = score_references(trial._replace(videos=trial.videos[:1]))
    assert list(scored) == ["blank", "mean frame"]
    assert scored["blank"].fvd is None


def test_a_model_may_see_less_of_the_context(model):
    """With only the last block, what lies before it changes nothing; in it, everything."""
    trial = make_trial(context=8, fvd=None)
    records = records_of(trial)
    before = score_model(trial, model, records, 4).values["psnr"]

    def changed(time):
        frames = records.obs["image"].copy()
        frames[:, time] = 255 - frames[:, time]
        after = score_model(trial, model, records._replace(obs={"image": frames}), 4)
        return (after.values["psnr"] != before).any()

    assert not changed(3) and changed(4)
    with pytest.raises(ValueError, match="--context 4 or 8"):
        score_model(trial, model, records, 6)
