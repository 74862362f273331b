"""The agent's module: world model, heads on its top state, actor and critic.

Read next: ``dreamer.py``, the loss that trains it; ``policy.py``, how it acts.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from agents.actions import ActionCodec, ActionSample
from agents.chunk import ChunkCodec
from agents.coarse import CoarseDecoder, coarse_width
from agents.codec import Codec
from agents.config import AgentConfig, layers
from agents.heads import Bernoulli, TwoHot, two_hot_mean
from agents.latent import LatentCodec
from agents.novelty import Ensemble
from common import UserError, check_bounds
from worldmodel import clock
from worldmodel.clockwork import ClockworkVAE, ObsShapes
from worldmodel.networks import MLP

CODECS: dict[str, type[Codec]] = {"chunk": ChunkCodec, "latent": LatentCodec}
"""All action codecs, by their names in the settings."""


class Agent(nnx.Module):
    """World model, heads on its top state, actor and critic.

    Args:
      predicted: names of the observations that are decoded, by the model and at the top; None: all.
    Raises:
      UserError: on settings that exclude each other; see ``check_agent``.
    """

    def __init__(
        self,
        config: AgentConfig,
        obs_shapes: ObsShapes,
        actions: ActionCodec,
        rngs: nnx.Rngs,
        predicted: Sequence[str] | None = None,
    ) -> None:
        check_agent(config)
        self.config = config
        kind: dict[str, Any] = {**layers(config, rngs), "dtype": config.model.dtype}
        codec = CODECS[config.codec]
        code = codec.encoder(config, actions, rngs)
        width = action_width(config, actions)
        self.model = ClockworkVAE(config.model, obs_shapes, width, rngs, code, predicted)
        decoded = {name: obs_shapes[name] for name in self.model.predicted}
        features = self.model.features
        self.codec = codec.make(config, actions, self.model, rngs)
        self.reward = TwoHot(features, **kind)
        self.cont = Bernoulli(features, **kind)
        self.critic = TwoHot(features, **kind)
        if newest_decoded(config):
            self.newest = CoarseDecoder(features, obs_shapes=decoded, **kind)
        outputs, dtype = self.codec.outputs, jnp.dtype(config.model.dtype)
        self.actor = MLP(features, outputs=outputs, zero=True, **{**kind, "dtype": dtype})
        if config.recent_decoder > 0:  # last: without it, the other parts start the same
            self.recent = CoarseDecoder(features, obs_shapes=decoded, **kind)
        if config.novelty > 0:
            sizes = config.model.deter, config.model.hidden, coarse_width(decoded)
            self.ensemble = Ensemble(*sizes, rngs)

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
        """Abstract action sampled from the actor."""
        return self.codec.sample(self.actor(features), features, key)


def plans_marked(config: AgentConfig) -> bool:
    """Whether replay holds plans of several actions and therefore marks them."""
    return config.keep_plan > 0 and config.plan_steps > 1 and not CODECS[config.codec].closed_loop


def newest_decoded(config: AgentConfig) -> bool:
    """Whether the top decodes the newest observation; with one level, the model already does."""
    return config.newest and len(config.model.strides) > 1


def action_width(config: AgentConfig, actions: ActionCodec) -> int:
    """Floats of a replayed action, as the world model reads it: those of a primitive action, and
    one for the mark if plans are marked (``Codec.join``)."""
    return actions.width + plans_marked(config)


def check_agent(config: AgentConfig) -> None:
    """Check for settings with which training would fail or silently do nothing.

    Raises:
      UserError: naming the setting, what it may be, and what it is.
    """
    check_bounds(config, "agent")
    if config.codec not in CODECS:
        raise UserError(
            f"codec: expected one of {', '.join(CODECS)}, received {config.codec!r}; choose one"
        )
    stride = clock.check_strides(config.model.strides)[-1]
    if config.plan_steps % stride:
        raise UserError(
            f"plan: expected a multiple of the top stride {stride} (environment steps), received "
            f"{config.plan}; 0 is one tick"
        )
    codec = CODECS[config.codec]
    if config.plan_ticks > 1 and (codec.coded or codec.closed_loop or config.open_loop):
        raise UserError(
            f"plan: expected 0 or the top stride {stride} with codec {config.codec!r} and "
            f"open_loop {config.open_loop}, received {config.plan}; plans of several ticks are "
            "chunks, made anew at every step"
        )
    if config.model.window != "causal":
        raise UserError(
            f"window: expected 'causal' for an agent, received {config.model.window!r}; "
            "acting cannot see frames to come"
        )
