"""Settings of the agent and of its codecs. Read next: ``agent.py``, which checks them."""

from dataclasses import dataclass, field
from typing import Annotated, Any

import tyro
from flax import nnx

from agents.actor_critic import ActorCriticConfig
from common import Before, CountOrZero, NonNegative, Share
from worldmodel.clockwork import ClockworkConfig
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
    codec: str = "chunk"
    """Abstract action of one window: `chunk`, its K primitive actions, or `latent`, a learned code
    with a decoder that reacts within the window (`agents.agent.CODECS`). docs/design.md, Plans."""
    newest: bool = True
    """Also decode the newest observation from the top state where there are levels below, so that
    the top knows what an agent needs of the present. Without it, Navigate is not learned: adr 5."""
    recent_decoder: NonNegative = 0.0
    """Weight of a decoder of the sum over the last 8 observations (`coarse.RECENT`) from the top
    state, for any strides; 0: none. For what is seen briefly and matters much later.
    docs/adr/0018."""
    novelty: Annotated[NonNegative, Before(0.0)] = 0.0
    """β: reward per environment step, in imagination, for an ensemble's disagreement as a share of
    the variation of observations; 0: none. In the environment's reward units: it guides exploration
    until rewards do. docs/adr/0031."""
    plan: Annotated[CountOrZero, Before(0)] = 0
    """Environment steps per plan, a multiple of the top stride; 0: one tick of the top. With
    strides (1,), a value above 1 gives a flat model under an actor of whole windows, which
    separates the effect of the clock from that of the plan."""
    open_loop: Annotated[bool, tyro.conf.arg(aliases=("--open-loop",))] = False
    """Execute each plan to its end (r = K) instead of planning again at every step (r = 1): the
    plain semi-MDP, which cannot react within a window. docs/adr/0008."""
    noise_correlation: Share = 0.0
    """ρ: correlation, from one step to the next, of the noise with which actions are sampled.
    docs/adr/0012."""
    keep_plan: Share = 0.0
    """p: share of plans that are executed to their end although the agent could plan again at every
    step: at each step it keeps its plan with probability p^(1/(K-1)). Replay then holds the
    outcomes of plans, and no plan is postponed forever. Above 0, the actions of chunks (K > 1) are
    marked in replay as beginning or continuing a plan, and the model reads the mark, which
    separates the outcomes of plans from those of reactions. docs/adr/0013, 0016."""

    @property
    def replan(self) -> int:
        """r: environment steps between plans, in collection and evaluation."""
        return self.model.strides[-1] if self.open_loop else 1

    @property
    def plan_steps(self) -> int:
        """K: environment steps of a plan."""
        return self.plan or self.model.strides[-1]

    @property
    def plan_ticks(self) -> int:
        """Ticks of the top level per plan."""
        return self.plan_steps // self.model.strides[-1]

    @property
    def imagined(self) -> int:
        """Plans per imagined path."""
        return -(-self.behaviour.horizon // self.plan_steps)

    @property
    def keep_probability(self) -> float:
        """Probability with which the agent keeps its plan at each step."""
        return self.keep_plan ** (1 / max(1, self.plan_steps - 1))


LAYERS = 2  # hidden layers of actor, critic, heads and codecs


def layers(config: AgentConfig, rngs: nnx.Rngs) -> dict[str, Any]:
    """Arguments of ``networks.MLP`` shared by all of the agent's networks but the world model."""
    model = config.model
    n = model.networks
    return {"hidden": model.hidden, "layers": LAYERS, "act": n.act, "norm": n.norm, "rngs": rngs}
