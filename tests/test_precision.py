"""What bfloat16 changes: products, and nothing that is added up over a batch."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from gymnasium import spaces

from agents import dreamer
from agents.actions import ActionCodec
from agents.actor_critic import ActorCriticConfig
from agents.agent import Agent, AgentConfig
from configs.video_presets import ORIGINAL
from worldmodel import ClockworkConfig, pretraining
from worldmodel.clockwork_video import ClockworkVideo
from worldmodel.learner import Params, split
from worldmodel.objective import ObjectiveConfig
from worldmodel.precision import Linear, RMSNorm, normalised
from worldmodel.records import video
from worldmodel.video_model import Clips

SHAPES = {"image": (64, 64, 3)}
SMALL = {"strides": (1, 2), "deter": 16, "hidden": 16, "stoch": 4, "conv_depth": 2}
MODELS = {
    "video": replace(ORIGINAL, **SMALL, embed=16, image_std=0.4),
    "agent": ClockworkConfig(**SMALL, embed=16),
}


@dataclass(frozen=True)
class Case:
    """A loss, and all that it is of."""

    loss: Any
    arguments: tuple[Any, ...]


def make_case(name: str, dtype: str) -> Case:
    """The loss of video pretraining or of an agent, on random records."""
    model = replace(MODELS[name], dtype=dtype)
    if name == "video":
        objective = ObjectiveConfig(kl="elbo")
        made: Any = ClockworkVideo(model, SHAPES, 0, objective, nnx.Rngs(0))
        world, width, make_loss = made, 0, pretraining.make_loss
    else:
        config = AgentConfig(model=model, behaviour=ActorCriticConfig(horizon=2))
        codec = ActionCodec(spaces.Box(-1, 1, (2,)))
        made = Agent(config, SHAPES, codec, nnx.Rngs(0))
        world, width, make_loss = made.model, made.model.action_width, dreamer.make_loss
    graph, params = split(made)
    params = moved(params)
    keys = jax.random.split(jax.random.key(2), 3)
    image = jax.random.randint(keys[0], (4, 8, 64, 64, 3), 0, 256).astype(jnp.uint8)
    records = video({"image": image}, width, world.lead)
    if name == "video":
        aux: Any = pretraining.initial_aux(world, 4, streams=False)
        batch: Any = Clips(records, jnp.zeros(4, bool))
    else:
        aux, batch = dreamer.initial_aux(params, made), acted(records, *keys[1:])
    return Case(make_loss(graph), (params, aux, batch, jax.random.key(3)))


def moved(params: Params) -> Params:
    """No layer at 0, so that every gradient is something."""
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    pairs = zip(leaves, keys, strict=True)
    return jax.tree.unflatten(tree, [x + 0.05 * jax.random.normal(k, x.shape) for x, k in pairs])


def acted(records: Any, action_key: Any, reward_key: Any) -> Any:
    """With known actions and rewards."""
    return records._replace(
        action=jax.random.uniform(action_key, records.action.shape, minval=-1.0),
        action_mask=jnp.ones_like(records.mask),
        reward=jax.random.normal(reward_key, records.reward.shape),
    )


def equations(jaxpr: Any) -> Iterator[Any]:
    """Of a program and of all that it calls."""
    for equation in jaxpr.eqns:
        yield equation
        for value in jax.tree.leaves(equation.params, is_leaf=lambda x: hasattr(x, "eqns")):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from equations(inner)


def sums_in_half(program: Any) -> list[str]:
    """Sums of more than one number that bfloat16 adds up."""
    return [
        str(e)
        for e in equations(program.jaxpr)
        if e.primitive.name in ("reduce_sum", "cumsum", "reduce_window_sum", "scatter-add")
        and e.outvars[0].aval.dtype == jnp.bfloat16
        and (e.primitive.name != "reduce_sum" or e.invars[0].aval.size > e.outvars[0].aval.size)
    ]


@pytest.mark.parametrize("name", [pytest.param("video", marks=pytest.mark.slow), "agent"])
def test_no_sum_is_bfloat16(name: str) -> None:
    """In no loss, metric or gradient, of biases, norms or anything else."""
    case = make_case(name, "bfloat16")
    program = jax.make_jaxpr(jax.value_and_grad(case.loss, has_aux=True))(*case.arguments)
    assert any(v.aval.dtype == jnp.bfloat16 for e in equations(program.jaxpr) for v in e.outvars)
    assert not sums_in_half(program)


def test_the_search_for_sums_finds_one() -> None:
    """Inside a scan, of a plain layer's bias."""
    layer = nnx.Linear(2, 3, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    graph, params = split(layer)

    def loss(params: Params) -> jax.Array:
        module = nnx.merge(graph, nnx.State(params))
        return jax.lax.scan(lambda c, x: (c + module(x).sum(), None), 0.0, jnp.ones((5, 4, 2)))[0]

    assert sums_in_half(jax.make_jaxpr(jax.grad(loss))(params))


@pytest.mark.parametrize("name", ["video", pytest.param("agent", marks=pytest.mark.slow)])
def test_an_update_in_bfloat16_is_near_that_in_float32(name: str) -> None:
    """The loss, and every array's gradient, by the norm of what is off and by direction.

    Seen: 0.12 of the norm, in the encoder's convolutions. The critic answers by its loss: its
    targets are imagined returns in bins of 5%, and which of two holds one is soon another.
    """
    values = {}
    for dtype in ("float32", "bfloat16"):
        case = make_case(name, dtype)
        (loss, (_, metrics)), grads = jax.jit(jax.value_and_grad(case.loss, has_aux=True))(
            *case.arguments
        )
        losses = float(loss), float(metrics.get("loss/critic", 0.0))
        values[dtype] = losses, jax.tree_util.tree_leaves_with_path(grads)
    (exact, full), (losses, half) = values["float32"], values["bfloat16"]
    assert losses == pytest.approx(exact, rel=0.01)
    for (path, a), (_, b) in zip(full, half, strict=True):
        assert a.dtype == b.dtype == jnp.float32
        error, cosine = off(np.float64(a), np.float64(b))
        where = jax.tree_util.keystr(path), error, cosine
        assert path[0].key == "critic" or (error < 0.25 and cosine > 0.97), where


def off(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """|b - a| / |a| and the cosine of the two; 0 and 1 where both are 0."""
    size, other = np.linalg.norm(a), np.linalg.norm(b)
    if size == other == 0:
        return 0.0, 1.0
    return float(np.linalg.norm(b - a) / size), float(np.sum(a * b) / (size * other))


@pytest.mark.parametrize("bias", [True, False])
def test_linear_in_float32_is_nnx_own(bias: bool) -> None:
    """Parameters, values and gradients, bit by bit."""
    x = jax.random.normal(jax.random.key(0), (5, 4, 3))
    results = []
    for kind in (Linear, nnx.Linear):
        graph, params = split(kind(3, 2, use_bias=bias, rngs=nnx.Rngs(0)))

        @jax.jit
        def run(params: Params, x: jax.Array, graph: nnx.GraphDef = graph) -> Any:
            y, back = jax.vjp(lambda p, x: nnx.merge(graph, nnx.State(p))(x), params, x)
            return params, y, back(jnp.sin(y))

        results.append(run(params, x))
    jax.tree.map(np.testing.assert_array_equal, *results)


def test_the_norm_is_the_librarys():
    """Output, and the gradients for input and scale, of any number of axes; by hand once."""
    own, library = RMSNorm(5, rngs=nnx.Rngs(0)), nnx.RMSNorm(5, rngs=nnx.Rngs(0))
    keys = jax.random.split(jax.random.key(0), 3)
    x, dy = 3 * jax.random.normal(keys[0], (2, 3, 5)), jax.random.normal(keys[1], (2, 3, 5))
    scale = jax.random.normal(keys[2], (5,))

    def found(module: nnx.RMSNorm) -> Any:
        graph, state = nnx.split(module)

        def weighed(scale: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
            y = nnx.merge(graph, jax.tree.map(lambda _: scale, state))(x)
            return jnp.sum(dy * y), y

        gradients, y = jax.grad(weighed, argnums=(0, 1), has_aux=True)(scale, x)
        return y, *gradients

    for one, other in zip(found(own), found(library), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    by_hand = normalised(jnp.array([1.0, 7.0]), jnp.array([2.0, 10.0]), 0.0)  # √(50/2) = 5
    np.testing.assert_allclose(by_hand, [0.4, 14.0], rtol=1e-6)


def test_the_norm_of_bfloat16_is_summed_in_float32():
    x = jax.random.normal(jax.random.key(0), (4, 300)).astype(jnp.bfloat16)
    y = RMSNorm(300, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))(x)
    whole = RMSNorm(300, rngs=nnx.Rngs(0))(x.astype(jnp.float32))
    assert y.dtype == jnp.bfloat16
    np.testing.assert_array_equal(y, whole.astype(jnp.bfloat16))
