"""Settings of the agent and of its codecs. Read next: ``agent.py``, which checks them."""

from dataclasses import dataclass, field
from typing import Any

from flax import nnx

from agents.actor_critic import ActorCriticConfig
from common import NonNegative, Positive, Share
from worldmodel.clockwork import ClockworkConfig
from worldmodel.objective import ObjectiveConfig


@dataclass(frozen=True)
class LatentConfig:
    """Settings of the `latent` codec."""

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
    codec: str = "chunk"
    """Abstract action of one window: `chunk`, its K actions, or `latent`, a learned code with a
    decoder that reacts inside the window (`agents.agent.CODECS`). docs/design.md, Plans."""
    latent: LatentConfig = field(default_factory=LatentConfig)
    """The `latent` codec; unused by `chunk`."""
    newest: bool = True
    """Decode the newest observation from the top state as well, where there are levels below: what
    an agent must know of the present reaches the top. Without, Navigate is not learned: adr 5."""
    window_decoder: NonNegative = 0.0
    """Weight of the one of the sum over the window's observations, where K > 1; 0: none. For what
    is seen shortly and matters much later. docs/adr/0018."""
    open_loop: bool = False
    """Execute each plan whole, r = K, in place of planning anew at every step, r = 1: the plain
    semi-MDP, which cannot react within a window. docs/adr/0008."""
    noise_correlation: Share = 0.0
    """ρ from one step to the next of the noise by which actions are sampled. docs/adr/0012."""
    keep_plan: Share = 0.0
    """Probability by which the agent goes on with its plan where it could plan anew: replay holds
    what comes of plans, and no plan is put off for ever. Above 0 the actions of chunks (K > 1) say
    in replay whether they begin a plan or go on with one, and the model reads it: what comes of
    plans is told from what comes of reactions. docs/adr/0013, 0016."""

    @property
    def replan(self) -> int:
        """r: environment steps between plans, in collection and evaluation."""
        return self.model.strides[-1] if self.open_loop else 1


LAYERS = 2  # hidden layers of actor, critic, heads and codecs


def layers(config: AgentConfig, rngs: nnx.Rngs) -> dict[str, Any]:
    """What all networks of the agent beside the world model share, as ``networks.MLP`` takes it."""
    b, n = config.behaviour, config.model.networks
    return {"hidden": b.hidden, "layers": LAYERS, "act": n.act, "norm": n.norm, "rngs": rngs}
