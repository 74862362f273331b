"""Pendulum swing-up with the equations of Gymnasium's Pendulum-v1."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from envs.pure.environment import PureEnv, Transition, clip_action, controls, numbers

GRAVITY, MASS, LENGTH, SECONDS = 10.0, 1.0, 1.0, 0.05
MAX_SPEED, MAX_TORQUE = 8.0, 2.0  # rad/s, N m


class PendulumState(NamedTuple):
    """Angle and speed of the rod."""

    angle: Array  # rad from upright
    speed: Array  # rad/s


class Pendulum(PureEnv):
    """Pays -(θ² + 0.1 θ'² + 0.001 u²) per step of 0.05 s; the optimal return is near -150.

    Source: Gymnasium's Pendulum-v1; agreement is tested step by step in
    ``tests/envs/test_pure.py``.
    """

    length = 200
    observation_space = numbers(3)  # cos θ, sin θ, θ'
    action_space = controls(1)  # torque in units of 2 N m

    def reset(self, key: PRNGKeyArray) -> PendulumState:
        """Start at any angle, with a speed of at most 1 rad/s."""
        angle_key, speed_key = jax.random.split(key)
        angle = jax.random.uniform(angle_key, (), minval=-jnp.pi, maxval=jnp.pi)
        return PendulumState(angle, jax.random.uniform(speed_key, (), minval=-1.0, maxval=1.0))

    def step(
        self, state: PendulumState, action: Float[Array, " A"], key: PRNGKeyArray
    ) -> Transition:
        """Take one step of semi-implicit Euler integration."""
        torque = MAX_TORQUE * clip_action(action)[0]
        angle = (state.angle + jnp.pi) % (2 * jnp.pi) - jnp.pi
        cost = angle**2 + 0.1 * state.speed**2 + 0.001 * torque**2
        pull = 1.5 * GRAVITY / LENGTH * jnp.sin(state.angle) + 3.0 / (MASS * LENGTH**2) * torque
        speed = jnp.clip(state.speed + pull * SECONDS, -MAX_SPEED, MAX_SPEED)
        moved = PendulumState(state.angle + speed * SECONDS, speed)
        return Transition(moved, -cost, jnp.zeros((), bool))

    def observe(self, state: PendulumState) -> Float[Array, " n"]:
        """cos θ, sin θ, θ'."""
        return jnp.stack([jnp.cos(state.angle), jnp.sin(state.angle), state.speed])
