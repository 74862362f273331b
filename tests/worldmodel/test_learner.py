"""The update: splits and joins losslessly, clips, warms up, counts, and descends."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jaxtyping import PRNGKeyArray

from configs.video_presets import OPTIMIZER
from worldmodel import (
    ClockworkVAE,
    ObjectiveConfig,
    OptimizerConfig,
    Records,
    make_optimizer,
    make_update,
    model_loss,
)
from worldmodel.learner import Params, averaged, initial_state, join, split
from worldmodel.networks import symlog

GOLDEN = Path(__file__).parents[1] / "golden"
PLAIN = OptimizerConfig(lr=0.5, eps=1e-8, clip=1e9, warmup=0)


def quadratic(params: Params, aux: Any, batch: Any, key: jax.Array) -> Any:
    """Descends to ``batch``; aux counts the calls."""
    return jnp.sum((params["x"] - batch) ** 2), (aux + 1, {"distance": params["x"][0]})


def test_split_and_join_are_inverse(cases: Any) -> None:
    model = cases.model()
    graph, params = split(model)
    again = split(join(graph, params))[1]
    jax.tree.map(np.testing.assert_array_equal, params, again)
    features = jnp.ones((2, model.features))
    decoded = [m.decode(features)["vector"] for m in (model, join(graph, params))]
    np.testing.assert_array_equal(*decoded)


def test_first_step_of_adam_by_hand() -> None:
    """Adam's first step is lr in the direction of the gradient's sign, whatever its size."""
    optimizer = make_optimizer(PLAIN)
    state = initial_state({"x": jnp.array([3.0, -1.0])}, jnp.zeros(()), optimizer)
    state, metrics = make_update(quadratic, optimizer)(state, jnp.zeros(2), jax.random.key(0))
    np.testing.assert_allclose(state.params["x"], [2.5, -0.5], rtol=1e-5)
    assert state.step == 1 and state.aux == 1
    assert metrics["distance"] == 3
    assert metrics["grad_norm"] == pytest.approx(np.sqrt(36 + 4))


def test_averaged_by_hand_and_in_the_update() -> None:
    """The first update's parameters, then 10/11 of the way, 10/12, ..., at least 1/200."""
    seen = [
        float(averaged(jnp.zeros(()), jnp.ones(()), jnp.array(n))) for n in (0, 1, 2, 1990, 1e5)
    ]
    np.testing.assert_allclose(seen, [1, 10 / 11, 10 / 12, 1 / 200, 1 / 200], rtol=1e-6)

    optimizer = make_optimizer(PLAIN)
    state = initial_state({"x": jnp.array([3.0])}, jnp.zeros(()), optimizer, keep_average=True)
    update, by_hand = make_update(quadratic, optimizer), 3.0
    for n in range(4):
        state, _ = update(state, jnp.zeros(1), jax.random.key(0))
        by_hand += 10 / (10 + n) * (float(state.params["x"][0]) - by_hand)
        np.testing.assert_allclose(state.average["x"], [by_hand], rtol=1e-6)
    assert abs(by_hand - float(state.params["x"][0])) > 0.01


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_an_update_that_is_not_finite_leaves_the_state_as_it_was(bad: float) -> None:
    """Parameters, optimiser, aux, average and count; a huge batch overflows in the gradient's norm.
    The next good update goes on as if there had been none."""
    optimizer = make_optimizer(PLAIN)
    update = make_update(quadratic, optimizer)
    key, good = jax.random.key(0), jnp.zeros(2)

    def fresh() -> Any:
        start = {"x": jnp.array([3.0, -1.0])}
        return update(initial_state(start, jnp.zeros(()), optimizer, True), good, key)[0]

    before, once = jax.device_get((fresh(), fresh()))
    state, metrics = update(fresh(), jnp.array([0.0, bad]), key)
    assert metrics["update/skipped"] == 1
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(state), before)
    state, metrics = update(state, good, key)
    assert metrics["update/skipped"] == 0 and state.step == 2
    expected = update(jax.tree.map(jnp.asarray, once), good, key)[0]
    jax.tree.map(np.testing.assert_array_equal, *jax.device_get((state, expected)))


def test_no_average_where_none_is_asked_for() -> None:
    optimizer = make_optimizer(PLAIN)
    state = initial_state({"x": jnp.array([3.0])}, jnp.zeros(()), optimizer)
    state, _ = make_update(quadratic, optimizer)(state, jnp.zeros(1), jax.random.key(0))
    assert state.average == ()


def test_clip_is_of_the_global_norm() -> None:
    """Not element by element: directions stay."""
    optimizer = make_optimizer(OptimizerConfig(lr=1.0, eps=1e8, clip=1.0, warmup=0))
    params = {"x": jnp.zeros(2)}  # with a large eps, Adam's first step is lr·gradient/eps
    grads = {"x": jnp.array([30.0, 40.0])}
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    np.testing.assert_allclose(updates["x"] * 1e8, [-0.6, -0.8], rtol=1e-4)


def test_epsilon_hat_is_keras_own() -> None:
    """Six steps of a Keras optimizer from 0, gradients of 1e-7 to 1e2; at 1e-4, epsilon is felt.

    To regenerate (Keras 3.15, JAX back end): build Keras' Adam (learning_rate 3e-4, epsilon
    1e-4) on a variable of 24 zeros, apply the rows of `gradients` in turn, and save the
    variable after each as `params`.
    """
    with np.load(GOLDEN / "keras_adam.npz", allow_pickle=False) as file:
        gradients, expected = file["gradients"], file["params"]
    optimizer = make_optimizer(replace(OPTIMIZER, clip=1e9))
    params = {"x": jnp.zeros(24)}
    state = optimizer.init(params)
    for gradient, after in zip(gradients, expected, strict=True):
        updates, state = optimizer.update({"x": jnp.asarray(gradient)}, state, params)
        params = optax.apply_updates(params, updates)
        np.testing.assert_allclose(params["x"], after, rtol=2e-4)


def test_epsilon_hat_keeps_adams_state() -> None:
    """So that a run goes on from a checkpoint of either."""
    states = [
        make_optimizer(replace(OPTIMIZER, eps_hat=eps_hat)).init({"x": jnp.ones(3)})
        for eps_hat in (False, True)
    ]
    assert jax.tree.structure(states[0]) == jax.tree.structure(states[1])


def test_warmup_rises_linearly_from_zero() -> None:
    optimizer = make_optimizer(OptimizerConfig(lr=1.0, eps=1e-8, clip=1e9, warmup=4))
    params = {"x": jnp.zeros(1)}
    state, sizes = optimizer.init(params), []
    for _ in range(6):
        updates, state = optimizer.update({"x": jnp.ones(1)}, state, params)
        sizes.append(float(-updates["x"][0]))
    np.testing.assert_allclose(sizes, [0, 0.25, 0.5, 0.75, 1, 1], atol=1e-4)


def waves(cases: Any, model: ClockworkVAE) -> Records:
    """Four rows of one sine at other phases; its period is 12 steps."""
    records = cases.records(model, 4, 24, 0)
    time = np.arange(records.mask.shape[1])[None] + 3 * np.arange(4)[:, None]
    wave = jnp.asarray(np.sin(2 * np.pi * time / 12), jnp.float32)
    return records._replace(obs={"vector": jnp.stack([wave, 2 * wave, -wave], axis=-1)})


@pytest.mark.learning
def test_the_model_learns_to_see_and_to_foresee(
    cases: Any, seeds: list[int], margins: Callable[..., None]
) -> None:
    """Open loop over a whole period it is far nearer than a constant could be: its error is at most
    0.02 of the variance, of which the margin is a share."""
    config = cases.config(strides=(1, 4), deter=24, hidden=32, stoch=4)

    def make(key: PRNGKeyArray) -> ClockworkVAE:
        return ClockworkVAE(config, {"vector": (3,)}, 2, nnx.Rngs(key))

    model = nnx.eval_shape(make, jax.random.key(0))
    graph, _ = split(model)
    records = waves(cases, model)

    def loss(params: Params, aux: Any, records: Records, key: jax.Array) -> Any:
        model = join(graph, params)
        beliefs = model.observe(records, model.draw_noise(key, 4, 24))
        value, metrics = model_loss(model, records, beliefs, ObjectiveConfig())
        return value, (aux, metrics)

    optimizer = make_optimizer(OptimizerConfig(lr=5e-3, warmup=10))
    update, first = make_update(loss, optimizer), jax.jit(lambda key: split(make(key))[1])
    error = jax.jit(lambda params: open_loop_error(join(graph, params), records))
    shares = []
    for seed in seeds:
        state = initial_state(first(jax.random.key(seed)), jnp.zeros(()), optimizer)
        for key in jax.random.split(jax.random.key(seed), 300):
            state, metrics = update(state, records, key)
        assert all(np.isfinite(x) for x in metrics.values())
        shares.append(1 - error(state.params) / 0.02)
    margins(shares)


def open_loop_error(model: ClockworkVAE, records: Records) -> jax.Array:
    """Mean squared error of 12 imagined steps after a context of 12, of the data's variance."""
    noise = jax.tree.map(jnp.zeros_like, model.draw_noise(jax.random.key(0), 4, 24))
    beliefs = model.observe(records, noise)
    future = jax.tree.map(lambda x: x[:, 9:21], records.after(model.lead))
    still = jax.tree.map(jnp.zeros_like, model.imagination_noise(jax.random.key(0), 4, 12))
    states = model.imagine(model.states_at(beliefs, 8), future.action, future.action_mask, still)
    target = symlog(future.obs["vector"])
    return jnp.mean((model.decode(states[0].features)["vector"] - target) ** 2) / jnp.var(target)
