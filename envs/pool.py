"""EnvPool's environments, `envpool:ID`: many environments, stepped together by threads.

A `Pool` steps all of its environments together. A `PoolRow` presents one of them as a
`gymnasium.Env`, so that it is checked and wrapped like any other; `vector.py: PooledVectorEnv`
steps the pool, then asks every row for its results.

Source: Weng et al., "EnvPool" (NeurIPS 2022 Datasets and Benchmarks), and its documentation.
"""

import difflib
import importlib
import warnings
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from common import UserError
from envs.own import Limited
from envs.plugins import plugin_of


class Pool:
    """Environments of one id that are stepped together, with NEXT_STEP autoreset.

    Args:
      env_id: the id in EnvPool.
      count: number of environments.
      options: keywords of `envpool.make_gymnasium`, such as frame_skip or max_episode_steps.
    Raises:
      UserError: if EnvPool is not installed, the id is unknown, or it does not accept the options.
    """

    def __init__(self, env_id: str, count: int, options: dict[str, Any]) -> None:
        self.env_id, self.count, self.options = env_id, count, options
        self.env = self._make(0)
        self.action_space = self.env.action_space
        self.observation_space = _unbounded(self.env.observation_space)
        self.arrived: tuple[Any, ...] = ()  # what `step` returns, for all rows

    def start(self, seed: int) -> None:
        """Recreate and reset all environments; environment i is seeded with ``seed`` + i."""
        self.env.close()
        self.env = self._make(seed)
        self.restart()

    def restart(self) -> None:
        """Start a new episode in every environment, each drawn from its own generator."""
        obs, none = self.env.reset()[0], np.zeros(self.count, bool)
        self.arrived = obs, np.zeros(self.count), none, none, {}

    def send(self, actions: Any) -> None:
        """Start a step of all environments, actions [N, ...]; the pool's threads carry it out."""
        self.env.send(np.asarray(actions, self.action_space.dtype))

    def receive(self) -> None:
        """Wait for the results of the step, in the order of the rows."""
        self.arrived = self.env.recv()

    def _make(self, seed: int) -> Any:
        try:
            package = importlib.import_module("envpool")
        except ImportError as error:
            raise UserError(
                f"environment envpool:{self.env_id}: expected the package envpool, received "
                f"{' '.join(str(error).split())}; pip install envpool"
            ) from error
        known = package.list_all_envs()
        if self.env_id not in known:
            close = difflib.get_close_matches(self.env_id, known, 1)
            hint = f"; did you mean 'envpool:{close[0]}'?" if close else ""
            raise UserError(
                f"expected envpool:ID with one of EnvPool's {len(known):,} ids, received "
                f"{self.env_id!r}{hint or '; see envpool.list_all_envs()'}"
            )
        try:
            env = package.make_gymnasium(
                self.env_id, num_envs=self.count, seed=seed, **self.options
            )
        except (TypeError, ValueError, AssertionError) as error:
            raise UserError(
                f"expected options that envpool:{self.env_id} takes, received {self.options}: "
                f"{' '.join(str(error).split())}; see --env.options"
            ) from error
        with warnings.catch_warnings():  # about bounds of its spaces rounded to their dtype
            warnings.filterwarnings("ignore", message=".*precision lowered")
            _ = env.observation_space, env.action_space  # built here, then cached
        return env


class PoolRow(Limited, gymnasium.Env[Any, Any]):
    """One environment of a pool.

    Args:
      pool: the pool of this row; its owner steps it.
      index: which row; None: the pool's only row, which steps the pool itself.
    """

    def __init__(self, pool: Pool, index: int | None = None) -> None:
        self.pool, self.index, self.alone = pool, index or 0, index is None
        self.observation_space, self.action_space = pool.observation_space, pool.action_space
        self.time_limit = getattr(pool.env.spec.config, "max_episode_steps", None)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """The first observation of the episode that the pool has begun."""
        super().reset(seed=seed)
        if self.alone and seed is not None:
            self.pool.start(seed)
        elif self.alone:
            self.pool.restart()
        return self._row(self.pool.arrived[0]), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """The result of the pool's step for this row."""
        if self.alone:
            self.pool.send(np.asarray(action)[None])
            self.pool.receive()
        obs, reward, terminated, truncated, _ = self.pool.arrived
        ends = bool(terminated[self.index]), bool(truncated[self.index])
        return self._row(obs), float(reward[self.index]), *ends, {}

    def close(self) -> None:
        """Close the pool, and with it all of its rows."""
        self.pool.env.close()

    def _row(self, batch: Any) -> Any:
        if isinstance(batch, dict):
            return {name: self._row(part) for name, part in batch.items()}
        return np.array(batch[self.index])  # a copy: the pool reuses its buffers


def pool_row(pool: Pool, index: int | None = None) -> gymnasium.Env[Any, Any]:
    """A row, wrapped in the same way as Gymnasium's environment of the same id (`plugins.py`)."""
    row: gymnasium.Env[Any, Any] = PoolRow(pool, index)
    plugin = plugin_of(pool.env_id)
    return row if plugin is None or plugin.wrap is None else plugin.wrap(row)


def _unbounded(space: Any) -> Any:
    """Replace missing bounds by infinity. For a missing lower bound of floats, EnvPool gives the
    smallest positive number."""
    if isinstance(space, spaces.Dict):
        return spaces.Dict({name: _unbounded(part) for name, part in space.spaces.items()})
    if isinstance(space, spaces.Box) and space.dtype in (np.float32, np.float64):
        tiny, most = np.finfo(space.dtype).tiny, np.finfo(space.dtype).max
        low = np.where((space.low == tiny) | (space.low == -most), -np.inf, space.low)
        high = np.where(space.high == most, np.inf, space.high)
        return spaces.Box(low, high, space.shape, space.dtype)
    return space
