"""The Fréchet distance against closed forms; videos reach the network whole and in three channels.

No network is at hand: what is tested is all but the archive itself.
"""

import numpy as np
import pytest

from analysis.metrics.fvd import frechet_distance, load_torchscript, video_features

RNG = np.random.default_rng(0)


def with_moments(mean: np.ndarray, cov: np.ndarray, count: int) -> np.ndarray:
    """Samples whose own mean and covariance are exactly these."""
    x = RNG.normal(size=(count, len(mean)))
    x = x - x.mean(0)
    x = x @ np.linalg.inv(np.linalg.cholesky(np.atleast_2d(np.cov(x, rowvar=False)))).T
    return x @ np.linalg.cholesky(cov).T + mean


def test_one_dimension_by_hand():
    """(μa - μb)² + (σa - σb)² = 3² + 2²."""
    a = with_moments(np.array([1.0]), np.array([[9.0]]), 50)
    b = with_moments(np.array([4.0]), np.array([[1.0]]), 40)
    assert frechet_distance(a, b) == pytest.approx(13.0)


def test_commuting_covariances_by_hand():
    """Diagonal: |μ|² + Σ (σa - σb)² = (1 + 4 + 0) + (1 - 2)² + (3 - 1)² + 0."""
    a = with_moments(np.array([1.0, 2.0, 5.0]), np.diag([1.0, 9.0, 4.0]), 60)
    b = with_moments(np.array([0.0, 0.0, 5.0]), np.diag([4.0, 1.0, 4.0]), 60)
    assert frechet_distance(a, b) == pytest.approx(5 + 1 + 4)
    assert frechet_distance(b, a) == pytest.approx(10)


def test_a_rotation_of_both_changes_nothing():
    turn, _ = np.linalg.qr(RNG.normal(size=(4, 4)))
    a, b = RNG.normal(size=(30, 4)), 2 * RNG.normal(size=(30, 4)) @ RNG.normal(size=(4, 4)) + 1
    assert frechet_distance(a @ turn, b @ turn) == pytest.approx(frechet_distance(a, b))
    # any two covariances in two dimensions: tr (Σa Σb)^½ = √(tr ΣaΣb + 2 √det ΣaΣb)
    a, b = a[:, :2], b[:, :2]
    product = np.cov(a, rowvar=False) @ np.cov(b, rowvar=False)
    cross = np.sqrt(np.trace(product) + 2 * np.sqrt(np.linalg.det(product)))
    gap = a.mean(0) - b.mean(0)
    want = gap @ gap + np.trace(np.cov(a, rowvar=False) + np.cov(b, rowvar=False)) - 2 * cross
    assert frechet_distance(a, b) == pytest.approx(want)


def test_equal_sets_are_at_distance_0_also_when_singular():
    a = RNG.normal(size=(5, 30))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-10)


def test_sets_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="raise --videos"):
        frechet_distance(np.zeros((1, 3)), np.zeros((5, 3)))
    with pytest.raises(ValueError, match="one width"):
        frechet_distance(np.zeros((5, 3)), np.zeros((5, 4)))


def test_videos_reach_the_network_in_order_and_three_channels():
    seen = []

    def network(videos):
        seen.append(videos)
        return videos.reshape(len(videos), -1)[:, :2].astype(float)

    videos = RNG.integers(0, 256, (5, 12, 4, 4, 1), dtype=np.uint8)
    features = video_features(network, videos, batch=2)
    assert [len(x) for x in seen] == [2, 2, 1]
    together = np.concatenate(seen)
    assert together.shape == (5, 12, 4, 4, 3) and together.dtype == np.uint8
    assert (together == videos).all()
    assert (features == together.reshape(5, -1)[:, :2]).all()


def test_short_videos_are_refused():
    with pytest.raises(ValueError, match="10 frames or more"):
        video_features(lambda x: x, np.zeros((2, 9, 4, 4, 3), np.uint8))


def test_a_missing_archive_is_one_line(tmp_path):
    with pytest.raises(ValueError, match="check the path"):
        load_torchscript(tmp_path / "i3d_torchscript.pt")
