"""The agent: actor and critic over imagination at the top clock. Read `dreamer.py` first."""

from agents.actions import ActionCodec
from agents.actor_critic import ActorCriticConfig
from agents.agent import Agent
from agents.codec import Codec
from agents.config import AgentConfig

__all__ = [
    "ActionCodec",
    "ActorCriticConfig",
    "Agent",
    "AgentConfig",
    "Codec",
]
