"""Wrappers between a pure environment and the agent: a time limit and action repeat.

For environments that are not pure, `gymnasium.wrappers.TimeLimit` and `envs.wrappers.ActionRepeat`
do the same.
"""

from copy import copy
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from common import UserError
from envs.pure.environment import EnvState, PureEnv, Transition


def limited(env: PureEnv, frames: int | None) -> PureEnv:
    """Truncate the environment's episodes after ``frames`` frames; None: leave it unchanged.

    Raises:
      UserError: if ``frames`` exceeds the environment's own limit.
    """
    if frames is None:
        return env
    if frames > env.length:
        raise UserError(
            f"env.time_limit: expected at most the {env.length:,} frames after which the "
            f"environment itself ends an episode, received {frames:,}; lower --env.time-limit"
        )
    env = copy(env)
    env.length = frames
    return env


def held(env: PureEnv, frames: int) -> PureEnv:
    """Hold each action for ``frames`` steps of the environment."""
    return env if frames == 1 else Held(env, frames)


class HeldState(NamedTuple):
    """The state of the wrapped environment, and the time."""

    inner: EnvState
    time: Array  # [] frames of the episode so far


class Held(PureEnv):
    """Action repeat: holds each action for several frames, at most to the episode's end, and sums
    their rewards."""

    def __init__(self, env: PureEnv, frames: int) -> None:
        self.env, self.frames = env, frames
        self.length, self.terminates = -(-env.length // frames), env.terminates
        self.observation_space, self.action_space = env.observation_space, env.action_space

    def reset(self, key: PRNGKeyArray) -> HeldState:
        """Reset the wrapped environment."""
        return HeldState(self.env.reset(key), jnp.zeros((), jnp.int32))

    def step(self, state: HeldState, action: Array, key: PRNGKeyArray) -> Transition:
        """Advance several frames; those after the episode's end change nothing."""

        def frame(now: Transition, key: PRNGKeyArray) -> tuple[Transition, None]:
            moved = self.env.step(now.state.inner, action, key)
            over = now.terminated | (now.state.time >= self.env.length)
            then = HeldState(moved.state, now.state.time + 1)
            found = Transition(then, now.reward + moved.reward, moved.terminated)
            choose: Any = lambda was, new: jnp.where(over, was, new)  # noqa: E731
            return jax.tree.map(choose, now, found), None

        begin = Transition(state, jnp.zeros(()), jnp.zeros((), bool))
        moved, _ = jax.lax.scan(frame, begin, jax.random.split(key, self.frames))
        return moved

    def observe(self, state: HeldState) -> Array:
        """The wrapped environment's observation."""
        return self.env.observe(state.inner)
