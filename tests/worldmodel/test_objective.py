"""The objective by plain loops, what each half of a balanced KL trains, and the likelihoods."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.models import drawn
from flax import nnx

from worldmodel import Belief, ClockworkVAE, ObjectiveConfig, model_loss
from worldmodel.level import State
from worldmodel.objective import (
    balanced_kl,
    log_likelihood,
    masked_mean,
    normal_log_prob,
    sequence_kl,
    tick_masks,
)


def test_masked_mean() -> None:
    x, mask = jnp.array([1.0, jnp.nan, 3.0]), jnp.array([1.0, 0.0, 1.0])
    assert masked_mean(x, mask) == 2
    assert masked_mean(x, jnp.zeros(3)) == 0


def test_normal_log_prob() -> None:
    expected = np.log(np.exp(-0.5 * (0.7 / 0.4) ** 2) / (0.4 * np.sqrt(2 * np.pi)))
    assert normal_log_prob(jnp.array(1.0), jnp.array(0.3), 0.4) == pytest.approx(expected, rel=1e-5)


def test_likelihoods_of_images_and_vectors(cases: Any) -> None:
    """Bytes become [0, 1], vectors symlog units; summed over an observation, per time."""
    obs_shapes = {"pov": (64, 64, 1), "state": (2,)}
    config = cases.config(image_std=0.5, vector_std=2.0)
    model = drawn(lambda: ClockworkVAE(config, obs_shapes, 0, nnx.Rngs(0)), 0.0)
    obs = {
        "pov": jnp.full((1, 3, 64, 64, 1), 255, jnp.uint8),
        "state": jnp.full((1, 3, 2), np.e - 1, jnp.float32),
    }
    means = {"pov": jnp.full((1, 3, 64, 64, 1), 0.5), "state": jnp.zeros((1, 3, 2))}
    result = log_likelihood(model, obs, means)
    constant = 0.5 * np.log(2 * np.pi)
    expected = {
        "pov": 64 * 64 * (-0.5 - np.log(0.5) - constant),
        "state": 2 * (-0.125 - np.log(2.0) - constant),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(result[name], np.full((1, 3), value), rtol=1e-5)


@pytest.mark.parametrize("kl", ["elbo", "balanced"])
@pytest.mark.parametrize("window", ["causal", "lookahead"])
def test_loss_by_a_plain_loop(cases: Any, kl: Any, window: Any) -> None:
    """Sums over the ticks that count, level by level; of a level at all phases, per chain."""
    model = cases.model(strides=(1, 2, 4), window=window)
    records = cases.records(model, 2, 8, 0, firsts=(0,))
    records = records._replace(mask=records.mask.at[1, model.lead + 5 :].set(0))
    beliefs = jax.jit(model.observe)(records, model.draw_noise(jax.random.key(0), 2, 8))
    config = ObjectiveConfig(kl=kl, free_nats=1.5)
    loss, metrics = jax.jit(lambda: model_loss(model, records, beliefs, config))()
    real = [(b, t) for b in range(2) for t in range(8) if records.mask[b, model.lead + t]]
    main = records.after(model.lead)
    means = model.decode(beliefs[0].state.features)
    nll = -np.asarray(log_likelihood(model, main.obs, means)["vector"])
    total = sum(nll[b, t] for b, t in real) / len(real)
    for index, belief in enumerate(beliefs):
        every = model.alignment(index).every
        values = np.asarray(model.latent.kl(belief.post, belief.prior))
        kls = [values[b, t // every] for b, t in real if t % every == 0]
        assert metrics[f"kl/level{index + 1}"] == pytest.approx(np.mean(kls), rel=1e-5)
        if kl == "elbo":
            chains = 4 if window == "causal" and index == 2 else 1
            total += sum(kls) / len(real) / chains
        else:
            total += 0.6 * np.mean(np.maximum(kls, 1.5))
    assert loss == pytest.approx(total, rel=1e-5)
    assert metrics["loss/model"] == loss


def belief_of(mean: jax.Array, other: jax.Array) -> Belief:
    """One tick: posterior around ``mean``, prior around ``other``, both of deviation 1."""
    ones = jnp.ones_like(mean)
    return Belief(None, {"mean": other, "std": ones}, {"mean": mean, "std": ones})  # type: ignore[arg-type]


def test_balanced_kl_trains_each_side_by_its_weight(cases: Any) -> None:
    """KL = d²/2: the prior's gradient is 0.5 times, the posterior's 0.1 times d."""
    model, config = cases.model(), ObjectiveConfig(free_nats=0.0)
    q, p = jnp.array([3.0, 0.0, 0.0]), jnp.zeros(3)
    grads = jax.grad(lambda q, p: balanced_kl(model, belief_of(q, p), config), (0, 1))(q, p)
    np.testing.assert_allclose(grads[0], [0.3, 0, 0], rtol=1e-6)
    np.testing.assert_allclose(grads[1], [-1.5, 0, 0], rtol=1e-6)


def test_free_nats_cost_their_floor_and_train_nothing(cases: Any) -> None:
    model, config = cases.model(), ObjectiveConfig(free_nats=1.0)
    q, p = jnp.array([1.0, 0.0, 0.0]), jnp.zeros(3)  # half a nat
    value, grad = jax.value_and_grad(lambda q: balanced_kl(model, belief_of(q, p), config))(q)
    assert value == pytest.approx(0.6) and not np.any(grad)


def test_tick_masks_are_arranged_as_beliefs(cases: Any) -> None:
    model = cases.model(strides=(1, 2, 4))
    records = cases.records(model, 2, 8, 0, firsts=(0,))
    assert [x.shape for x in tick_masks(model, records)] == [(2, 8), (2, 4), (2, 8)]


def test_kl_per_sequence_sums_active_ticks_alone(cases: Any) -> None:
    """Slow twin; the last two frames are padding, so 6, 3 and 2 ticks count."""
    model = cases.model(actions=0, strides=(1, 2, 4), window="lookahead")
    records = cases.records(model, 2, 8, seed=0, firsts=(0,))
    records = records._replace(mask=records.mask.at[:, 6:].set(0))
    noise = model.draw_noise(jax.random.key(0), 2, 8)
    beliefs = jax.jit(model.observe)(records, noise)
    totals = np.asarray(sequence_kl(model, records, beliefs))
    assert totals.shape == (2, 3)
    for row in range(2):
        for level, ticks in enumerate((6, 3, 2)):
            post, prior = (
                {k: np.asarray(v[row], float) for k, v in stats.items()}
                for stats in (beliefs[level].post, beliefs[level].prior)
            )
            total = 0.0
            for tick in range(ticks):
                q, p = post["std"][tick], prior["std"][tick]
                gap = post["mean"][tick] - prior["mean"][tick]
                total += (np.log(p / q) + (q**2 + gap**2) / (2 * p**2) - 0.5).sum()
            np.testing.assert_allclose(totals[row, level], total, rtol=1e-4)


def test_kl_of_known_gaussians(cases: Any) -> None:
    """KL[N(1, 1) ‖ N(0, 1)] = 1/2 per dimension: 3 dimensions, 8 / K_l ticks."""
    model = cases.model(actions=0, strides=(1, 2, 4), window="lookahead")
    records = cases.records(model, 1, 8, seed=0, firsts=(0,))

    def belief(ticks: int) -> Belief:
        one = jnp.ones((1, ticks, 3))
        return Belief(State(one, one), {"mean": 0 * one, "std": one}, {"mean": one, "std": one})

    beliefs = (belief(8), belief(4), belief(2))
    np.testing.assert_allclose(sequence_kl(model, records, beliefs), [[12, 6, 3]], rtol=1e-6)


def test_kl_of_a_level_at_all_phases_is_the_mean_over_its_chains(cases: Any) -> None:
    """Only the top is at all phases: as many chains as its stride."""
    model = cases.model(actions=0, strides=(1, 2, 4))
    records = cases.records(model, 2, 8, seed=0, firsts=(0,))
    beliefs = jax.jit(model.observe)(records, model.draw_noise(jax.random.key(0), 2, 8))
    kl = [np.asarray(model.latent.kl(b.post, b.prior)).sum(1) for b in beliefs]
    expected = np.stack([kl[0], kl[1], kl[2] / 4], 1)
    np.testing.assert_allclose(sequence_kl(model, records, beliefs), expected, rtol=1e-5)
