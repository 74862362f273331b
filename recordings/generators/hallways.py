"""Hallways: a first-person walk through two rooms and the hallway between them.

CW-VAE §3.4 describes what the public GQN mazes show: a scripted camera traverses two rooms joined
by a hallway, each with its own random textures. These videos resemble them but are a different data
set. The room, which the paper's Figure 5a evaluates, and the textures, the content of its top level
(Figure 7), are factors here. Read next: `maze_layout.py`, `raycast.py`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from recordings.generators.maze_layout import Layout, paint_textures, random_layout
from recordings.generators.raycast import draw_views, region_at
from recordings.generators.seeded import PIXELS, SeededVideos, require

CLEARANCE = 0.4  # cells that the camera keeps from every wall
_STOPS = (1, 6)  # places visited in a room before it is left, both inclusive
_TURN_BACK = 0.15  # probability of turning round at the hallway's middle


@dataclass(frozen=True)
class Hallways(SeededVideos):
    """Videos of a walk, 64 x 64 x 3, each in its own maze.

    Factors:
      room: int32 [T], 0 or 1 for the two rooms, 2 for the hallway.
      pose: float32 [T, 3]: x, y in cells, heading in radians within ±π (0: along x; towards y is
        to the right).
      textures: int32 [T, 3, 4], constant: pattern and colour of the walls and of the floor of room
        0, room 1 and the hallway, as indices into `maze_layout`'s PATTERNS and colours.
    """

    name: ClassVar[str] = "hallways"

    speed: float = 0.12
    """Cells per frame, straight ahead."""
    turn: float = 8.0
    """Largest turn, degrees per frame."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.speed < np.inf, "speed", self.speed, "cells per frame above 0")
        require(0 < self.turn <= 180, "turn", self.turn, "degrees per frame within (0, 180]")

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """See `SeededVideos`."""
        layout = random_layout(rng)
        pose = self._walk(layout, rng).astype(np.float32)
        images = draw_views(layout.grid, paint_textures(layout.looks), pose, PIXELS)
        return images, {
            "room": region_at(layout.grid, pose),
            "pose": pose,
            "textures": np.tile(layout.looks, (self.length, 1, 1)),
        }

    def _walk(self, layout: Layout, rng: np.random.Generator) -> np.ndarray:
        """Poses [T, 3] on straight lines between places, turning towards the next place."""
        places = script(layout, rng)
        x, y = next(places)
        heading, target = float(rng.uniform(-math.pi, math.pi)), next(places)
        poses = np.empty((self.length, 3))
        for t in range(self.length):
            poses[t] = x, y, heading
            while math.dist((x, y), target) < 1e-6:
                target = next(places)
            away_x, away_y = target[0] - x, target[1] - y
            off = _wrap(math.atan2(away_y, away_x) - heading)
            limit = math.radians(self.turn)
            heading = _wrap(heading + min(max(0.35 * off, -limit), limit))
            distance = math.hypot(away_x, away_y)
            step = min(1.0, self.speed * max(0.0, math.cos(off)) ** 3 / distance)
            x, y = x + step * away_x, y + step * away_y
        return poses


def script(layout: Layout, rng: np.random.Generator) -> Iterator[tuple[float, float]]:
    """Endless places (x, y) for the camera; the straight line between successive places is free.

    They are one to six places in a room, then a path through the hallway into the other room, or
    halfway and back, and so on.
    """
    room = int(rng.integers(2))
    while True:
        for _ in range(rng.integers(*_STOPS, endpoint=True)):
            x, y = rng.uniform(layout.rooms[room, 0] + CLEARANCE, layout.rooms[room, 1] - CLEARANCE)
            yield float(x), float(y)
        back = rng.random() < _TURN_BACK
        order = [0, 1, 2, 3] if room == 0 else [3, 2, 1, 0]
        for place in [*order[:2], order[0]] if back else order:
            x, y = layout.hallway[place]
            yield float(x), float(y)
        room = room if back else 1 - room


def _wrap(angle: float) -> float:
    """The same direction within ±π."""
    return (angle + math.pi) % (2 * math.pi) - math.pi
