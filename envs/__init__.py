"""Gymnasium environments by name, and the form in which the agent sees them."""

from envs.config import EnvConfig
from envs.named import as_said, check_named, placed, said_again, same_env, without_folder
from envs.registry import describe_backend, make
from envs.vector import (
    check_agent_env,
    choose_workers,
    make_agent_env,
    make_vector,
)

__all__ = [
    "EnvConfig",
    "as_said",
    "check_agent_env",
    "check_named",
    "choose_workers",
    "describe_backend",
    "make",
    "make_agent_env",
    "make_vector",
    "placed",
    "said_again",
    "same_env",
    "without_folder",
]
