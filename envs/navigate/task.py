"""Navigate's task: where the goal lies, what the compass shows, what is rewarded.

Constants are those of MineRL 0.4.4's Navigate: the goal block 64 blocks from the start, the compass
target 8 to 11 blocks from the goal, a needle that lags, +100 once on touching the goal.
"""

from __future__ import annotations

import math

import numpy as np

from envs.navigate import blocks as B
from envs.navigate import physics as P
from envs.navigate.grid import BIOMES, HEIGHT, OCEAN, SEA, SIZE, wrap
from envs.navigate.world import World, set_block

GOAL_DISTANCE = 64.0  # blocks, horizontally
GOAL_REWARD = 100.0
COMPASS_OFFSET = (8.0, 11.0)  # blocks between the goal and where the compass points, uniform
FRAMES = 6_000  # of 50 ms
_TOUCH = 0.05  # blocks of air between body and goal that still count as touching


class Needle:
    """A compass needle with inertia, one update per frame.

    speed ← 0.8 (speed + 0.1 wrap(true - angle)),   angle ← wrap(angle + speed)
    """

    def __init__(self, angle: float) -> None:
        """Start at rest on `angle` (degrees)."""
        self.angle = angle
        self.speed = 0.0

    def update(self, true: float) -> float:
        """Follow the true angle (degrees, positive to the right) for one frame; return the new
        angle."""
        self.speed = 0.8 * (self.speed + 0.1 * wrap_degrees(true - self.angle))
        self.angle = wrap_degrees(self.angle + self.speed)
        return self.angle


class Task:
    """Goal, compass and reward of one episode."""

    def __init__(
        self,
        world: World,
        rng: np.random.Generator,
        body: np.ndarray,
        goal_distance: float = GOAL_DISTANCE,
    ) -> None:
        """Choose and place the goal block and the compass target.

        Args:
          world: changed in place: one block becomes GOAL.
          rng: source of the goal's direction and the compass offset.
          body: float64 [11] of the player at the start.
          goal_distance: horizontal distance in blocks from the start to the goal.
        """
        start_x, start_z = float(body[P.X]), float(body[P.Z])
        east = rng.uniform(-goal_distance, goal_distance)
        south = rng.choice((-1.0, 1.0)) * math.sqrt(goal_distance**2 - east**2)
        x, z = math.floor(start_x + east), math.floor(start_z + south)
        y = max(int(world.ground[x % SIZE, z % SIZE]), SEA) + 1
        set_block(world, x, y, z, B.GOAL)
        self.goal = np.array((x + 0.5, y, z + 0.5))  # bottom centre of the block
        angle, radius = rng.uniform(0, 2 * math.pi), rng.uniform(*COMPASS_OFFSET)
        offset = (radius * math.cos(angle), 0.0, radius * math.sin(angle))
        self.target = self.goal + np.array(offset)
        self.needle = Needle(self.true_angle(body))
        self.touched = False
        self.distance = self.target_distance(body)

    def update(self, body: np.ndarray) -> tuple[float, float, bool]:
        """Account for one frame.

        Returns:
          (sparse, dense, done): +100 on the frame the goal is first touched; the decrease of the
          3-D distance to the compass target, blocks; whether the goal has been touched.
        """
        self.needle.update(self.true_angle(body))
        before, self.distance = self.distance, self.target_distance(body)
        newly = not self.touched and self.touching(body)
        self.touched |= newly
        return GOAL_REWARD * newly, before - self.distance, self.touched

    def true_angle(self, body: np.ndarray) -> float:
        """Degrees to turn right in order to face the compass target, in [-180, 180)."""
        east, _, south = _difference(self.target, body)
        return wrap_degrees(math.degrees(math.atan2(-east, south)) - float(body[P.YAW]))

    def target_distance(self, body: np.ndarray) -> float:
        """3-D distance (blocks) from the feet to the compass target."""
        return math.hypot(*_difference(self.target, body))

    def goal_distance(self, body: np.ndarray) -> float:
        """Horizontal distance (blocks) from the feet to the goal's centre."""
        east, _, south = _difference(self.goal, body)
        return math.hypot(east, south)

    def touching(self, body: np.ndarray) -> bool:
        """Whether the body's box meets the goal block."""
        east, up, south = _difference(self.goal, body)
        reach = 0.5 + P.WIDTH / 2 + _TOUCH
        beside = abs(east) <= reach and abs(south) <= reach
        return beside and -1 - _TOUCH <= up <= P.TALL + _TOUCH


def place_player(world: World, rng: np.random.Generator) -> np.ndarray:
    """Place the player on free, dry ground: in a random column of a random biome.

    Returns:
      float64 [11] body at rest, looking in a random horizontal direction.
    """
    bare = (world.top == world.ground + 1) & (world.ground > SEA) & (world.biome != OCEAN)
    kinds = [k for k in range(len(BIOMES)) if (bare & (world.biome == k)).any()]
    chosen = bare & (world.biome == rng.choice(kinds))
    x, z = (int(v) for v in rng.choice(np.argwhere(chosen)))
    body = np.zeros(11)
    body[[P.X, P.Y, P.Z]] = x + 0.5, min(int(world.top[x, z]), HEIGHT), z + 0.5
    body[P.YAW] = rng.uniform(-180, 180)
    body[P.ON_GROUND] = 1.0
    return body


def wrap_degrees(angle: float) -> float:
    """The same direction in [-180, 180)."""
    return (angle + 180.0) % 360.0 - 180.0


def _difference(place: np.ndarray, body: np.ndarray) -> tuple[float, float, float]:
    """Shortest vector (x, y, z) in blocks from the body's feet to a place on the torus."""
    x, y, z = place.tolist()
    own_x, own_y, own_z = body[: P.Z + 1].tolist()
    return wrap(x - own_x), y - own_y, wrap(z - own_z)
