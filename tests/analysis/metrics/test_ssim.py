"""SSIM and PSNR under both protocols are scikit-image's; a constant frame's are known by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from analysis.metrics.protocols import PROTOCOLS, compare_frames
from analysis.metrics.ssim import blur, gaussian_window, psnr, ssim, uniform_window

CWVAE = {"win_size": 7, "data_range": 2.0, "use_sample_covariance": True}
STANDARD = {
    "gaussian_weights": True,
    "sigma": 1.5,
    "use_sample_covariance": False,
    "data_range": 1.0,
}


def frames(case: str, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """True and predicted [3, 64, 64, C], float32."""
    rng = np.random.default_rng(0)
    true = rng.uniform(size=(3, 64, 64, channels))
    if case == "noisy":
        predicted = np.clip(true + 0.2 * rng.normal(size=true.shape), 0, 1)
    elif case == "smooth":  # nearly constant patches: where float32 could lose its digits
        ramp = np.linspace(0, 1, 64)[:, None, None]
        true = np.broadcast_to(ramp, true.shape) + 1e-3 * true
        predicted = np.roll(true, 3, axis=1)
    else:  # black digits on nothing, and a prediction that leaves [0, 1]
        true = np.round(true * (true > 0.9) * 255) / 255
        predicted = 0.4 * rng.normal(size=true.shape)
    return true.astype(np.float32), predicted.astype(np.float32)


def scored(name: str, true: np.ndarray, predicted: np.ndarray) -> dict[str, jax.Array]:
    return jax.jit(lambda x, y: compare_frames(PROTOCOLS[name], None, x, y))(true, predicted)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("case", ["noisy", "smooth", "outside"])
def test_cwvae_protocol_is_scikit_image_of_floats_without_a_range(case, channels):
    true, predicted = frames(case, channels)
    ours = scored("cwvae", true, predicted)
    for row in range(len(true)):
        planes = [
            (true[row, ..., c].astype(np.float64), predicted[row, ..., c].astype(np.float64))
            for c in range(channels)
        ]
        want = np.mean([structural_similarity(x, y, **CWVAE) for x, y in planes])
        assert abs(ours["ssim"][row] - want) < 2e-5
        want = np.mean([peak_signal_noise_ratio(x, y, data_range=1.0) for x, y in planes])
        assert abs(ours["psnr"][row] - want) < 1e-4


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("case", ["noisy", "smooth", "outside"])
def test_standard_protocol_is_scikit_image_as_wang_et_al(case, channels):
    true, predicted = frames(case, channels)
    ours = scored("standard", true, predicted)
    clipped = np.clip(predicted, 0, 1).astype(np.float64)
    for row in range(len(true)):
        x, y = true[row].astype(np.float64), clipped[row]
        want = structural_similarity(x, y, channel_axis=-1, **STANDARD)
        assert abs(ours["ssim"][row] - want) < 2e-5
        want = peak_signal_noise_ratio(x, y, data_range=1.0)
        assert abs(ours["psnr"][row] - want) < 1e-4


def test_protocols_differ_where_it_matters():
    faint = 0.1 * frames("noisy", 1)[0]
    cwvae, standard = (scored(name, faint, faint[:, ::-1])["ssim"] for name in PROTOCOLS)
    assert (np.asarray(cwvae) > np.asarray(standard) + 0.2).all()  # range 2 forgives
    true, predicted = frames("outside", 1)
    cwvae, standard = (scored(name, true, predicted)["psnr"] for name in PROTOCOLS)
    assert (np.asarray(cwvae) < np.asarray(standard) - 0.5).all()  # clipping helps


def test_constant_frames_by_hand():
    """Without variance only the means count: (2·0.5·0.25 + C1) / (0.5² + 0.25² + C1)."""
    true, predicted = jnp.full((16, 16), 0.5), jnp.full((16, 16), 0.25)
    value = jax.jit(lambda x, y: ssim(x, y, uniform_window(7), True, 2.0))(true, predicted)
    c1 = 0.02**2
    np.testing.assert_allclose(value, (0.25 + c1) / (0.3125 + c1), rtol=1e-5)
    np.testing.assert_allclose(psnr(true, predicted), -10 * math.log10(0.0625), rtol=1e-6)


def test_equal_frames():
    true, _ = frames("noisy", 3)
    for name in PROTOCOLS:
        scores = scored(name, true, true)
        np.testing.assert_allclose(scores["ssim"], 1, atol=1e-6)
        np.testing.assert_allclose(scores["psnr"], 100, atol=1e-3)


def test_windows_and_blur_by_hand():
    assert uniform_window(4) == (0.25,) * 4
    window = gaussian_window(3, 1.0)
    edge = math.exp(-0.5)
    np.testing.assert_allclose(window, np.array([edge, 1, edge]) / (1 + 2 * edge), rtol=1e-6)
    x = np.arange(12.0).reshape(3, 4)
    np.testing.assert_allclose(blur(jnp.asarray(x), (0.5, 0.5)), [[2.5, 3.5, 4.5], [6.5, 7.5, 8.5]])
