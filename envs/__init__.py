"""Names to Gymnasium environments, and how the agent sees them."""

from envs.registry import (
    EnvConfig,
    check_agent_env,
    describe_backend,
    make,
    make_agent_env,
    make_pure,
    make_vector,
)

__all__ = [
    "EnvConfig",
    "check_agent_env",
    "describe_backend",
    "make",
    "make_agent_env",
    "make_pure",
    "make_vector",
]
