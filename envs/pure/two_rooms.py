"""Two rooms joined by a hallway, with a cue seen only at the start: a task of memory."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from envs.pure.environment import PureEnv, Transition, clip_action, controls, numbers

ROOM, HALL = 2.0, 6.0  # metres: edge of each square room, length of the hallway between them
HALF_HALL = 0.3  # half of the hallway's width
SPEED = 0.2  # metres per step and axis
CUE_STEPS = 4  # for which the cue is shown
WRONG = -0.25  # reward per step in the goal that the cue did not name


class TwoRoomsState(NamedTuple):
    """Of the walker."""

    position: Array  # [2] metres; x from the first room's left wall, y from the middle
    cue: Array  # [] +1: the upper goal pays, -1: the lower
    time: Array  # [] steps done


class TwoRooms(PureEnv):
    """+1 per step in the goal that the cue named, -0.25 in the other, 0.1 per metre towards room 2.

    The cue is seen in the first 4 of 128 steps; the goals lie at least 30 steps further. Without
    memory the best is to stay in either, for 3/8 of what it pays to know: so goals are visited, and
    what the cue says of them can be learned. Positions are seen, walls and rewards are not.
    """

    length = 128
    opens = 0  # steps for which the hallway stays shut at the first room
    corner = 0.7  # height of the two goals, metres, over the second room's right half
    observation_space = numbers(3)  # x/10, y, the cue while it is shown, else 0
    action_space = controls(2)  # velocity along x and y

    def reset(self, key: PRNGKeyArray) -> TwoRoomsState:
        """Anywhere in the first room, either cue."""
        place, side = jax.random.split(key)
        low, high = jnp.array([0.0, -ROOM / 2]), jnp.array([ROOM, ROOM / 2])
        position = jax.random.uniform(place, (2,), minval=low, maxval=high)
        cue = jnp.where(jax.random.bernoulli(side), 1.0, -1.0)
        return TwoRoomsState(position, cue, jnp.zeros((), jnp.int32))

    def step(
        self, state: TwoRoomsState, action: Float[Array, " A"], key: PRNGKeyArray
    ) -> Transition:
        """Moves along x, then along y, each as far as the walls allow."""
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
    """Two rooms, of which the first is left after 64 of 192 steps, by a door that is not seen.

    So 90 steps at least lie between the cue and the goals. These meet in the middle: chance leads
    to either of them, and what is tested is memory, not exploration.
    """

    length = 192
    opens = 64
    corner = ROOM / 2


def reach_x(x: Array, y: Array) -> tuple[Array, Array]:
    """Lowest and highest x that can be had from (x, y): all of it in the hallway's line."""
    end, line = 2 * ROOM + HALL, jnp.abs(y) <= HALF_HALL
    second = x >= ROOM + HALL
    low = jnp.where(~line & second, ROOM + HALL, 0.0)
    return low, jnp.where(~line & ~second, ROOM, end)


def reach_y(x: Array) -> tuple[Array, Array]:
    """Lowest and highest y at a place: within the hallway's width, or the room's."""
    hall = (x > ROOM) & (x < ROOM + HALL)
    half = jnp.where(hall, HALF_HALL, ROOM / 2)
    return -half, half
