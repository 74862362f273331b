"""Cart-pole swing-up with the equations and rewards of DeepMind Control's cartpole swingup."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from envs.pure.environment import PureEnv, Transition, clip_action, controls, numbers

GRAVITY, CART, POLE, FORCE = 9.81, 1.0, 0.1, 10.0  # m/s², kg, kg, N
CENTRE, INERTIA = 0.5, 9.42459e-3  # m from the hinge; kg m² of the capsule about its centre
DAMPING = (5e-4, 2e-6)  # of the slide, N s/m, and of the hinge, N m s/rad
SECONDS, RAIL = 0.01, 1.8  # s per frame; m from the middle to either end
FRAMES = 2  # for which each action is held


class CartpoleState(NamedTuple):
    """Positions and velocities of cart and pole."""

    position: Array  # [2] m from the middle, rad from upright
    velocity: Array  # [2] m/s, rad/s


class CartpoleSwingup(PureEnv):
    """Episodes of 1 000 frames of 0.01 s, 2 frames per step; returns are at most 1 000.

    The reward of a frame is the product upright · centred · small control · small velocity, each in
    [0, 1]. Unlike MuJoCo's rail, this one ends in a hard wall. Source: Tassa et al. 2018, DeepMind
    Control Suite; agreement is tested in ``tests/envs/test_pure.py``.
    """

    length = 500
    observation_space = numbers(5)  # x, cos θ, sin θ, x', θ'
    action_space = controls(1)  # force in units of 10 N

    def reset(self, key: PRNGKeyArray) -> CartpoleState:
        """Start at rest in the middle, the pole hanging, plus noise of standard deviation 0.01."""
        noise = 0.01 * jax.random.normal(key, (2, 2))
        return CartpoleState(noise[0] + jnp.array([0.0, jnp.pi]), noise[1])

    def step(
        self, state: CartpoleState, action: Float[Array, " A"], key: PRNGKeyArray
    ) -> Transition:
        """Advance two frames by fourth-order Runge-Kutta steps and sum their rewards."""
        control, total = clip_action(action)[0], jnp.zeros(())
        for _ in range(FRAMES):
            state = advance(state, FORCE * control)
            total += self.paid(state, control)
        return Transition(state, total, jnp.zeros((), bool))

    def paid(self, state: CartpoleState, control: Array) -> Array:
        """The reward of one frame."""
        return reward(state, control)

    def observe(self, state: CartpoleState) -> Float[Array, " n"]:
        """x, cos θ, sin θ, x', θ'."""
        x, angle = state.position
        return jnp.stack([x, jnp.cos(angle), jnp.sin(angle), *state.velocity])


class CartpoleSwingupSparse(CartpoleSwingup):
    """DeepMind Control's swingup sparse: a frame pays 1 if the pole is within 5.7 degrees of
    upright and the cart within 0.25 m of the middle."""

    def paid(self, state: CartpoleState, control: Array) -> Array:
        """The reward of one frame."""
        x, angle = state.position
        return ((jnp.abs(x) <= 0.25) & (jnp.cos(angle) >= 0.995)).astype(jnp.float32)


def acceleration(position: Array, velocity: Array, force: Array) -> Array:
    """Solve M(q) q'' = forces for [x'', θ'']; θ is measured clockwise from upright.

    (m_c + m_p) x'' + m_p l cos θ θ'' = F - d_x x' + m_p l sin θ θ'²
    m_p l cos θ x'' + (I + m_p l²) θ'' = m_p g l sin θ - d_θ θ'
    """
    angle, (slide, turn) = position[1], velocity
    moment = POLE * CENTRE
    a, b, d = CART + POLE, moment * jnp.cos(angle), INERTIA + POLE * CENTRE**2
    first = force - DAMPING[0] * slide + moment * jnp.sin(angle) * turn**2
    second = moment * GRAVITY * jnp.sin(angle) - DAMPING[1] * turn
    return jnp.stack([d * first - b * second, a * second - b * first]) / (a * d - b**2)


def advance(state: CartpoleState, force: Array) -> CartpoleState:
    """Take one Runge-Kutta step of 0.01 s, then apply the walls at the ends of the rail."""

    def slope(q: Array, v: Array) -> tuple[Array, Array]:
        return v, acceleration(q, v, force)

    q, v, h = state.position, state.velocity, SECONDS
    q1, v1 = slope(q, v)
    q2, v2 = slope(q + h / 2 * q1, v + h / 2 * v1)
    q3, v3 = slope(q + h / 2 * q2, v + h / 2 * v2)
    q4, v4 = slope(q + h * q3, v + h * v3)
    q = q + h / 6 * (q1 + 2 * q2 + 2 * q3 + q4)
    v = v + h / 6 * (v1 + 2 * v2 + 2 * v3 + v4)
    outside = jnp.array([jnp.abs(q[0]) > RAIL, False])
    q = q.at[0].set(jnp.clip(q[0], -RAIL, RAIL))
    return CartpoleState(q, jnp.where(outside, 0.0, v))


def reward(state: CartpoleState, control: Array) -> Array:
    """The reward of one frame, in [0, 1]."""
    upright = (jnp.cos(state.position[1]) + 1) / 2
    centred = (1 + near_zero(state.position[0], 2.0)) / 2
    small_control = (4 + jnp.maximum(1 - control**2, 0.0)) / 5
    small_velocity = (1 + near_zero(state.velocity[1], 5.0)) / 2
    return upright * small_control * small_velocity * centred


def near_zero(x: Array, margin: float) -> Array:
    """1 at 0, falling as a Gaussian to 0.1 at ``margin``."""
    return jnp.exp(-0.5 * (x / margin) ** 2 * (2 * jnp.log(10.0)))
