"""A third codec, in this file alone: one primitive action, held for the K steps of a window.

Nothing else knows of it, and it trains, acts and imagines: the rest asks a codec by its interface.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from gymnasium import spaces
from jaxtyping import Array, Float, Int, PRNGKeyArray

from agents.actions import ActionCodec, ActionSample
from agents.actor_critic import ActorCriticConfig, BehaviourState
from agents.agent import CODECS, Agent
from agents.codec import Codec
from agents.config import AgentConfig
from agents.dreamer import initial_aux, make_loss
from agents.policy import initial_policy, make_policy
from analysis.agent.what_if import imagine_futures
from analysis.imagine import roll
from worldmodel.clockwork import ClockworkVAE
from worldmodel.learner import (
    Metrics,
    split,
)
from worldmodel.objective import masked_mean
from worldmodel.records import Records

STRIDE = 4
SPACE = spaces.Tuple((spaces.Box(-1, 1, (2,)), spaces.Discrete(3)))


class RepeatCodec(Codec):
    """u = one primitive action at every step, regularised by its entropy with a fixed weight."""

    weight = 1e-3

    def __init__(self, actions: ActionCodec, stride: int, marked: bool) -> None:
        super().__init__(actions, stride, marked)
        self.width = stride * (actions.width + marked)
        self.outputs, self.plan_width = actions.outputs, actions.width
        self.primitives, self.parts = actions.primitives, len(actions.factors)

    @classmethod
    def make(
        cls, config: AgentConfig, actions: ActionCodec, model: ClockworkVAE, rngs: nnx.Rngs
    ) -> "RepeatCodec":
        marked = model.action_width > actions.width
        return cls(actions, model.stride, marked)

    def sample(
        self, outputs: Float[Array, "*N P"], features: Float[Array, "*N D"], key: PRNGKeyArray
    ) -> ActionSample:
        drawn = self.actions.sample(outputs, key)
        return drawn._replace(flat=self.hold(drawn.flat))

    def mode(self, outputs: Float[Array, "*N P"]) -> Float[Array, "*N W"]:
        return self.hold(self.actions.mode(outputs))

    def plan(
        self, outputs: Float[Array, "N P"], features: Float[Array, "N D"], key: PRNGKeyArray | None
    ) -> Float[Array, "N A"]:
        if key is None:
            return self.actions.mode(outputs)
        return self.actions.sample(outputs, key).flat

    def react(
        self,
        plan: Float[Array, "N A"],
        features: Float[Array, "N D"],
        step: Int[Array, " N"],
        normal: Float[Array, "N A"] | None,
    ) -> Float[Array, "N C"]:
        return self.executed(plan, step)

    def regulate(
        self,
        aux: BehaviourState,
        outputs: Float[Array, "N P"],
        entropy: Float[Array, "N F"],
        alive: Float[Array, " N"],
        config: ActorCriticConfig,
    ) -> tuple[BehaviourState, Metrics]:
        return aux, {"actor/entropy": masked_mean(entropy.sum(-1), alive)}


@pytest.fixture
def agent(make_agent: Callable[..., Agent], monkeypatch: pytest.MonkeyPatch) -> Agent:
    monkeypatch.setitem(CODECS, "repeat", RepeatCodec)
    return make_agent(SPACE, (1, STRIDE), "repeat", keep_plan=0.5)


def slots(agent: Agent, chunk: Array) -> np.ndarray:
    """[..., K, A+1]: the primitive actions of windows, and their marks."""
    assert agent.model.action_width == 6
    return np.asarray(chunk).reshape(*chunk.shape[:-1], STRIDE, 6)


def is_held(found: np.ndarray) -> bool:
    """Whether every window is one action, marked as one plan."""
    same = np.array_equal(found[..., :5], np.broadcast_to(found[..., :1, :5], found[..., :5].shape))
    return same and np.array_equal(found[..., 5], np.broadcast_to([1, 0, 0, 0], found.shape[:-1]))


def test_it_learns(agent: Agent, make_records: Callable[..., Records]) -> None:
    """The loss moves all of the actor; its own metric is among the others, its weight stays."""
    graph, params = split(agent)
    aux, loss = initial_aux(params, agent), make_loss(graph)
    records = make_records(2, agent.model.lead + 8, agent.model.action_width)

    @jax.jit
    @partial(jax.value_and_grad, has_aux=True)
    def descend(actor: Any) -> Any:
        return loss({**params, "actor": actor}, aux, records, jax.random.key(0))

    (total, (after, metrics)), grads = descend(params["actor"])
    assert np.isfinite(float(total)) and float(metrics["actor/entropy"]) > 0
    assert all(np.any(x != 0) for x in jax.tree.leaves(grads))
    np.testing.assert_allclose(after.log_entropy_scale, np.log([1e-3, 1e-3]), rtol=1e-6)


def test_it_acts(agent: Agent) -> None:
    """Planned once per window: every environment does one action four times, then another."""
    graph, params = split(agent)
    policy, carry = make_policy(graph, STRIDE, greedy=False), initial_policy(agent, 3, STRIDE)
    done = []
    for time in range(2 * STRIDE):
        obs = {"x": jax.random.normal(jax.random.key(time), (3, 4))}
        carry, action = policy(params, carry, obs, jnp.full(3, time == 0), jax.random.key(time))
        done.append(action)
    windows = np.stack(done, 1).reshape(3, 2, STRIDE, 6)
    assert is_held(windows)
    assert np.all(windows[:, 0, 0, :2] != windows[:, 1, 0, :2])


def test_it_imagines(agent: Agent, make_records: Callable[..., Records]) -> None:
    """By its actor in open loop, and beside a primitive action that is held."""
    records = make_records(2, agent.model.lead + 16, agent.model.action_width)

    @jax.jit
    def look() -> Any:
        _, imagined = roll(agent, records, STRIDE, 2, True, jax.random.key(0))
        start = jax.tree.map(lambda x: x[:1, 0], imagined.states)
        held = agent.codec.hold(jnp.array([[0.5, -1.0, 0, 1, 0]]))
        noise = agent.model.latent.noise(jax.random.key(1), (2, 3))
        return imagined.action, imagine_futures(agent, start, held, noise).chunk

    drawn, futures = (slots(agent, x) for x in look())
    assert is_held(drawn) and is_held(futures)
    assert np.all(futures[1, ..., :5] == np.array([0.5, -1, 0, 1, 0]))
    assert np.any(drawn[0, 0] != drawn[0, 1])


def test_a_codec_that_is_not_named_is_refused(make_agent: Callable[..., Agent]) -> None:
    with pytest.raises(ValueError, match="codec: expected one of chunk, latent, received 'repeat'"):
        make_agent(SPACE, (1, STRIDE), "repeat")
