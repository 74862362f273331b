"""Scores in chunks are scores; references are what their names say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from analysis.metrics.protocols import PROTOCOLS, compare_frames
from analysis.video import references
from analysis.video.frames import draw_frames, in_chunks, score_frames

RNG = np.random.default_rng(0)
VIDEOS = RNG.integers(0, 256, (3, 7, 16, 16, 1), dtype=np.uint8)  # [V, T, h, w, C]
PROTOCOL = PROTOCOLS["cwvae"]


def test_scores_in_chunks_are_those_of_single_frames():
    true = VIDEOS[:2, :5]
    source = RNG.uniform(size=(3, 2, 5, 4)).astype(np.float32)

    def draw(x):
        return jnp.tanh(x.sum(-1)).reshape(-1, 1, 1, 1) * jnp.ones((1, 16, 16, 1))

    for chunk in (4, 7, 1000):
        scores = jax.jit(lambda s, t, n=chunk: score_frames(PROTOCOL, None, draw, s, t, n))(
            source, true
        )
        assert scores["ssim"].shape == scores["psnr"].shape == (3, 2, 5)
        for n, b, t in [(0, 0, 0), (1, 1, 3), (2, 0, 4), (2, 1, 4)]:
            frame = draw(jnp.asarray(source[n, b, t][None]))
            want = compare_frames(PROTOCOL, None, jnp.asarray(true[b, t][None] / 255.0), frame)
            for name, value in want.items():
                np.testing.assert_allclose(scores[name][n, b, t], value[0], rtol=1e-4, atol=1e-6)


def test_chunks_hold_no_more_than_asked():
    sizes = []

    def function(x):
        sizes.append(x.shape[0])
        return 2 * x

    out = in_chunks(function, jnp.arange(10.0), 4)
    assert out.tolist() == (2 * jnp.arange(10.0)).tolist()
    assert set(sizes) == {4}


def test_kept_frames_are_clipped_and_rounded():
    source = jnp.array([[[-0.5], [0.5]], [[1.5], [1.0]]])
    frames = draw_frames(lambda x: x.reshape(-1, 1, 1, 1), source, 3)
    assert frames.dtype == jnp.uint8 and frames.shape == (2, 2, 1, 1, 1)
    assert frames.ravel().tolist() == [0, 128, 255, 255]


def drawn(source):
    number = jnp.asarray(source.number)
    frames = references.drawer(source.pool)(number.reshape(-1))
    return np.asarray(frames.reshape(*number.shape, *frames.shape[1:]))


def test_blank_is_black():
    frames = drawn(references.blank(3, 4, (16, 16, 1)))
    assert frames.shape == (1, 3, 4, 16, 16, 1) and not frames.any()


def test_mean_frame_is_that_of_the_own_context():
    frames = drawn(references.mean_frame(VIDEOS[:, :4], 2))
    assert frames.shape == (1, 3, 2, 16, 16, 1)
    for time in range(2):
        np.testing.assert_allclose(frames[0, :, time], VIDEOS[:, :4].mean(1) / 255, atol=1e-6)


def test_random_frames_are_of_other_videos_and_all_of_them():
    pool = references.RandomFrames(VIDEOS, seed=0)
    rows = np.array([2, 0])
    frames = drawn(pool.draw(rows, samples=20, horizon=50))
    assert frames.shape == (20, 2, 50, 16, 16, 1)
    names = {VIDEOS[v, t].tobytes(): (v, t) for v in range(3) for t in range(7)}
    for column, row in enumerate(rows):
        bits = np.round(frames[:, column].reshape(-1, 16, 16, 1) * 255).astype(np.uint8)
        seen = {names[frame.tobytes()] for frame in bits}
        assert seen == {(v, t) for v in range(3) if v != row for t in range(7)}


def test_random_frames_need_another_video():
    with pytest.raises(ValueError, match="at least 2 videos"):
        references.RandomFrames(VIDEOS[:1], seed=0)
