"""A memory task: two rooms joined by a hallway, with a cue that is visible only at the start."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from envs.pure.environment import PureEnv, Transition, clip_action, controls, numbers

ROOM, HALL = 2.0, 6.0  # metres: edge of each square room, length of the hallway between them
HALF_HALL = 0.3  # half of the hallway's width
SPEED = 0.2  # metres per step and axis
CUE_STEPS = 4  # steps for which the cue is shown
WRONG = -0.25  # reward per step in the goal that the cue did not name


class TwoRoomsState(NamedTuple):
    """State of the walker."""

    position: Array  # [2] metres; x from the first room's left wall, y from the middle
    cue: Array  # [] +1: the upper goal pays, -1: the lower
    time: Array  # [] steps taken


class TwoRooms(PureEnv):
    """Pays 1 per step in the goal that the cue named, -0.25 in the other, and 0.1 per metre towards
    room 2.

    The cue is visible in the first 4 of 128 steps; the goals lie at least 30 steps further. Without
    memory it is best to stay in either goal, for 3/8 of the reward of a walker that knows the cue.
    Goals are therefore visited, and the meaning of the cue can be learned. The walker's position is
    observed; walls and rewards are not.
    """

    length = 128
    opens = 0  # steps for which the hallway stays shut at the first room
    corner = 0.7  # metres, height of the two goals, which span the second room's right half
    observation_space = numbers(3)  # x/10, y, the cue while it is shown, else 0
    action_space = controls(2)  # velocity along x and y

    def reset(self, key: PRNGKeyArray) -> TwoRoomsState:
        """Start anywhere in the first room, with either cue."""
        place, side = jax.random.split(key)
        low, high = jnp.array([0.0, -ROOM / 2]), jnp.array([ROOM, ROOM / 2])
        position = jax.random.uniform(place, (2,), minval=low, maxval=high)
        cue = jnp.where(jax.random.bernoulli(side), 1.0, -1.0)
        return TwoRoomsState(position, cue, jnp.zeros((), jnp.int32))

    def step(
        self, state: TwoRoomsState, action: Float[Array, " A"], key: PRNGKeyArray
    ) -> Transition:
        """Move along x, then along y, each as far as the walls allow."""
        x, y = state.position
        dx, dy = SPEED * clip_action(action)
        low, high = reach_x(x, y)
        shut = (state.time < self.opens) & (x <= ROOM)
        new_x = jnp.clip(x + dx, low, jnp.where(shut, ROOM, high))
        new_y = jnp.clip(y + dy, *reach_y(new_x))
        in_goal = (new_x > ROOM + HALL + ROOM / 2) & (jnp.abs(new_y) > ROOM / 2 - self.corner)
        right = jnp.sign(new_y) == state.cue
        paid = jnp.where(in_goal, jnp.where(right, 1.0, WRONG), 0.0)
        moved = TwoRoomsState(jnp.stack([new_x, new_y]), state.cue, state.time + 1)
        return Transition(moved, paid + 0.1 * (new_x - x), jnp.zeros((), bool))

    def observe(self, state: TwoRoomsState) -> Float[Array, " n"]:
        """x/10, y, and the cue while it is shown."""
        x, y = state.position
        return jnp.stack([x / 10, y, jnp.where(state.time < CUE_STEPS, state.cue, 0.0)])


class TwoRoomsDoor(TwoRooms):
    """Two rooms with an unobserved door, which keeps the first room shut for 64 of 192 steps.

    At least 90 steps therefore lie between the cue and the goals. The goals meet in the middle, so
    that chance leads to either one: the task tests memory, not exploration.
    """

    length = 192
    opens = 64
    corner = ROOM / 2


def reach_x(x: Array, y: Array) -> tuple[Array, Array]:
    """Lowest and highest x reachable from (x, y): the full range in line with the hallway."""
    end, line = 2 * ROOM + HALL, jnp.abs(y) <= HALF_HALL
    second = x >= ROOM + HALL
    low = jnp.where(~line & second, ROOM + HALL, 0.0)
    return low, jnp.where(~line & ~second, ROOM, end)


def reach_y(x: Array) -> tuple[Array, Array]:
    """Lowest and highest y at x: within the hallway's width, or the room's."""
    hall = (x > ROOM) & (x < ROOM + HALL)
    half = jnp.where(hall, HALF_HALL, ROOM / 2)
    return -half, half
