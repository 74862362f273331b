"""Navigate in the builtin voxel world, with exactly the spaces of MineRL 0.4.4's Navigate.

It shares with the original the spaces, the frame, the task constants and the rewards. It leaves out
mobs, health, drowning and falling damage, day and night, falling sand, flowing water and drops to
pick up (dug dirt goes straight to the inventory). It is easier in that the goal cannot be dug away
and floats on deep water, and that swimmers can climb banks one block high.
Read next: `task.py`, `world.py`, `physics.py`, `render.py`.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from common import UserError
from envs.navigate import blocks as B
from envs.navigate import physics as P
from envs.navigate.grid import HEIGHT, SIZE
from envs.navigate.render import render
from envs.navigate.task import FRAMES, GOAL_DISTANCE, Task, place_player
from envs.navigate.world import generate, set_block
from envs.own import Limited, Sparing

KEYS = ("attack", "back", "forward", "jump", "left", "right", "sneak", "sprint")
#: MineRL's Enum("none", "dirt") for `place`, as Discrete(2): index 0 is "none", 1 is "dirt".
PLACE = ("none", "dirt")
MAX_DIRT = 2_304
PIXELS = 64
_PLACE_PAUSE = 4  # frames between two placed blocks while the key is held


def observation_space() -> spaces.Dict:
    """`pov` uint8 (64, 64, 3); `compass.angle` degrees; `inventory.dirt` pieces."""
    angle = spaces.Box(-180.0, 180.0, (), np.float32)
    dirt = spaces.Box(0, MAX_DIRT, (), np.int32)
    return spaces.Dict(
        {
            "pov": spaces.Box(0, 255, (PIXELS, PIXELS, 3), np.uint8),
            "compass": spaces.Dict({"angle": angle}),
            "inventory": spaces.Dict({"dirt": dirt}),
        }
    )


def action_space() -> spaces.Dict:
    """Eight keys, `camera` = [Δpitch, Δyaw] degrees per frame, `place` (see PLACE)."""
    keys: dict[str, spaces.Space[Any]] = {key: spaces.Discrete(2) for key in KEYS}
    keys["camera"] = spaces.Box(-180.0, 180.0, (2,), np.float32)
    keys["place"] = spaces.Discrete(len(PLACE))
    return spaces.Dict(keys)


class NavigateEnv(Sparing, Limited, gymnasium.Env[dict[str, Any], dict[str, Any]]):
    """Find the goal block some 64 blocks away, with a compass that points near it.

    Reward: +100 once for touching the goal, which ends the episode (terminated). With `dense`, each
    frame also pays the decrease of the 3-D distance to the compass target, in blocks. After
    `time_limit` frames the episode is truncated. `info["success"]` says whether the goal has been
    touched. MineRL considers a run solved at a return of 100, or 160 with `dense`
    (`reward_threshold`).
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}

    def __init__(
        self,
        dense: bool = False,
        time_limit: int = FRAMES,
        render_mode: str | None = None,
        render_size: int = 256,
        goal_distance: float = GOAL_DISTANCE,
    ) -> None:
        """See the class.

        Args:
          dense: add the shaping reward (MineRLNavigateDense) or not (MineRLNavigate).
          time_limit: frames of 50 ms.
          render_mode: None, or "rgb_array" for `render()`.
          render_size: pixels along one edge of what `render()` returns.
          goal_distance: horizontal distance in blocks from the start to the goal. MineRL's is 64;
            nearer goals are easier to reach by chance (the compass points 8 to 11 blocks beside
            every goal).
        Raises:
          UserError: for a time limit or size below 1, an unknown render mode, or a goal that is
            less than 1 block away or further than half of the world, which is a torus.
        """
        if time_limit < 1 or render_size < 1:
            raise UserError(
                f"expected time_limit and render_size of at least 1, received {time_limit} and "
                f"{render_size}; give a positive number of frames and pixels"
            )
        if render_mode not in (None, "rgb_array"):
            raise UserError(
                f"expected render_mode None or 'rgb_array', received {render_mode!r}; "
                "there is no window to draw into"
            )
        if not 1 <= goal_distance <= SIZE / 2:
            raise UserError(
                f"expected a goal_distance of 1 to {SIZE // 2} blocks, received {goal_distance}; "
                f"MineRL's is {GOAL_DISTANCE:.0f}"
            )
        self.observation_space = observation_space()
        self.action_space = action_space()
        self.dense = dense
        self.time_limit: int = time_limit
        self.reward_threshold = 160.0 if dense else 100.0
        self.render_mode = render_mode
        self.render_size = render_size
        self.goal_distance = goal_distance

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Start in a new world with a new goal, from `seed` or the environment's generator."""
        super().reset(seed=seed)
        self.world = generate(int(self.np_random.integers(2**31)))
        self.body = place_player(self.world, self.np_random)
        self.task = Task(self.world, self.np_random, self.body, self.goal_distance)
        self.frames, self.dirt = 0, 0
        self._sneaking = False
        self._digging: tuple[int, int, int] | None = None
        self._progress, self._pause = 0, 0
        return self._observe(drawn=True), self._info()

    def step(
        self, action: dict[str, Any]
    ) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Advance one frame: turn, move, dig and place, then reward."""
        self._turn(action["camera"])
        self._walk(action)
        self._use_hands(bool(action["attack"]), bool(action["place"]))
        sparse, dense, done = self.task.update(self.body)
        self.frames += 1
        reward = sparse + dense if self.dense else sparse
        truncated = not done and self.frames >= self.time_limit
        obs = self._observe(self.seen or done or truncated)
        return obs, float(reward), done, truncated, self._info()

    def render(self) -> np.ndarray | None:
        """The player's view at `render_size`, uint8 (size, size, 3); None without a mode."""
        return self._view(self.render_size) if self.render_mode else None

    def _turn(self, camera: np.ndarray) -> None:
        """Add [Δpitch, Δyaw] degrees; the pitch stops at straight up and straight down."""
        pitch, yaw = float(camera[0]), float(camera[1])
        if not (abs(pitch) <= 180 and abs(yaw) <= 180):
            raise UserError(
                f"expected camera = [Δpitch, Δyaw] within ±180 degrees, received [{pitch}, {yaw}]; "
                "clip the action to the action space, and look for NaN in the policy"
            )
        self.body[P.PITCH] = min(90.0, max(-90.0, self.body[P.PITCH] + pitch))
        self.body[P.YAW] = (self.body[P.YAW] + yaw + 180.0) % 360.0 - 180.0

    def _walk(self, action: dict[str, Any]) -> None:
        """Hand the movement keys to the physics."""
        self._sneaking = bool(action["sneak"])
        P.advance(
            self.world.blocks,
            self.body,
            int(action["forward"]) - int(action["back"]),
            int(action["left"]) - int(action["right"]),
            bool(action["jump"]),
            self._sneaking,
            bool(action["sprint"]),
        )

    def _use_hands(self, attack: bool, place: bool) -> None:
        """Dig at, or put dirt on, the block looked at."""
        self._pause = max(0, self._pause - 1)
        if not attack:
            self._digging = None
        if not attack and not place:
            return
        x, y, z, *normal = P.look(self.world.blocks, self.body, self._eye)
        seen = any(normal)
        if attack:
            self._dig((x % SIZE, y, z % SIZE) if seen else None)
        if place and seen and not self._pause:
            self._place(x + normal[0], y + normal[1], z + normal[2])

    def _dig(self, cell: tuple[int, int, int] | None) -> None:
        """Dig at a block for one frame; looking at another block restarts the count."""
        if cell != self._digging:
            self._digging, self._progress = cell, 0
        if cell is None:
            return
        block = P.block_at(self.world.blocks, *cell)
        self._progress += 1
        if not 0 < B.DIG_TICKS[block] <= self._progress:
            return
        set_block(self.world, *cell, B.AIR)
        self._digging = None
        if block in B.DROPS_DIRT:
            self.dirt = min(MAX_DIRT, self.dirt + 1)

    def _place(self, x: int, y: int, z: int) -> None:
        """Place one block of dirt in air or water, but not inside the player."""
        free = 0 < y < HEIGHT and P.block_at(self.world.blocks, x, y, z) < B.FIRST_SOLID
        if free and self.dirt and not self._occupied(x, y, z):
            set_block(self.world, x, y, z, B.DIRT)
            self.dirt -= 1
            self._pause = _PLACE_PAUSE

    def _occupied(self, x: int, y: int, z: int) -> bool:
        """Whether the player's box overlaps the cell."""
        reach = 0.5 + P.WIDTH / 2
        beside = abs(x + 0.5 - self.body[P.X]) < reach and abs(z + 0.5 - self.body[P.Z]) < reach
        return bool(beside and y - P.TALL < self.body[P.Y] < y + 1)

    @property
    def _eye(self) -> float:
        """Height of the eye above the feet, blocks."""
        return P.EYE - 0.08 if self._sneaking else P.EYE

    def _view(self, size: int) -> np.ndarray:
        """The player's view, uint8 (size, size, 3)."""
        eye = (self.body[P.X], self.body[P.Y] + self._eye, self.body[P.Z])
        world, yaw, pitch = self.world, self.body[P.YAW], self.body[P.PITCH]
        return render(world.blocks, world.top, world.tile_top, eye, yaw, pitch, size)

    def _observe(self, drawn: bool) -> dict[str, Any]:
        """The observation, in `observation_space`; unless ``drawn``, with the previous picture."""
        if drawn:
            self._pov = self._view(PIXELS)
        return {
            "pov": self._pov,
            "compass": {"angle": np.asarray(self.task.needle.angle, np.float32)},
            "inventory": {"dirt": np.asarray(self.dirt, np.int32)},
        }

    def _info(self) -> dict[str, Any]:
        """`success`, and the distances (blocks) to the goal and to the compass target."""
        return {
            "success": self.task.touched,
            "goal_distance": self.task.goal_distance(self.body),
            "target_distance": self.task.distance,
        }
