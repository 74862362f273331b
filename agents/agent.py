"""The agent's module: world model, heads on its top state, actor and critic. DESIGN §4.

Read next: ``dreamer.py``, the loss that trains it; ``policy.py``, how it acts.
"""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from agents.actions import ActionCodec, ActionDistribution, ActionSample, ChunkCodec
from agents.actor_critic import ActorCriticConfig
from agents.heads import Bernoulli, TwoHot, two_hot_mean
from agents.newest import Newest
from worldmodel import clock
from worldmodel.clockwork import ClockworkConfig, ClockworkVAE, ObsShapes
from worldmodel.filter import check_replan
from worldmodel.networks import MLP
from worldmodel.objective import ObjectiveConfig


@dataclass(frozen=True)
class AgentConfig:
    """Settings of the agent."""

    model: ClockworkConfig = field(default_factory=ClockworkConfig)
    """World model."""
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    """The world model's loss."""
    behaviour: ActorCriticConfig = field(default_factory=ActorCriticConfig)
    """Actor and critic."""
    actions: ActionDistribution = field(default_factory=ActionDistribution)
    """Distributions of primitive actions."""
    newest: float = 1.0
    """Weight of the auxiliary decoder of the newest observation from the top state; 0: none."""
    replan: int = 1
    """r: environment steps between plans, in collection and evaluation; divides K. DESIGN §4."""


class Agent(nnx.Module):
    """World model, heads on its top state, actor and critic.

    Raises:
      ValueError: on settings that exclude each other, see ``check_agent``.
    """

    def __init__(
        self, config: AgentConfig, obs_shapes: ObsShapes, codec: ActionCodec, rngs: nnx.Rngs
    ) -> None:
        check_agent(config)
        self.config = config
        self.model = ClockworkVAE(config.model, obs_shapes, codec.width, rngs)
        self.codec = ChunkCodec(codec, self.model.stride)
        b, m = config.behaviour, config.model
        features = self.model.features
        kind: dict[str, Any] = {"layers": b.layers, "act": m.act, "norm": m.norm, "rngs": rngs}
        self.reward = TwoHot(features, b.hidden, dtype=m.dtype, **kind)
        self.cont = Bernoulli(features, b.hidden, dtype=m.dtype, **kind)
        self.critic = TwoHot(features, b.hidden, dtype=m.dtype, **kind)
        if config.newest > 0:
            self.newest = Newest(features, b.hidden, obs_shapes, dtype=m.dtype, **kind)
        dtype = jnp.dtype(m.dtype)
        self.actor = MLP(features, b.hidden, self.codec.outputs, zero=True, dtype=dtype, **kind)

    def predict_reward(self, features: Float[Array, "*N F"]) -> Float[Array, "*N"]:
        """Window reward, environment units."""
        return two_hot_mean(self.reward(features))

    def predict_cont(self, features: Float[Array, "*N F"]) -> Float[Array, "*N"]:
        """Window continuation in [0, 1]."""
        return jax.nn.sigmoid(self.cont(features))

    def predict_value(self, features: Float[Array, "*N F"]) -> Float[Array, "*N"]:
        """Critic's value, environment units."""
        return two_hot_mean(self.critic(features))

    def act(self, features: Float[Array, "*N F"], key: PRNGKeyArray) -> ActionSample:
        """Abstract action sampled from the actor, with the configured gradient."""
        return self.codec.sample(self.actor(features), key, self.config.behaviour.gradient)


def check_agent(config: AgentConfig) -> None:
    """Checks settings on which training would fail, or silently do nothing.

    Raises:
      ValueError: naming the setting, what it may be, and what it is.
    """
    strides = clock.check_strides(config.model.strides)
    check_replan(strides[-1], config.replan)
    if config.model.window != "causal":
        raise ValueError(
            f"window: expected 'causal' for an agent, received {config.model.window!r}; "
            "acting cannot see frames to come"
        )
    b = config.behaviour
    if b.horizon < 1:
        raise ValueError(
            f"horizon: expected 1 or more imagined ticks of the top clock, received {b.horizon}"
        )
    for name in ("starts", "layers", "hidden"):
        if getattr(b, name) < 1:
            raise ValueError(f"{name}: expected 1 or more, received {getattr(b, name)}; raise it")
    for name in ("discount", "lam", "entropy_target", "slow_rate", "scale_rate"):
        if not 0.0 <= getattr(b, name) <= 1.0:
            raise ValueError(f"{name}: expected between 0 and 1, received {getattr(b, name)}")
