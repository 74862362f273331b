"""The `chunk` action codec: an abstract action is K primitive actions. docs/design.md, Plans.

Nothing is learned, so imagined and executed actions cannot drift apart; at K = 1 a chunk is a
primitive action. Read next: ``policy.py``, which executes the first steps of each chunk.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from agents.actions import ActionCodec, ActionSample
from agents.actor_critic import (
    ENTROPY_SCALE,
    ActorCriticConfig,
    BehaviourState,
    update_entropy_scale,
)
from agents.codec import Codec
from agents.config import AgentConfig
from worldmodel.clockwork import ClockworkVAE
from worldmodel.objective import Metrics, masked_mean


class ChunkCodec(Codec):
    """u = [a_{t+1} … a_{t+K}], [..., K·A], with actions sampled independently of each other and
    regularised by the entropy of every factor of every slot. When acting, the actor's outputs are
    kept, and each slot's action is drawn when it is executed."""

    weight = ENTROPY_SCALE

    def __init__(self, actions: ActionCodec, stride: int, marked: bool) -> None:
        super().__init__(actions, stride, marked)
        self.width = stride * (actions.width + marked)
        self.outputs = self.plan_width = stride * actions.outputs
        self.primitives = stride * actions.primitives
        self.parts = stride * len(actions.factors)

    @classmethod
    def make(
        cls, config: AgentConfig, actions: ActionCodec, model: ClockworkVAE, rngs: nnx.Rngs
    ) -> "ChunkCodec":
        """See ``Codec``."""
        marked = model.action_width > actions.width
        return cls(actions, config.plan_steps, marked)

    def sample(
        self, outputs: Float[Array, "*N P"], features: Float[Array, "*N D"], key: PRNGKeyArray
    ) -> ActionSample:
        """As ``ActionCodec.sample``; log_prob summed over the K slots, entropy [..., K·F]."""
        sample = self.actions.sample(self.slots(outputs), key)
        entropy = sample.entropy.reshape(*outputs.shape[:-1], -1)
        return ActionSample(self.join(sample.flat), sample.log_prob.sum(-1), entropy)

    def mode(self, outputs: Float[Array, "*N P"]) -> Float[Array, "*N W"]:
        """The likeliest chunk."""
        return self.join(self.actions.mode(self.slots(outputs)))

    def plan(
        self, outputs: Float[Array, "N P"], features: Float[Array, "N D"], key: PRNGKeyArray | None
    ) -> Float[Array, "N Q"]:
        """The actor's outputs: no action is drawn before its step."""
        return outputs

    def react(
        self,
        plan: Float[Array, "N Q"],
        features: Float[Array, "N D"],
        step: Int[Array, " N"],
        normal: Float[Array, "N A"] | None,
    ) -> Float[Array, "N C"]:
        """The action of the step's slot, whatever is seen."""
        numbers = self.slots(plan)[jnp.arange(step.shape[0]), step]
        return self.executed(self.actions.act(numbers, normal), step)

    def spread(self, outputs: Float[Array, "*N P"]) -> Float[Array, "*N F"]:
        """``ActionCodec.spread`` of every slot, [..., K·F]."""
        return self.actions.spread(self.slots(outputs)).reshape(*outputs.shape[:-1], -1)

    def regulate(
        self,
        aux: BehaviourState,
        outputs: Float[Array, "N P"],
        entropy: Float[Array, "N F"],
        alive: Float[Array, " N"],
        config: ActorCriticConfig,
    ) -> tuple[BehaviourState, Metrics]:
        """Adapt the entropy bonus of every factor of every slot to the target."""
        spreads = jax.lax.stop_gradient(self.spread(outputs))
        spread = jax.vmap(masked_mean, (1, None))(spreads, alive)
        metrics = {
            "actor/spread": jnp.mean(spread),
            "actor/spread_first": jnp.mean(spread[: spread.shape[0] // self.stride]),
            "actor/entropy_scale": jnp.exp(jnp.mean(aux.log_entropy_scale)),
        }
        return update_entropy_scale(aux, spread, config), metrics
