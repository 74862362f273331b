"""Settings of the agent and of its codecs. Read next: ``agent.py``, which checks them."""

from dataclasses import dataclass, field
from typing import Annotated, Any

from annotated_types import Gt, Le
from flax import nnx

from agents.actions import ActionDistribution
from agents.actor_critic import ActorCriticConfig
from common import Count, NonNegative, Positive, Share
from worldmodel.clockwork import ClockworkConfig
from worldmodel.objective import ObjectiveConfig


@dataclass(frozen=True)
class LatentConfig:
    """Settings of the `latent` codec."""

    size: Count = 8
    """Floats of a code."""
    min_std: Positive = 0.1
    """Smallest standard deviation of codes, in encoder, prior and actor."""
    kl: Positive = 0.1
    """β: weight of KL[q(u | actions) ‖ p(u | s)] in nats beside the actions' log-likelihood. Higher
    leaves more to the decoder's reactions, lower more to the code."""
    actor_kl: Positive = 0.01
    """Weight of KL[π(u | s) ‖ p(u | s)] in nats in the actor's loss, beside normalised returns."""


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
    codec: str = "chunk"
    """Abstract action of one window: `chunk`, its K actions, or `latent`, a learned code with a
    decoder that reacts inside the window (`agents.agent.CODECS`). docs/design.md, Plans."""
    latent: LatentConfig = field(default_factory=LatentConfig)
    """The `latent` codec; unused by `chunk`."""
    newest: NonNegative = 1.0
    """Weight of the auxiliary decoder of the newest observation from the top state; 0: none."""
    window_decoder: NonNegative = 0.0
    """Weight of the one of the sum over the window's observations, where K > 1; 0: none. For what
    is seen shortly and matters much later. docs/adr/0018."""
    replan: Count = 1
    """r: environment steps between plans, in collection and evaluation; divides K."""
    noise_correlation: Share = 0.0
    """ρ from one step to the next of the noise by which actions are sampled. docs/adr/0012."""
    keep_plan: Share = 0.0
    """Probability by which the agent goes on with its plan where it could plan anew: replay holds
    what comes of plans, and no plan is put off for ever. docs/adr/0013."""
    mark_plans: bool = False
    """Replayed actions say whether they begin a plan or go on with one, and the model reads it:
    what comes of plans is told from what comes of reactions. Chunks of K > 1, where
    some plans are kept or all are executed whole (r = K). docs/adr/0016."""
    average_rate: Annotated[float, Gt(0), Le(1)] = 0.005
    """Evaluation acts by an average of the parameters over about the last tenth of the updates, at
    most 1/average_rate of them; collection by the newest. 1: the newest in both. docs/adr/0008."""


def layers(config: AgentConfig, rngs: nnx.Rngs) -> dict[str, Any]:
    """What all networks of the agent beside the world model share, as ``networks.MLP`` takes it."""
    b, n = config.behaviour, config.model.networks
    return {"hidden": b.hidden, "layers": b.layers, "act": n.act, "norm": n.norm, "rngs": rngs}
