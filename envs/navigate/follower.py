"""A scripted reference player of Navigate: follows the compass, then looks for the goal.

It sees what an agent sees (the picture and the needle, no positions) and turns at most 15 degrees
per frame. Its behaviours, in order of precedence:

1. seek: if the goal's cyan is in the picture, walk towards it;
2. free itself: if the picture stays the same although it walks, dig ahead, then try another way;
3. search: if the needle has swung round, the compass target is here and the goal 8 to 11 blocks
   away; look all round, then walk a circle around the target, wider each time;
4. follow: turn to the needle and run.

It runs and jumps all the time, which is how a player swims and climbs here.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from common.kernels import kernel
from envs.navigate.env import KEYS
from envs.navigate.render import FIELD_OF_VIEW

MAX_TURN = 15.0  # degrees per frame
_LOOK_DOWN = 8.0  # degrees of pitch while walking
_ARRIVED_AFTER = 12  # frames of facing the needle before its swing counts as arrival
_SPIN = 40  # frames to look all round at 10 degrees per frame
_OUT = 34  # frames to walk from the target to where the goal may be
_CIRCLE = 260  # frames to walk round the target at that distance
_MEMORY = 25  # frames to keep going towards a goal that has left the picture
_PATIENCE = 350  # frames of following the needle without arriving, then it tries another way
_PAST = 26  # pictures remembered
_STILL = 2.0  # mean change of the picture (of 255) below which it counts as the same


class CompassFollower:
    """A policy for one `NavigateEnv`: `action = follower(obs)`; `reset()` between episodes."""

    def __init__(self, seed: int) -> None:
        """`seed` decides which way it turns when stuck."""
        self.rng = np.random.default_rng(seed)
        self.reset()

    def reset(self) -> None:
        """Forget the episode."""
        self.pitch = 0.0
        self.plan: deque[tuple[str, float, int]] = deque()  # (what, degrees, frames left)
        self.aligned = 0
        self.rounds = 0
        self.followed = 0
        self.since_goal = _MEMORY
        self.walked = 0
        self.past = np.zeros((_PAST, 32, 32, 3), np.uint8)  # ring buffer of small pictures
        self.seen = 0  # pictures stored since the last stop

    def __call__(self, obs: dict[str, Any]) -> dict[str, Any]:
        """The action for an observation of `NavigateEnv`."""
        angle, pov = float(obs["compass"]["angle"]), obs["pov"]
        stuck = self._is_stuck(pov)
        bearing = goal_bearing(pov)
        if bearing is not None:
            return self._seek(bearing, stuck)
        if self.plan:
            return self._follow_plan(angle)
        if stuck:
            self._plan_escape()
            return self._follow_plan(angle)
        if self.since_goal < _MEMORY:
            self.since_goal += 1
            return self._act(0.0, _LOOK_DOWN)
        return self._approach(angle)

    def _approach(self, angle: float) -> dict[str, Any]:
        """Run after the needle; plan a search when it swings round."""
        self.followed += 1
        if self.followed > _PATIENCE:
            self._plan_detour()
            return self._follow_plan(angle)
        if abs(angle) < 35:
            self.aligned += 1
        elif abs(angle) > 90 and self.aligned >= _ARRIVED_AFTER:
            self._plan_search()
            return self._follow_plan(angle)
        return self._act(0.25 * angle, _LOOK_DOWN, run=abs(angle) < 60)

    def _seek(self, bearing: tuple[float, float], stuck: bool) -> dict[str, Any]:
        """Walk towards the goal at (right, down) degrees from the middle of the picture."""
        self.since_goal = 0
        if stuck and not self.plan:
            self._plan_escape()
        if self.plan and self.plan[0][0] in ("dig", "away"):
            return self._follow_plan(0.0)
        self.plan.clear()
        right, down = bearing
        pitch = float(np.clip(self.pitch + down, -40, 40))
        return self._act(0.5 * right, pitch, run=abs(right) < 20)

    def _plan_search(self) -> None:
        """Look all round, walk out, then walk a circle; the next round is wider and reversed."""
        self.aligned = self.followed = 0
        side = 90.0 if self.rounds % 2 else -90.0
        wider = 1 + 0.25 * (self.rounds % 4)
        self.plan.append(("spin", 10.0, _SPIN))
        self.plan.append(("walk", 0.0, int(_OUT * wider)))
        self.plan.append(("circle", side, int(_CIRCLE * wider)))
        self.rounds += 1

    def _plan_detour(self) -> None:
        """Walk a longer way in a random direction."""
        self.followed = 0
        self.plan.append(("away", float(self.rng.uniform(-150, 150)), 1))
        self.plan.append(("away", 0.0, int(self.rng.integers(30, 120))))

    def _plan_escape(self) -> None:
        """Dig at head height, at foot height, then walk off to one side."""
        self.seen = 0
        side = float(self.rng.choice((-1, 1)) * self.rng.uniform(50, 120))
        steps = [("dig", 0.0, 22), ("dig", 50.0, 22), ("away", side, 1), ("away", 0.0, 30)]
        self.plan.extendleft(reversed(steps[2 * int(self.rng.random() < 0.5) :]))

    def _follow_plan(self, angle: float) -> dict[str, Any]:
        """Act for one frame of the plan's first step."""
        what, degrees, frames = self.plan.popleft()
        if what == "away" and abs(degrees) > MAX_TURN:
            turn = float(np.copysign(MAX_TURN, degrees))
            self.plan.appendleft((what, degrees - turn, frames))
            return self._act(turn, _LOOK_DOWN, run=False)
        if frames > 1:
            self.plan.appendleft((what, degrees, frames - 1))
        if what == "dig":
            return self._act(0.0, degrees, run=False, attack=True)
        if what == "spin":
            return self._act(degrees, _LOOK_DOWN + 6, run=False)
        if what == "circle":
            off = (angle - degrees + 180) % 360 - 180
            return self._act(0.25 * off, _LOOK_DOWN)
        return self._act(degrees, _LOOK_DOWN)

    def _act(
        self, turn: float, pitch: float, run: bool = True, attack: bool = False
    ) -> dict[str, Any]:
        """Keys and camera: turn by `turn` degrees, look towards `pitch`, run and jump or stand."""
        action: dict[str, Any] = dict.fromkeys(KEYS, 0)
        tilt = float(np.clip(pitch - self.pitch, -MAX_TURN, MAX_TURN))
        self.pitch += tilt
        turn = float(np.clip(turn, -MAX_TURN, MAX_TURN))
        action["camera"] = np.array((tilt, turn), np.float32)
        action["place"] = 0
        action["forward"] = action["sprint"] = int(run)
        action["jump"] = int(not attack)
        action["attack"] = int(attack)
        self.walked = self.walked + 1 if run and abs(turn) < 2 else 0
        return action

    def _is_stuck(self, pov: np.ndarray) -> bool:
        """Whether a picture seen 8 to 26 frames ago (a jump takes 12) recurs while walking."""
        if not self.walked:
            self.seen = 0
        slot = self.seen % _PAST
        self.past[slot] = pov[::2, ::2]
        self.seen += 1
        if self.walked < _PAST:
            return False
        return bool(_smallest_change(self.past, slot, 8) < _STILL)


@kernel()
def _smallest_change(past: np.ndarray, slot: int, recent: int) -> float:
    """Mean absolute difference between picture `slot` of a ring buffer and the most similar of the
    others, except those less than `recent` frames old."""
    smallest = np.inf
    now = past[slot].ravel()
    for age in range(recent, len(past)):
        then = past[(slot - age) % len(past)].ravel()
        total = np.int64(0)
        for i in range(len(now)):
            total += abs(np.int32(now[i]) - np.int32(then[i]))
        smallest = min(smallest, total / len(now))
    return smallest


def goal_bearing(pov: np.ndarray) -> tuple[float, float] | None:
    """Direction of the goal's cyan in a picture.

    Args:
      pov: uint8 [size, size, 3] RGB.
    Returns:
      (right, down) in degrees from the middle, or None if fewer than 2 pixels match.
    """
    rows, columns = _goal_pixels(pov)
    if len(rows) < 2:
        return None
    half = len(pov) / 2
    scale = np.tan(np.radians(FIELD_OF_VIEW / 2)) / half
    right = np.degrees(np.arctan(scale * (columns.mean() - half + 0.5)))
    down = np.degrees(np.arctan(scale * (rows.mean() - half + 0.5)))
    return float(right), float(down)


@kernel()
def _goal_pixels(pov: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pixels that have the goal's cyan."""
    height, width, _ = pov.shape
    found, count = np.empty((2, height * width), np.int64), 0
    for i in range(height):
        for j in range(width):
            red, green, blue = int(pov[i, j, 0]), int(pov[i, j, 1]), int(pov[i, j, 2])
            if green > 90 and green > 2 * red and 10 * blue > 8 * green and 8 * blue < 9 * green:
                found[:, count] = i, j
                count += 1
    return found[0, :count], found[1, :count]
