"""The agent: actor and critic over imagination at the top clock. Read `dreamer.py` first."""

from agents.actions import ActionCodec, ActionDistribution, ChunkCodec
from agents.actor_critic import ActorCriticConfig
from agents.agent import Agent, AgentConfig
from agents.latent import LatentCodec, LatentConfig

__all__ = [
    "ActionCodec",
    "ActionDistribution",
    "ActorCriticConfig",
    "Agent",
    "AgentConfig",
    "ChunkCodec",
    "LatentCodec",
    "LatentConfig",
]
