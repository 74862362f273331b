"""Batches cover every video once, means leave out what is unknown, all together twin the parts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from analysis.probes.measures import likeness
from analysis.video import inspection
from analysis.video.inspection import SIGHTED, Trial
from worldmodel import ObjectiveConfig
from worldmodel.clockwork_video import ClockworkVideo
from worldmodel.objective import sequence_kl
from worldmodel.records import video
from worldmodel.video_model import open_loop


@pytest.fixture(scope="module")
def found(cases):
    """A model over images, a trial of three videos of 8 frames, what was found."""
    config = cases.config(strides=(1, 2), window="lookahead")
    objective, shapes = ObjectiveConfig(kl="elbo"), {"image": (64, 64, 1)}
    model = cases.lively(lambda: ClockworkVideo(config, shapes, 0, objective, nnx.Rngs(0)))
    frames = np.random.default_rng(0).integers(0, 255, (3, 8, 64, 64, 1), dtype=np.uint8)
    records = jax.device_get(video({"image": jnp.asarray(frames)}))
    trial = Trial(records, "image", 4, 4, 3, [likeness(frames[:, 4:])], 0, 8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inspection, "BATCH", 2)
        return model, trial, inspection.inspect(model, records, trial)


def test_all_videos_and_all_blindfolds(found):
    model, trial, inspected = found
    assert inspected.kl.shape == (3, 2) and inspected.levels.entropy.shape == (4, 2)
    (by_blind,) = inspected.measures.values()
    assert {name: len(x) for name, x in by_blind.items()} == {
        SIGHTED: 4,
        "level 1 blind": 3,
        "level 2 blind": 3,
    }
    assert not np.allclose(by_blind[SIGHTED][:3], by_blind["level 1 blind"])


def test_kl_and_entropy_are_those_of_levels(found):
    """The first batch again, by the functions themselves under the same keys."""
    model, trial, inspected = found

    @jax.jit
    def run(part, key):
        beliefs = model.observe(part, model.draw_noise(key, 2, 8))
        _, rolled = open_loop(model, part, 4, 4, jax.random.clone(key))
        return sequence_kl(model, part, beliefs), rolled.entropy

    kl, entropy = [], []
    for rows, key in zip(([0, 1], [2, 2]), jax.random.split(jax.random.key(0), 2), strict=True):
        part = jax.tree.map(lambda x, r=rows: jnp.asarray(x[np.array(r)]), trial.records)
        found_kl, found_entropy = run(part, key)
        kl.append(found_kl)
        entropy.append(found_entropy)
    np.testing.assert_allclose(inspected.kl, np.concatenate(kl)[:3], rtol=1e-3)
    mean = np.concatenate(entropy)[:3].mean(0)
    np.testing.assert_allclose(inspected.levels.entropy, mean, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(inspected.levels.ticks, [[1, 1], [1, 0], [1, 1], [1, 0]])


def test_the_last_batch_is_filled_and_cut():
    records = video({"vector": jnp.arange(9.0).reshape(9, 1, 1)})
    parts = list(inspection.batches(records, 0))
    assert [rows.tolist() for rows, _, _ in parts] == [[0, 1, 2, 3, 4, 5, 6, 7], [8]]
    assert parts[1][1].obs["vector"][:, 0, 0].tolist() == [8.0] * 8


def test_means_leave_out_what_is_unknown():
    nan = np.nan
    mean = inspection.mean_known(np.array([[1, nan, nan], [3, 4, nan]]))
    np.testing.assert_array_equal(mean, [2, 4, nan])


def test_a_shorter_future_is_the_beginning_of_the_longer(found):
    """So what is lost with a level blind is not owed to other noise."""
    model, trial, _ = found
    (_, long, _), (_, short, _) = (
        next(inspection.futures(model, trial, (), horizon)) for horizon in (4, 2)
    )
    assert long.shape[1] == 4 and short.shape[1] == 2
    assert np.abs(long[:, :2].astype(int) - short).max() <= 1  # bytes, rounded
