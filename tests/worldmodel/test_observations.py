"""Vectors by their own mean and deviation: the estimate, the units, the likelihood."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.models import drawn
from flax import nnx

import worldmodel
from worldmodel import ClockworkVAE, ObjectiveConfig, OptimizerConfig
from worldmodel.clockwork_video import ClockworkVideo
from worldmodel.learner import initial_state, join, make_optimizer, make_update, split
from worldmodel.networks import symexp, symlog
from worldmodel.objective import log_likelihood
from worldmodel.observations import SCALE_MEMORY, SMALLEST_SCALE, estimate_scale
from worldmodel.openloop import predict
from worldmodel.pretraining import estimate, initial_aux, make_loss
from worldmodel.records import video
from worldmodel.video_model import Clips

X = np.array([[[1.0, 5.0], [3.0, 5.0], [99.0, 99.0]]])  # [B, T, n] in symlog units
MASK = jnp.array([[1.0, 1.0, 0.0]])


def built(cases: Any, shapes: dict[str, tuple[int, ...]], **changes: object) -> Any:
    """A model that keeps a scale, split."""
    config = cases.config(scale_vectors=True, **changes)
    return split(drawn(lambda: ClockworkVAE(config, shapes, 0, nnx.Rngs(0)), 0.0))


def obs_of(x: np.ndarray) -> dict[str, jax.Array]:
    """The observation "x" whose symlog is ``x``."""
    return {"x": symexp(jnp.asarray(x, jnp.float32))}


def test_estimate_scale_by_hand(cases: Any) -> None:
    """Real records 1, 3 and 5, 5; then 7, 9 and 5, 5 count as much; the padded 99 never."""
    _, params = built(cases, {"x": (2,)})
    once = estimate_scale(params, obs_of(X), MASK)["scale"]
    np.testing.assert_allclose(once["mean"]["x"], [2, 5], rtol=1e-5)
    np.testing.assert_allclose(once["square"]["x"], [5, 25], rtol=1e-5)  # (1 + 9) / 2
    again = estimate_scale(params | {"scale": once}, obs_of(X + [6, 0]), MASK)["scale"]
    np.testing.assert_allclose(again["mean"]["x"], [5, 5], rtol=1e-5)  # (2 + 8) / 2
    np.testing.assert_allclose(again["square"]["x"], [35, 25], rtol=1e-5)  # (5 + 65) / 2
    assert again["batches"] == 2
    graph = built(cases, {"x": (2,)})[0]
    mean, std = join(graph, params | {"scale": again}).scale.moments("x")
    np.testing.assert_allclose(mean, [5, 5], rtol=1e-5)
    np.testing.assert_allclose(std, [np.sqrt(35 - 25), SMALLEST_SCALE], rtol=1e-4)


def test_a_loop_of_one_s_own_estimates_the_scale(cases: Any) -> None:
    """By the line that docs/guide/world-model.md gives."""
    model = ClockworkVAE(cases.config(scale_vectors=True), {"x": (2,)}, 0, nnx.Rngs(0))
    params = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    nnx.update(model, worldmodel.estimate_scale(params, obs_of(X), MASK))
    assert model.scale is not None
    np.testing.assert_allclose(model.scale.moments("x")[0], [2, 5], rtol=1e-5)


def test_the_estimate_forgets_at_last_and_never_learns_from_nothing(cases: Any) -> None:
    _, params = built(cases, {"x": (2,)})
    old = params["scale"] | {"batches": jnp.array(10.0 * SCALE_MEMORY)}
    new = estimate_scale(params | {"scale": old}, obs_of(X), MASK)["scale"]
    np.testing.assert_allclose(new["mean"]["x"], np.array([2, 5]) / SCALE_MEMORY, rtol=1e-4)
    same = estimate_scale(params | {"scale": old}, obs_of(X), 0 * MASK)["scale"]
    jax.tree.map(np.testing.assert_array_equal, same, old)


def scaled(cases: Any) -> tuple[Any, Any]:
    """A model whose scale of "x" is μ = (2, 5), σ = (1, 0.1); and the same without a scale."""
    shapes = {"x": (2,), "pov": (64, 64, 1)}
    graph, params = built(cases, shapes)
    params = estimate_scale(params, obs_of(X), MASK)
    plain = drawn(lambda: ClockworkVAE(cases.config(), shapes, 0, nnx.Rngs(0)), 0.0)
    return join(graph, params), plain


def test_units_and_back(cases: Any) -> None:
    """(symlog x - μ) / σ; what is decoded is μ + σ of that again; images are as they are."""
    model, plain = scaled(cases)
    pov = jnp.full((1, 3, 64, 64, 1), 7, jnp.uint8)
    obs = obs_of(X) | {"pov": pov}
    units = model.units(obs)
    np.testing.assert_allclose(units["x"][0, :2], [[-1, 0], [1, 0]], atol=1e-4)
    np.testing.assert_allclose(plain.units(obs)["x"], symlog(obs["x"]), rtol=1e-6)
    assert units["pov"] is pov
    features = jax.random.normal(jax.random.key(0), (4, model.features))
    ours, theirs = model.decode(features), plain.decode(features)
    expected = np.asarray(theirs["x"]) * np.array([1, 0.1]) + np.array([2, 5])
    np.testing.assert_allclose(ours["x"], expected, rtol=1e-4)
    np.testing.assert_array_equal(ours["pov"], theirs["pov"])


def test_what_is_not_predicted_is_read_and_never_decoded(cases: Any) -> None:
    """Neither weights nor likelihood nor pictures of it; the scale of vectors is of all."""
    shapes = {"x": (2,), "y": (1,), "pov": (32, 32, 1)}
    config = cases.config(scale_vectors=True)
    model = drawn(lambda: ClockworkVAE(config, shapes, 0, nnx.Rngs(0), predicted=("pov", "y")), 0.1)
    assert set(model.decoder.parts) == {"pov", "y"} and set(model.encoder.parts) == set(shapes)
    assert set(model.scale.mean) == {"x", "y"}
    means = model.decode(jnp.zeros((1, 9, model.features)))
    assert set(means) == set(model.to_observations(means)) == {"pov", "y"}
    obs = {n: jax.random.uniform(jax.random.key(0), (1, 9, *shape)) for n, shape in shapes.items()}
    assert set(log_likelihood(model, obs, means)) == {"pov", "y"}
    whole = jax.tree.map(lambda x: x[:, :8], obs)
    loop = jax.eval_shape(
        lambda: predict(model, video(whole, lead=model.lead), 0, jax.random.key(1))
    )
    assert set(loop.true) == set(loop.predicted) == {"pov", "y"}
    for wrong in ((), ("z",)):
        with pytest.raises(ValueError, match="predicted: expected some of x, y, pov, received"):
            ClockworkVAE(config, shapes, 0, nnx.Rngs(0), predicted=wrong)


def test_the_way_back_to_observations(cases: Any) -> None:
    """Whatever axes are before, and whether or not the model scales vectors."""
    for model in scaled(cases):
        for axes in ((), (3,), (2, 1, 3)):
            means = {
                "pov": jnp.full((*axes, 64, 64, 1), 1.2),
                "x": jnp.full((*axes, 2), np.log(3.0)),
            }
            obs = model.to_observations(means)
            assert (obs["pov"] == 255).all() and obs["pov"].dtype == jnp.uint8
            np.testing.assert_allclose(obs["x"], np.full((*axes, 2), 2.0), rtol=1e-5)


def test_likelihood_is_a_density_in_symlog_units(cases: Any) -> None:
    """`vector_std` counts in deviations: log N(x; m, (vector_std·σ)²)."""
    model, _ = scaled(cases)
    x = X[:, :2]
    means = {"x": jnp.asarray(x + [0.5, 0.2], jnp.float32)}
    result = log_likelihood(model, obs_of(x), means)["x"]
    std = model.config.vector_std * np.array([1, 0.1])
    density = -0.5 * (np.array([0.5, 0.2]) / std) ** 2 - np.log(std * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(result, np.full((1, 2), density.sum()), rtol=1e-3)


def test_a_small_dimension_is_read_like_a_large_one(cases: Any) -> None:
    """The same movement, 0.2 and 2 wide, is the same to a model that has seen it."""
    wave = np.sin(np.linspace(0, 20, 64))[None, :, None]
    x = wave * [0.2, 2.0] + [1.0, -3.0]
    graph, params = built(cases, {"x": (2,)})
    params = estimate_scale(params, obs_of(x), jnp.ones((1, 64)))
    units = join(graph, params).units(obs_of(x))["x"]
    np.testing.assert_allclose(units[..., 0], units[..., 1], atol=1e-3)
    assert float(units.std()) == pytest.approx(1.0, abs=1e-3)


def test_updates_leave_the_scale_to_the_estimate(cases: Any) -> None:
    """Neither Adam nor the average moves it elsewhere; all else is descended."""
    config, shapes = cases.config(scale_vectors=True, window="lookahead"), {"x": (2,)}
    objective = ObjectiveConfig()
    model = drawn(lambda: ClockworkVideo(config, shapes, 0, objective, nnx.Rngs(0)), 0.0)
    graph, params = split(model)
    records = cases.records(model, 2, 8, 0)._replace(obs=obs_of(np.tile(X[:, :2], (2, 4, 1))))
    clips = Clips(records, jnp.zeros(2, bool))
    expected = estimate(params, clips)["scale"]
    optimizer = make_optimizer(OptimizerConfig(warmup=0))
    update = make_update(make_loss(graph), optimizer, estimate)
    state = initial_state(params, initial_aux(model, 2, False), optimizer, keep_average=True)
    before = jax.tree.map(np.asarray, params["decoder"])
    state, _ = update(state, clips, jax.random.key(0))
    for kept in (state.params, state.average):
        jax.tree.map(np.testing.assert_array_equal, kept["scale"], expected)
        moved = jax.tree.map(lambda a, b: bool(np.any(a != b)), kept["decoder"], before)
        assert all(jax.tree.leaves(moved))
