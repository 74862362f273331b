"""A planar two-link arm that reaches for a target, with the masses and the reward of DeepMind
Control's reacher easy."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from envs.pure.environment import PureEnv, Transition, clip_action, controls, numbers

UPPER = 0.12  # m from shoulder to wrist
ARM = (0.0418879, 0.06, 6.33135639e-5)  # kg, m from the shoulder, kg m² about its centre
HAND = (0.03560472, 0.05, 3.91756604e-5)  # likewise, from the wrist
FINGER = (0.00418879, 0.12, 1.67551608e-7)
DAMPING, TORQUE = 0.01, 0.05  # N m s/rad of either joint; N m
SECONDS, FRAMES = 0.02, 4  # s per frame; frames for which each action is held
WRIST = 2.792527  # rad to either side, 160 degrees
REACH = 0.06  # m between finger and target within which a frame pays
TARGET = (0.05, 0.20)  # m from shoulder to target, lowest and highest


class ReacherState(NamedTuple):
    """State of the arm, and its target."""

    position: Array  # [2] rad of shoulder and wrist
    velocity: Array  # [2] rad/s
    target: Array  # [2] m


class Reacher(PureEnv):
    """Episodes of 1 000 frames of 0.02 s, 4 frames per step; a frame pays 1 if the finger touches
    the target.

    Unlike MuJoCo's wrist, this one has a hard stop. Source: Tassa et al. 2018, DeepMind Control
    Suite; agreement is tested in ``tests/envs/test_pure.py``.
    """

    length = 250
    observation_space = numbers(7)  # cos, sin of the shoulder, wrist, target vector, velocities
    action_space = controls(2)  # torques in units of 0.05 N m

    def reset(self, key: PRNGKeyArray) -> ReacherState:
        """Start at rest in any configuration, with the target at any bearing."""
        arm_key, target_key, radius_key = jax.random.split(key, 3)
        share = jax.random.uniform(arm_key, (2,), minval=-1.0, maxval=1.0)
        bearing = jax.random.uniform(target_key, (), maxval=2 * jnp.pi)
        radius = jax.random.uniform(radius_key, (), minval=TARGET[0], maxval=TARGET[1])
        target = radius * jnp.stack([jnp.sin(bearing), jnp.cos(bearing)])
        return ReacherState(share * jnp.array([jnp.pi, WRIST]), jnp.zeros(2), target)

    def step(
        self, state: ReacherState, action: Float[Array, " A"], key: PRNGKeyArray
    ) -> Transition:
        """Advance four frames and sum their rewards."""
        torque, total = TORQUE * clip_action(action), jnp.zeros(())
        for _ in range(FRAMES):
            state = advance(state, torque)
            total += jnp.linalg.norm(to_target(state)) <= REACH
        return Transition(state, total, jnp.zeros((), bool))

    def observe(self, state: ReacherState) -> Float[Array, " n"]:
        """cos and sin of the shoulder, the wrist, the vector to the target, both velocities."""
        shoulder, wrist = state.position
        arm = jnp.stack([jnp.cos(shoulder), jnp.sin(shoulder), wrist])
        return jnp.concatenate([arm, 10 * to_target(state), state.velocity / 10])


def to_target(state: ReacherState) -> Float[Array, " 2"]:
    """Vector from finger to target, m."""
    shoulder, bearing = state.position[0], state.position.sum()
    upper = UPPER * jnp.stack([jnp.cos(shoulder), jnp.sin(shoulder)])
    return state.target - upper - FINGER[1] * jnp.stack([jnp.cos(bearing), jnp.sin(bearing)])


def advance(state: ReacherState, torque: Array) -> ReacherState:
    """Take one step of MuJoCo's Euler integration with implicit damping,
    (M + h D) Δv = h (τ - c - D v); then move q by the new velocity and apply the wrist's stop."""
    (shoulder, wrist), speed, h = state.position, state.velocity, SECONDS
    mass, length, inertia = ARM
    outer = jnp.array([HAND, FINGER])
    masses, lengths, inertias = outer.T
    moment = jnp.sum(masses * UPPER * lengths)
    bent, turned = moment * jnp.cos(wrist), jnp.sum(inertias + masses * lengths**2)
    first = inertia + mass * length**2 + turned + jnp.sum(masses) * UPPER**2 + 2 * bent
    matrix = jnp.stack([first, turned + bent, turned + bent, turned]).reshape(2, 2)
    pull = moment * jnp.sin(wrist)
    coriolis = pull * jnp.stack([-(2 * speed[0] + speed[1]) * speed[1], speed[0] ** 2])
    force = torque - coriolis - DAMPING * speed
    speed = speed + jnp.linalg.solve(matrix + h * DAMPING * jnp.eye(2), h * force)
    position = jnp.stack([shoulder, wrist]) + h * speed
    stopped = jnp.stack([jnp.zeros((), bool), jnp.abs(position[1]) > WRIST])
    position = position.at[1].set(jnp.clip(position[1], -WRIST, WRIST))
    return ReacherState(position, jnp.where(stopped, 0.0, speed), state.target)
