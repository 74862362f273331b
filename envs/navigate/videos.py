"""Video of the builtin world as an agent with given settings would see it, played by the follower.

`NavigateVideos(config.env).episode(i, seed)` is one walk with observations, actions, rewards and
ground truth. Observations pass through the same wrappers as in `vector.make_agent_env`, and actions
are in the agent's action space: at each step of the agent, the follower's action is clipped to that
space and held for `action_repeat` frames. A world model that is pretrained on these frames, with or
without the actions, therefore meets the same spaces in the environment.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium import spaces

from common import UserError
from envs.config import NAVIGATE, EnvConfig
from envs.navigate import blocks as B
from envs.navigate import physics as P
from envs.navigate.env import NavigateEnv
from envs.navigate.follower import CompassFollower
from envs.navigate.grid import SIZE
from envs.navigate.task import FRAMES, GOAL_DISTANCE, Task
from envs.navigate.world import set_block
from envs.options import navigate_options
from envs.vector import make_agent_env

_NO_LIMIT = 2**62  # frames


class Episode(NamedTuple):
    """One walk of T steps of the agent, in the arrival convention.

    Record t holds an observation, the action that led to it, and the reward and terminal that came
    with it; record 0 is the reset, whose action and reward are 0.
    """

    obs: dict[str, np.ndarray]  # [T, ...], as the agent's observation space
    action: dict[str, np.ndarray]  # [T, ...], as the agent's action space
    reward: np.ndarray  # float32 [T], summed over the frames of a step
    terminal: np.ndarray  # bool [T]
    factors: dict[str, np.ndarray]  # ground truth [T, ...], see NavigateVideos


class _Player(NavigateEnv):
    """Navigate, extended for a scripted player and for recording the ground truth."""

    def look(self) -> dict[str, Any]:
        """The current observation with its picture, even if the last step did not draw one."""
        return self._observe(drawn=True)

    def set_next_goal(self) -> None:
        """Replace the goal by one `goal_distance` blocks from here; the needle swings to it."""
        needle, (x, y, z) = self.task.needle, np.floor(self.task.goal).astype(int).tolist()
        set_block(self.world, x, y, z, B.AIR)
        self.task = Task(self.world, self.np_random, self.body, self.goal_distance)
        self.task.needle = needle

    def truth(self) -> dict[str, Any]:
        """Ground truth of the current state, without `goals`."""
        x, z = (int(np.floor(self.body[axis])) % SIZE for axis in (P.X, P.Z))
        return {
            "position": self.body[[P.X, P.Y, P.Z]].astype(np.float32),
            "view": self.body[[P.YAW, P.PITCH]].astype(np.float32),
            "biome": np.int32(self.world.biome[x, z]),
        }


@dataclass(frozen=True)
class NavigateVideos:
    """Walks of the scripted follower; walk i depends only on these options, the seed and i.

    Factors:
      position: float32 [T, 3], x, y, z of the feet in blocks. The world repeats every 512 blocks in
        x and z; the coordinates do not wrap.
      view: float32 [T, 2], yaw and pitch, degrees, as in `physics`.
      biome: int32 [T], the biome under the feet, an index into `grid.BIOMES`.
      goals: int32 [T], goals touched so far.
    """

    env: EnvConfig = field(default_factory=EnvConfig)
    """The agent's environment: what it observes and does. The back end is always `builtin`."""
    length: int = 1_000
    """The agent's steps per episode (at most that many, unless `endless`)."""
    endless: bool = True
    """Whether touching a goal sets the next one, 64 blocks further on, so that every episode has
    `length` steps and no terminal. Otherwise episodes end as in the environment."""

    def __post_init__(self) -> None:
        """Raise UserError for a length below 1 or an environment other than builtin Navigate."""
        if self.length < 1:
            raise UserError(f"length: expected 1 step or more, received {self.length}; raise it")
        if self.env.name != NAVIGATE or self.env.backend == "minerl":
            raise UserError(
                f"expected {NAVIGATE} on the builtin back end, received {self.env.name} on "
                f"{self.env.backend}; import recordings of other worlds with recordings"
            )

    def episodes(self, count: int, seed: int, first: int = 0) -> Iterator[Episode]:
        """Episodes number `first` to `first + count - 1`, one at a time."""
        for index in range(first, first + count):
            yield self.episode(index, seed)

    def episode(self, index: int, seed: int) -> Episode:
        """Episode `index` of the endless series that `seed` defines (neither may be negative)."""
        player, agent = self._player(), self.agent_env()
        player.reset(seed=world_seed(index, seed))
        follower = CompassFollower(world_seed(index, seed))
        action = {key: np.zeros_like(space.sample()) for key, space in _keys(agent).items()}
        raw, done, goals, records = player.look(), False, 0, []
        records.append((agent_view(agent, raw), action, 0.0, False, player.truth() | {"goals": 0}))
        while not done and len(records) < self.length:
            action = self._wish(follower, raw, _keys(agent))
            reward, terminal, done, touched = self._hold(player, agent_action(agent, action))
            raw, goals = player.look(), goals + touched
            truth = player.truth() | {"goals": goals}
            records.append((agent_view(agent, raw), action, reward, terminal, truth))
            if touched:
                _forget_all_but_pitch(follower)
        return _stack(records)

    def agent_env(self) -> gymnasium.Env[Any, Any]:
        """The environment of an agent with these settings; its spaces are those of the records."""
        return make_agent_env(replace(self.env, backend="builtin", minerl_python=None))

    def _player(self) -> _Player:
        limit = FRAMES if self.env.time_limit is None else self.env.time_limit
        limit = _NO_LIMIT if self.endless else limit
        options = navigate_options(self.env)
        distance = float(options.rest.get("goal_distance", GOAL_DISTANCE))
        player = _Player(options.dense, limit, goal_distance=distance)
        player.seen = False
        return player

    def _wish(
        self, follower: CompassFollower, raw: dict[str, Any], keys: dict[str, spaces.Space[Any]]
    ) -> dict[str, Any]:
        """The agent's action nearest to the follower's: keys that the agent lacks are dropped, and
        a step turns as far as the follower would in a frame, within the camera's limit."""
        while "attack" not in keys and follower.plan and follower.plan[0][0] == "dig":
            follower.plan.popleft()  # it cannot dig: skip to what comes after that
        wish = follower(raw)
        camera = keys["camera"]
        assert isinstance(camera, spaces.Box)
        turn = np.clip(wish["camera"] / self.env.action_repeat, camera.low, camera.high)
        done = float(turn[0]) * self.env.action_repeat
        follower.pitch += done - float(wish["camera"][0])  # it assumes that its action was taken
        return {key: turn if key == "camera" else np.int64(wish[key]) for key in keys}

    def _hold(self, player: _Player, action: dict[str, Any]) -> tuple[float, bool, bool, int]:
        """Play the frames of one step. Returns (reward, terminal, episode ended, goals touched)."""
        total, touched = 0.0, 0
        for _ in range(self.env.action_repeat):
            _, reward, terminated, truncated, _ = player.step(action)
            total += reward
            if terminated and self.endless:
                touched += 1
                player.set_next_goal()
            elif terminated or truncated:
                return total, terminated, True, int(terminated)
        return total, False, False, touched


def world_seed(index: int, seed: int) -> int:
    """The seed with which the environment is reset for an episode.

    Raises:
      UserError: if either number is negative.
    """
    if index < 0 or seed < 0:
        raise UserError(f"expected index and seed of 0 or more, received {index} and {seed}")
    return int(np.random.SeedSequence((seed, index)).generate_state(1)[0])


def agent_view(env: gymnasium.Env[Any, Any], obs: Any) -> Any:
    """Apply the wrappers of `env` to an observation of the environment inside them."""
    if not isinstance(env, gymnasium.Wrapper):
        return obs
    inner = agent_view(env.env, obs)
    return env.observation(inner) if isinstance(env, gymnasium.ObservationWrapper) else inner


def agent_action(env: gymnasium.Env[Any, Any], action: Any) -> Any:
    """Apply the wrappers of `env` to an action for the environment inside them."""
    while isinstance(env, gymnasium.Wrapper):
        action = env.action(action) if isinstance(env, gymnasium.ActionWrapper) else action
        env = env.env
    return action


def _keys(env: gymnasium.Env[Any, Any]) -> dict[str, spaces.Space[Any]]:
    assert isinstance(env.action_space, spaces.Dict)
    return env.action_space.spaces


def _forget_all_but_pitch(follower: CompassFollower) -> None:
    """Reset the follower for a new task, but keep the pitch of its head."""
    pitch = follower.pitch
    follower.reset()
    follower.pitch = pitch


def _stack(records: list[tuple[Any, Any, float, bool, dict[str, Any]]]) -> Episode:
    obs, action, reward, terminal, truth = zip(*records, strict=True)
    flags = np.array(reward, np.float32), np.array(terminal, bool)
    factors = _columns(truth)
    factors["goals"] = factors["goals"].astype(np.int32)
    return Episode(_columns(obs), _columns(action), *flags, factors)


def _columns(rows: tuple[dict[str, Any], ...]) -> dict[str, np.ndarray]:
    """Rows of named values as named columns [T, ...]."""
    return {key: np.stack([row[key] for row in rows]) for key in rows[0]}
