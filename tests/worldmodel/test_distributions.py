"""Latents: KL and entropy against closed forms written otherwise and Monte-Carlo estimates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from worldmodel.distributions import Categorical, Gaussian, Stats

SAMPLES = 200_000


def gaussian(seed: int) -> Stats:
    rng = np.random.default_rng(seed)
    stats = Gaussian(4, 0.1).stats(*(jnp.asarray(rng.normal(size=(3, 4)), jnp.float32),) * 2)
    return {**stats, "mean": jnp.asarray(rng.normal(size=(3, 4)), jnp.float32)}


def categorical(seed: int) -> Stats:
    raw = np.random.default_rng(seed).normal(size=(3, 10))
    return Categorical(2, 5, 0.01).stats(jnp.asarray(2 * raw, jnp.float32))


def log_density(stats: Stats, z: jax.Array) -> jax.Array:
    """Of samples [n, 3, S]: [n, 3]. Written apart from the code under test."""
    if "mean" in stats:
        mean, std = (np.asarray(stats[k], np.float64) for k in ("mean", "std"))
        x = np.asarray(z, np.float64)
        return np.log(np.exp(-((x - mean) ** 2) / (2 * std**2)) / (std * np.sqrt(2 * np.pi))).sum(
            -1
        )
    onehot = np.asarray(z).reshape(*z.shape[:-1], 2, 5)
    probability = (onehot * np.exp(np.asarray(stats["logits"]))).sum(-1)
    return np.log(probability).sum(-1)


def test_gaussian_kl_closed_form() -> None:
    """½ [tr(Σp⁻¹ Σq) + (μp-μq)ᵀ Σp⁻¹ (μp-μq) - k + ln(det Σp / det Σq)] in matrices."""
    q, p = gaussian(0), gaussian(1)
    for n in range(3):
        sigma_q, sigma_p = (np.diag(np.asarray(s["std"][n], np.float64) ** 2) for s in (q, p))
        gap = np.asarray(p["mean"][n] - q["mean"][n], np.float64)
        inverse = np.linalg.inv(sigma_p)
        logdet = np.log(np.linalg.det(sigma_p) / np.linalg.det(sigma_q))
        expected = 0.5 * (np.trace(inverse @ sigma_q) + gap @ inverse @ gap - 4 + logdet)
        assert Gaussian(4, 0.1).kl(q, p)[n] == pytest.approx(expected, rel=1e-5)


def test_categorical_kl_closed_form() -> None:
    q, p = categorical(0), categorical(1)
    expected = np.zeros(3)
    for n in range(3):
        for group in range(2):
            for c in range(5):
                a, b = (float(jnp.exp(s["logits"][n, group, c])) for s in (q, p))
                expected[n] += a * np.log(a / b)
    np.testing.assert_allclose(Categorical(2, 5, 0.01).kl(q, p), expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("latent", "make"),
    [(Gaussian(4, 0.1), gaussian), (Categorical(2, 5, 0.01), categorical)],
    ids=["gaussian", "categorical"],
)
def test_monte_carlo(latent: Gaussian | Categorical, make: object) -> None:
    """KL = E_q[log q - log p] and H = -E_p[log p], within five standard errors."""
    q, p = make(0), make(1)  # type: ignore[operator]
    noise = latent.noise(jax.random.key(0), (SAMPLES, 3))
    wide = jax.tree.map(lambda x: jnp.broadcast_to(x, (SAMPLES, *x.shape)), q)
    z = latent.sample(wide, noise)
    estimates = {
        "kl": (log_density(q, z) - log_density(p, z), latent.kl(q, p)),
        "entropy": (-log_density(q, z), latent.entropy(q)),
    }
    for draws, exact in estimates.values():
        error = draws.std(0) / np.sqrt(SAMPLES)
        assert np.all(np.abs(draws.mean(0) - exact) < 5 * error + 1e-6)


def test_kl_to_itself_is_zero() -> None:
    for latent, stats in (
        (Gaussian(4, 0.1), gaussian(0)),
        (Categorical(2, 5, 0.01), categorical(0)),
    ):
        np.testing.assert_allclose(latent.kl(stats, stats), 0, atol=1e-6)


def test_gaussian_numbers() -> None:
    latent = Gaussian(1, 0.25)
    stats = latent.stats(jnp.array([2.0]), jnp.array([0.0]))
    assert stats["std"][0] == pytest.approx(np.log(2) + 0.25)
    assert latent.sample(stats, jnp.array([-1.0]))[0] == pytest.approx(1.75 - np.log(2))
    assert latent.mode(stats)[0] == 2
    assert latent.width == 1 and latent.outputs == (1, 1)


def test_categorical_numbers() -> None:
    """Probabilities are mixed with the uniform; samples are one-hot and follow the noise."""
    latent = Categorical(2, 4, 0.2)
    stats = latent.stats(jnp.array([100.0, 0, 0, 0, 0, 0, 0, 100.0]))
    np.testing.assert_allclose(jnp.exp(stats["logits"][0]), [0.85, 0.05, 0.05, 0.05], rtol=1e-5)
    assert latent.mode(stats).tolist() == [1, 0, 0, 0, 0, 0, 0, 1]
    noise = jnp.zeros((2, 4)).at[0, 2].set(9.0)
    assert latent.sample(stats, noise).tolist() == [0, 0, 1, 0, 0, 0, 0, 1]
    assert latent.width == 8 and latent.outputs == (8,)


def test_categorical_gradient_is_that_of_the_probabilities() -> None:
    latent, weight = Categorical(1, 3, 0.0), jnp.array([1.0, 2.0, 5.0])
    raw, noise = jnp.array([0.1, 0.2, 0.3]), jnp.zeros((1, 3))
    through = jax.grad(lambda x: latent.sample(latent.stats(x), noise) @ weight)(raw)
    expected = jax.grad(lambda x: jax.nn.softmax(x) @ weight)(raw)
    np.testing.assert_allclose(through, expected, rtol=1e-5)


def test_categorical_samples_at_their_probabilities() -> None:
    latent, stats = Categorical(2, 5, 0.01), categorical(3)
    wide = jax.tree.map(lambda x: jnp.broadcast_to(x, (SAMPLES, *x.shape)), stats)
    z = latent.sample(wide, latent.noise(jax.random.key(1), (SAMPLES, 3)))
    shares = z.mean(0).reshape(3, 2, 5)
    np.testing.assert_allclose(shares, jnp.exp(stats["logits"]), atol=5e-3)
