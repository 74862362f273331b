"""One class, five models: RSSM, flat Dreamer, NoTmpAbs, CW-VAE and the agent's.

Each is a setting; each observes, imagines, decodes and has a finite loss whose gradient reaches
every parameter. Then what holds for any of them: continuity, unknown actions, precision, errors.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from worldmodel import (
    ClockworkVAE,
    ObjectiveConfig,
    Records,
    State,
    model_loss,
)
from worldmodel.config import ObsShapes
from worldmodel.learner import join, split
from worldmodel.records import video

IMAGE = {"pov": (64, 64, 3)}
VECTOR = {"state": (3,)}
DICT = {"pov": (64, 64, 1), "compass": (1,), "state": (4,)}


class Case(NamedTuple):
    """A model by its settings."""

    name: str
    settings: dict[str, Any]
    actions: int
    obs: ObsShapes
    length: int

    def __repr__(self) -> str:
        return self.name


PAPER = {"window": "lookahead", "architecture": "original"}
LIST = [
    Case("RSSM", {**PAPER, "strides": (1,)}, 0, IMAGE, 4),
    Case("flat Dreamer", {"strides": (1,), "latent": "categorical"}, 2, VECTOR, 4),
    Case("NoTmpAbs", {**PAPER, "strides": (1, 1, 1)}, 0, VECTOR, 4),
    Case("CW-VAE", {**PAPER, "strides": (1, 6, 36)}, 0, VECTOR, 72),
    Case("CW-VAE with actions", {**PAPER, "strides": (1, 2, 4)}, 2, VECTOR, 10),
    Case("agent", {"strides": (1, 4)}, 2, DICT, 8),
    Case("agent categorical", {"strides": (1, 2, 4), "latent": "categorical"}, 3, VECTOR, 8),
]
CASES = {case.name: case for case in LIST}


def some(*names: str) -> Any:
    return pytest.mark.parametrize("case", [CASES[name] for name in names], ids=repr)


def all_of_them() -> Any:
    """Each; those are slow of which another shows the same."""
    slow = ("flat Dreamer", "CW-VAE with actions", "agent")
    cases = [pytest.param(case, marks=[pytest.mark.slow] * (case.name in slow)) for case in LIST]
    return pytest.mark.parametrize("case", cases, ids=repr)


def build(cases: Any, case: Case, **changes: Any) -> ClockworkVAE:
    """With all parameters off their first values: there, biases of 0 keep first states at 0."""
    config = dataclasses.replace(cases.tiny, **{**case.settings, **changes})
    return cases.lively(lambda: ClockworkVAE(config, case.obs, case.actions, nnx.Rngs(0)))


def records_of(case: Case, model: ClockworkVAE, batch: int = 2) -> Records:
    """Random sequences that start with their episodes; half of the actions are unknown."""
    rng = np.random.default_rng(0)
    obs = {}
    for name, shape in case.obs.items():
        x = rng.normal(size=(batch, case.length, *shape)).astype(np.float32)
        obs[name] = jnp.asarray(np.uint8(50 * np.abs(x)) if len(shape) == 3 else x)
    records = video(obs, case.actions, model.lead)
    action = rng.normal(size=records.action.shape).astype(np.float32)
    known = (rng.random(records.mask.shape) < 0.5).astype(np.float32)
    return records._replace(action=jnp.asarray(action), action_mask=jnp.asarray(known))


@all_of_them()
def test_five_models_are_one_class(cases: Any, case: Case) -> None:
    model = build(cases, case)
    records, noise = records_of(case, model), model.draw_noise(jax.random.key(1), 2, case.length)
    graph, params = split(model)

    def loss(params: Any) -> Any:
        model = join(graph, params)
        beliefs = model.observe(records, noise)
        value, metrics = model_loss(model, records, beliefs, ObjectiveConfig(free_nats=0.0))
        return value, (beliefs, metrics)

    (value, (beliefs, metrics)), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    assert all(np.isfinite(x) for x in (value, *metrics.values()))
    assert all(f"kl/level{n + 1}" in metrics for n in range(len(model.strides)))
    dead = [
        jax.tree_util.keystr(path)
        for path, grad in jax.tree.leaves_with_path(grads)
        if grad.size and not np.any(grad)
    ]
    zeros = [f"['levels'][{model.upper}]['context']['kernel']"]  # the original's top reads them
    assert dead == (zeros if model.config.networks.top_context else [])
    check_shapes(case, model, beliefs)


def check_shapes(case: Case, model: ClockworkVAE, beliefs: Any) -> None:
    """Ticks of every level, two imagined top windows, decoded observations."""
    for index, (belief, stride) in enumerate(zip(beliefs, model.strides, strict=True)):
        ticks = case.length if model.phased(index) else -(-case.length // stride)
        assert belief.state.features.shape == (2, ticks, model.features)
    length = 2 * model.stride
    start = model.states_at(beliefs, case.length // (2 * model.stride) * model.stride)
    states = imagine(model, start, length)
    for state, stride in zip(states, model.strides, strict=True):
        assert state.features.shape == (2, length // stride, model.features)
    means = jax.jit(model.decode)(states[0].features)
    assert {name: mean.shape[2:] for name, mean in means.items()} == case.obs


def imagine(model: ClockworkVAE, start: tuple[State, ...], length: int) -> tuple[State, ...]:
    noise = model.imagination_noise(jax.random.key(2), 2, length)
    action = jax.random.normal(jax.random.key(3), (2, length, model.action_width))
    return jax.jit(model.imagine)(start, action, jnp.ones((2, length)), noise)


@some("CW-VAE with actions", "agent categorical", "agent")
def test_imagination_goes_on_where_observing_stopped(cases: Any, case: Case) -> None:
    """The prior of the first tick to come is the same h, by the recorded actions. Looking ahead,
    only the top's: below, a tick's context is the posterior of its own block."""
    model = build(cases, case)
    records = records_of(case, model)
    noise = model.draw_noise(jax.random.key(1), 2, case.length)
    beliefs = jax.jit(model.observe)(records, noise)
    causal, stride = model.config.window == "causal", model.stride
    time = 0 if causal else stride
    main, steps = records.after(model.lead), slice(time + causal, time + causal + stride)
    noise = model.imagination_noise(jax.random.key(4), 2, stride)
    imagined = jax.jit(model.imagine)(
        model.states_at(beliefs, time), main.action[:, steps], main.action_mask[:, steps], noise
    )
    for index in range(len(model.strides)) if causal else [model.upper]:
        every = model.alignment(index).every
        tick = (time + (model.strides[index] if causal else 0)) // every
        cases.close(imagined[index].h[:, 0], beliefs[index].state.h[:, tick], 1e-5)


def test_imagine_top_is_the_top_of_imagine(cases: Any) -> None:
    """And given the top's states, `imagine` fills in the levels below as it would have."""
    model = build(cases, CASES["agent categorical"])
    imagine, imagine_top = jax.jit(model.imagine), jax.jit(model.imagine_top)
    start = tuple(model.top.initial((2,)) for _ in model.strides)
    action, known = jax.random.normal(jax.random.key(0), (2, 8, 3)), jnp.ones((2, 8))
    noise = model.imagination_noise(jax.random.key(1), 2, 8)
    states = imagine(start, action, known, noise)
    state, top = start[-1], []
    for tick in range(2):
        chunk = action[:, 4 * tick : 4 * tick + 4].reshape(2, -1)
        state = imagine_top(state, chunk, noise[-1][:, tick])
        top.append(state)
    stacked = jax.tree.map(lambda *x: jnp.stack(x, axis=1), *top)
    cases.close(stacked, states[-1], 1e-5)
    cases.close(imagine(start, action, known, noise, top=stacked), states, 1e-5)


@some("CW-VAE with actions", "agent categorical")
def test_an_unknown_action_has_no_influence(cases: Any, case: Case) -> None:
    """Whatever number stands there, the learned vector overrides it, and that one matters."""
    model = build(cases, case)
    records = records_of(case, model)
    noise = model.draw_noise(jax.random.key(1), 2, case.length)
    graph, params = split(model)

    @jax.jit
    def observe(params: Any, records: Records) -> Any:
        return join(graph, params).observe(records, noise)

    base = observe(params, records)
    unknown = records.action_mask[..., None] == 0
    other = records._replace(action=jnp.where(unknown, jnp.nan, records.action))
    jax.tree.map(np.testing.assert_array_equal, base, observe(params, other))
    moved = {**params, "unknown_action": params["unknown_action"] + 1.0}
    assert np.any(observe(moved, records)[-1].state.h != base[-1].state.h)


@some("agent")
def test_bfloat16_is_close_to_float32(cases: Any, case: Case) -> None:
    """Parameters, states and the loss stay float32; numbers within a few bfloat16 roundings."""
    results = []
    for dtype in ("float32", "bfloat16"):
        model = build(cases, case, dtype=dtype)
        assert {x.dtype for x in jax.tree.leaves(split(model)[1])} == {jnp.dtype("float32")}
        records = records_of(case, model)
        noise = model.draw_noise(jax.random.key(1), 2, case.length)

        @jax.jit
        def run(records: Records, model: ClockworkVAE = model, noise: Any = noise) -> Any:
            beliefs = model.observe(records, noise)
            return beliefs, model_loss(model, records, beliefs, ObjectiveConfig())[0]

        results.append(run(records))
    assert {x.dtype for x in jax.tree.leaves(results[1])} == {jnp.dtype("float32")}
    cases.close(results[1], results[0], 0.05)


def observe_with(model: ClockworkVAE, **changes: Any) -> Any:
    records = video({"state": jnp.zeros((1, 8, 3))}, 2, model.lead)._replace(**changes)
    return model.observe(records, model.draw_noise(jax.random.key(0), 1, 8))


def test_bad_calls_say_what_was_expected(cases: Any) -> None:
    model = build(cases, Case("agent", {"strides": (1, 4)}, 2, VECTOR, 8))
    beliefs = jax.jit(lambda: observe_with(model))()
    start = model.states_at(beliefs, 4)
    noise = model.imagination_noise(jax.random.key(1), 1, 4)
    late = jnp.zeros((1, 11), bool).at[0, model.lead + 2].set(True)
    calls = {
        "episodes to start at multiples of the top stride 4": lambda: observe_with(
            model, is_first=late
        ),
        "expected 2 floats per step, received 5": lambda: observe_with(
            model, action=jnp.zeros((1, 11, 5))
        ),
        r"expected \['state'\], received \['other'\]": lambda: observe_with(
            model, obs={"other": jnp.zeros((1, 11, 3))}
        ),
        "positive multiple of 4, received 9 records": lambda: model.observe(
            video({"state": jnp.zeros((1, 6, 3))}, 2, 3), ()
        ),
        "states_at: expected a multiple of the top stride 4": lambda: model.states_at(beliefs, 5),
        "in the sequence of 8 steps, received 8": lambda: model.states_at(beliefs, 8),
        "imagine: expected a positive multiple": lambda: model.imagine(
            start, jnp.zeros((1, 6, 2)), jnp.zeros((1, 6)), noise
        ),
        "action: expected 2 floats": lambda: model.imagine(
            start, jnp.zeros((1, 4, 3)), jnp.zeros((1, 4)), noise
        ),
        r"decode: expected features of 9 floats, received 7": lambda: model.decode(
            jnp.zeros((1, 7))
        ),
    }
    for message, call in calls.items():
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize(
    ("changes", "obs", "message"),
    [
        ({"strides": (1, 4, 6)}, VECTOR, "strides: expected 1 first and each dividing"),
        ({"stoch": 0}, VECTOR, "stoch: expected 1 or more, received 0"),
        ({"latent": "categorical", "classes": 1}, VECTOR, "classes: expected 2 or more"),
        ({"embed": 0}, VECTOR, "embed: expected 1 or more"),
        ({"image_std": 0.0}, VECTOR, "image_std: expected above 0"),
        ({}, {}, "expected at least one observation"),
        ({}, {"x": (3, 4)}, r"observation 'x': expected shape \(S, S, C\) or \(n,\)"),
        ({}, {"x": (20, 20, 3)}, "expected an image as high as wide, of 32, 48, 64, "),
        ({}, {"x": (0,)}, "observation 'x'"),
    ],
)
def test_bad_settings_say_what_was_expected(
    cases: Any, changes: dict[str, Any], obs: ObsShapes, message: str
) -> None:
    config = dataclasses.replace(cases.tiny, **changes)
    with pytest.raises(ValueError, match=message):
        ClockworkVAE(config, obs, 2, nnx.Rngs(0))


@pytest.mark.usefixtures("unchecked")  # as users have it: the types are not checked at run time
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"latent": "categorial"}, "latent: expected gaussian or categorical, received categorial"),
        ({"window": "future"}, "window: expected causal or lookahead, received future"),
        ({"architecture": "theirs"}, "architecture: expected ours or original, received theirs"),
    ],
)
def test_a_choice_that_there_is_not_is_refused(
    cases: Any, changes: dict[str, Any], message: str
) -> None:
    config = dataclasses.replace(cases.tiny, **changes)
    with pytest.raises(ValueError, match=message):
        ClockworkVAE(config, VECTOR, 2, nnx.Rngs(0))
