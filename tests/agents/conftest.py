"""A small agent, compiled in seconds, whose every parameter matters."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import jaxtyping
import pytest
from flax import nnx

from agents.actions import ActionCodec
from agents.actor_critic import ActorCriticConfig
from agents.agent import Agent, AgentConfig
from agents.latent import LatentConfig
from worldmodel.clockwork import ClockworkConfig
from worldmodel.learner import join, split
from worldmodel.records import Records

TINY = AgentConfig(
    model=ClockworkConfig(strides=(1, 2), stoch=3, deter=8, hidden=8, embed=6),
    behaviour=ActorCriticConfig(horizon=3, hidden=8, layers=1),
)
MakeAgent = Callable[..., Agent]


@pytest.fixture
def make_agent() -> MakeAgent:
    """Factory of agents: (action space, strides, codec, phases, marks, weight of the window's
    decoder, **behaviour settings); no layer starts at 0."""

    def make(
        space: gymnasium.Space[Any],
        strides: tuple[int, ...] = (1, 2),
        codec: Any = "chunk",
        all_phases: bool = True,
        mark_plans: bool = False,
        window_decoder: float = 0.0,
        **behaviour: Any,
    ) -> Agent:
        config = replace(
            TINY,
            codec=codec,
            mark_plans=mark_plans,
            keep_plan=0.5 * mark_plans,
            window_decoder=window_decoder,
            latent=LatentConfig(size=3),
            model=replace(TINY.model, strides=strides, all_phases=all_phases),
            behaviour=replace(TINY.behaviour, **behaviour),
        )
        primitives = ActionCodec(space, config.actions)
        graph, params = split(Agent(config, {"x": (4,)}, primitives, nnx.Rngs(0)))
        leaves, tree = jax.tree.flatten(params)
        keys = jax.random.split(jax.random.key(1), len(leaves))
        moved = [x + 0.1 * jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)]
        agent: Agent = join(graph, jax.tree.unflatten(tree, moved))
        return agent

    return make


@pytest.fixture
def make_records() -> Callable[[int, int, int], Records]:
    """Factory of (batch, lead+length, action width): random sequences, each of one new episode."""

    def make(batch: int, length: int, width: int) -> Records:
        keys = jax.random.split(jax.random.key(5), 3)
        shape = (batch, length)
        no = jnp.zeros(shape, bool)
        return Records(
            obs={"x": jax.random.normal(keys[0], (*shape, 4))},
            action=jax.random.uniform(keys[1], (*shape, width), minval=-1.0),
            action_mask=jnp.ones(shape),
            reward=jax.random.normal(keys[2], shape),
            terminal=no,
            is_first=no.at[:, 0].set(True),
            mask=jnp.ones(shape),
        )

    return make


@pytest.fixture(scope="module")
def unchecked() -> Iterator[None]:
    """Without the checks of shapes and keys, which other tests make of the same functions: a
    learning test calls them by the thousand."""
    jaxtyping.config.update("jaxtyping_disable", True)
    with jax.debug_key_reuse(False):
        yield
    jaxtyping.config.update("jaxtyping_disable", False)
