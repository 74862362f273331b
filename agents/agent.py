"""The agent's module: world model, heads on its top state, actor and critic.

Read next: ``dreamer.py``, the loss that trains it; ``policy.py``, how it acts.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from agents.actions import ActionCodec, ActionDistribution, ActionSample, ChunkCodec
from agents.actor_critic import ActorCriticConfig
from agents.coarse import CoarseDecoder
from agents.heads import Bernoulli, TwoHot, two_hot_mean
from agents.latent import LatentCodec, LatentConfig
from worldmodel import clock
from worldmodel.clockwork import ClockworkConfig, ClockworkVAE, ObsShapes
from worldmodel.codes import ActionCode
from worldmodel.distributions import Gaussian
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
    codec: Literal["chunk", "latent"] = "chunk"
    """Abstract action of one window: `chunk`, its K actions, or `latent`, a learned code with a
    decoder that reacts inside the window."""
    latent: LatentConfig = field(default_factory=LatentConfig)
    """The `latent` codec; unused by `chunk`."""
    newest: float = 1.0
    """Weight of the auxiliary decoder of the newest observation from the top state; 0: none."""
    window_decoder: float = 0.0
    """Weight of the one of the sum over the window's observations, where K > 1; 0: none. For what
    is seen shortly and matters much later. docs/adr/0018."""
    replan: int = 1
    """r: environment steps between plans, in collection and evaluation; divides K."""
    noise_correlation: float = 0.0
    """ρ from one step to the next of the noise by which actions are sampled. docs/adr/0012."""
    keep_plan: float = 0.0
    """Probability by which the agent goes on with its plan where it could plan anew: replay holds
    what comes of plans, and no plan is put off for ever. docs/adr/0013."""
    mark_plans: bool = False
    """Replayed actions say whether they begin a plan or go on with one, and the model reads it:
    what comes of plans is told from what comes of reactions. Chunks of K > 1, where
    some plans are kept or all are executed whole (r = K). docs/adr/0016."""
    average_rate: float = 0.005
    """Evaluation acts by an average of the parameters over about the last tenth of the updates, at
    most 1/average_rate of them; collection by the newest. 1: the newest in both. docs/adr/0008."""


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
        b, m, stride = config.behaviour, config.model, config.model.strides[-1]
        kind: dict[str, Any] = {"layers": b.layers, "act": m.act, "norm": m.norm, "rngs": rngs}
        dtype, code = jnp.dtype(m.dtype), None
        if config.codec == "latent":
            latent = Gaussian(config.latent.size, config.latent.min_std)
            code = ActionCode(stride * codec.width, latent, b.hidden, dtype=m.dtype, **kind)
        width = action_width(config, codec)
        self.model = ClockworkVAE(config.model, obs_shapes, width, rngs, code)
        features = self.model.features
        self.codec: ChunkCodec | LatentCodec
        if code is None:
            self.codec = ChunkCodec(codec, stride, marked=plans_marked(config))
        else:
            learned: dict[str, Any] = {"hidden": b.hidden, "dtype": dtype, **kind}
            self.codec = LatentCodec(codec, stride, features, code.latent, **learned)
        self.reward = TwoHot(features, b.hidden, dtype=m.dtype, **kind)
        self.cont = Bernoulli(features, b.hidden, dtype=m.dtype, **kind)
        self.critic = TwoHot(features, b.hidden, dtype=m.dtype, **kind)
        if config.newest > 0:
            self.newest = CoarseDecoder(features, b.hidden, obs_shapes, dtype=m.dtype, **kind)
        self.actor = MLP(features, b.hidden, self.codec.outputs, zero=True, dtype=dtype, **kind)
        if window_decoded(config):  # last, so that the other parts start the same without it
            self.window = CoarseDecoder(features, b.hidden, obs_shapes, dtype=m.dtype, **kind)

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
        outputs = self.actor(features)
        if isinstance(self.codec, LatentCodec):
            return self.codec.sample(outputs, features, key)
        return self.codec.sample(outputs, key, self.config.behaviour.gradient)


def plans_marked(config: AgentConfig) -> bool:
    """Whether there are plans of several actions and they are to be marked."""
    return config.mark_plans and config.codec == "chunk" and config.model.strides[-1] > 1


def window_decoded(config: AgentConfig) -> bool:
    """Whether the top decodes its window's sum: not at K = 1, where that is the newest frame."""
    return config.window_decoder > 0 and config.model.strides[-1] > 1


def action_width(config: AgentConfig, codec: ActionCodec) -> int:
    """Floats of a replayed action, which the world model reads: the codec's, and the mark of plans
    where there is one (``ChunkCodec``)."""
    return codec.width + plans_marked(config)


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
    if plans_marked(config) and config.keep_plan == 0 and config.replan < strides[-1]:
        raise ValueError(
            "mark_plans: expected keep_plan above 0, received 0: replay would never hold a plan "
            "marked as imagination's are; raise --agent.keep-plan, or set --agent.mark-plans False"
        )
    b = config.behaviour
    if config.codec == "latent":
        check_latent(config.latent, b)
    if b.horizon < 1:
        raise ValueError(
            f"horizon: expected 1 or more imagined ticks of the top clock, received {b.horizon}"
        )
    for name in ("starts", "layers", "hidden"):
        if getattr(b, name) < 1:
            raise ValueError(f"{name}: expected 1 or more, received {getattr(b, name)}; raise it")
    if not 0.0 < config.average_rate <= 1.0:
        raise ValueError(
            f"average_rate: expected above 0 and at most 1, received {config.average_rate}"
        )
    check_weights(config)
    shares = [(name, getattr(config, name)) for name in ("noise_correlation", "keep_plan")]
    rates = ("discount", "lam", "entropy_target", "slow_rate", "scale_rate")
    for name, value in shares + [(name, getattr(b, name)) for name in rates]:
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"{name}: expected between 0 and 1, received {value}")


def check_weights(config: AgentConfig) -> None:
    """As ``check_agent``, of the auxiliary decoders."""
    for name in ("newest", "window_decoder"):
        if not getattr(config, name) >= 0:
            raise ValueError(
                f"{name}: expected 0 or more, received {getattr(config, name)}; 0 leaves it out"
            )


def check_latent(config: LatentConfig, behaviour: ActorCriticConfig) -> None:
    """As ``check_agent``, of the `latent` codec."""
    if config.size < 1:
        raise ValueError(f"latent.size: expected 1 or more, received {config.size}; raise it")
    if not config.min_std > 0:
        raise ValueError(f"latent.min_std: expected above 0, received {config.min_std}; raise it")
    for name in ("kl", "actor_kl"):
        if getattr(config, name) <= 0:
            raise ValueError(
                f"latent.{name}: expected above 0, received {getattr(config, name)}; raise it"
            )
    if behaviour.gradient == "reinforce":
        raise ValueError(
            "gradient: expected 'dynamics' with codec 'latent', whose codes are continuous, "
            "received 'reinforce'; leave it"
        )
