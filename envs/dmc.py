"""The tasks of the DeepMind Control Suite as Gymnasium environments, observed by their state.

Source: Tassa et al. 2018, arXiv 1801.00690. One frame is one control step of the task. Each frame
pays a reward in [0, 1] and an episode has 1 000 frames, so that a return is at most 1 000.
Observations of the state need no graphics library. Read next: `dmc_render.py`, the pictures;
`registry.py`, the names.
"""

from __future__ import annotations

import difflib
import importlib
import math
import os
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from common import UserError
from envs.dmc_render import GL_PACKAGES, Renderer
from envs.own import Limited

PINS = {"dm-control": "1.0.50", "mujoco": "3.17.0"}  # the extras [dmc] and [test]
CAMERAS = {"quadruped": 2}  # in other domains, camera 0 follows the body or shows the whole scene
UNLIMITED = 1e10  # dm_control's bound for an actuator without limits

Observation = dict[str, Any]  # name -> float32 vector


class DMCEnv(Limited, gymnasium.Env[Observation, np.ndarray]):
    """One task of the suite.

    Observations: a Dict of dm_control's arrays by name, each a float32 vector. Actions: a Box in
    [-1, 1], rescaled to the task's own bounds (only the quadruped's differ). The task's time limit
    truncates an episode; a discount of 0 marks a terminal.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 50}

    def __init__(
        self,
        task: str,
        size: int = 64,
        camera: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        """See the class.

        Args:
          task: DOMAIN_TASK, such as walker_walk or ball_in_cup_catch.
          size: pixels along one edge of what `render` returns.
          camera: index of the model's camera, -1 for the free one; None: 0, or 2 for the quadruped.
          render_mode: `rgb_array`, or None for no pictures.
        Raises:
          UserError: for an unknown task, one with unbounded actions (lqr), packages that are
            missing or not at the pinned version, a size below 1, an unknown camera or mode.
        """
        suite = load_suite()
        domain, name = _split(task, suite.ALL_TASKS)
        # The task draws its random numbers from the seed that `reset` gives it.
        self.dm_env = suite.load(domain, name, task_kwargs={"random": 0})
        limit = self.dm_env._step_limit
        self.time_limit = round(limit) if math.isfinite(limit) else None
        space = _observation_space(self.dm_env.observation_spec())
        self.observation_space, self._names = space, tuple(space.spaces)
        self.action_space, self._middle, self._half = _scaled(task, self.dm_env.action_spec())
        self.camera = CAMERAS.get(domain, 0) if camera is None else camera
        self.size, self.render_mode = size, render_mode
        self.metadata = {**self.metadata, "render_fps": round(1 / self.dm_env.control_timestep())}
        self._check_rendering()
        self._renderer: Renderer | None = None
        self._seeded = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start a new episode, drawn from the seed; without a seed, from the current generator."""
        super().reset(seed=seed)
        if seed is not None or not self._seeded:
            self.dm_env.task.random.seed(int(self.np_random.integers(2**32)))
            self._seeded = True
        start = self._start()
        if self._renderer is not None:
            self._renderer.upload_terrain()
        return self._observation(start.observation), {}

    def step(self, action: np.ndarray) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Advance one frame.

        Raises:
          UserError: before the first `reset`, or after an episode's end.
        """
        result = self.dm_env.step(self._middle + self._half * np.asarray(action, np.float64))
        if result.first():
            raise UserError(
                "expected reset() before the first step and after an episode's end, received step()"
            )
        terminated = bool(result.last() and result.discount == 0)
        truncated = bool(result.last() and not terminated)
        obs = self._observation(result.observation)
        return obs, float(result.reward), terminated, truncated, {}

    def render(self) -> np.ndarray | None:
        """The camera's picture of the current state, uint8 (size, size, 3); None without a mode.

        Raises:
          UserError: if there is no graphics library, with the packages that provide one.
        """
        if self.render_mode is None:
            return None
        physics = self.dm_env.physics
        if self._renderer is None:
            self._renderer = Renderer(physics.model.ptr, self.size, self.camera)
        return self._renderer(physics.data.ptr)

    def close(self) -> None:
        """Release the graphics context."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def _start(self) -> Any:
        try:
            return self.dm_env.reset()
        except RuntimeError as error:  # quadruped_escape hands its terrain to dm_control's renderer
            if "OpenGL" not in str(error):
                raise
            libraries = " or ".join(f"MUJOCO_GL={gl} ({GL_PACKAGES[gl]})" for gl in GL_PACKAGES)
            raise UserError(
                "expected a graphics library, which this task needs even from state, received "
                f"none: {error} Set {libraries}"
            ) from error

    def _observation(self, arrays: Any) -> Observation:
        return {name: np.asarray(arrays[name], np.float32).reshape(-1) for name in self._names}

    def _check_rendering(self) -> None:
        cameras = self.dm_env.physics.model.ncam
        if not -1 <= self.camera < cameras:
            raise UserError(f"expected camera from -1 to {cameras - 1}, received {self.camera}")
        if self.size < 1:
            raise UserError(f"expected size of at least 1 pixel, received {self.size}")
        if self.render_mode not in (None, "rgb_array"):
            raise UserError(f"expected render_mode rgb_array, received {self.render_mode!r}")


def load_suite() -> Any:
    """Import `dm_control.suite`, without a graphics library unless MUJOCO_GL names one.

    Raises:
      UserError: if a package is missing or not at the pinned version, or if the library that
        MUJOCO_GL names cannot be used.
    """
    for package, pin in PINS.items():
        try:
            found = version(package)
        except PackageNotFoundError:
            found = "none"
        if found != pin:
            raise UserError(
                f"expected {package} {pin} for dmc: environments, received {found}: "
                "pip install -e '.[dmc]'"
            )
    before = os.environ.get("MUJOCO_GL")
    os.environ["MUJOCO_GL"] = before or "disable"  # dm_control would try every one, and may fail
    try:
        return importlib.import_module("dm_control.suite")
    except (ImportError, AttributeError, RuntimeError) as error:
        raise UserError(
            f"expected MUJOCO_GL that can be used, received {before!r}: {error}; unset it"
        ) from error
    finally:
        os.environ["MUJOCO_GL"] = before or ""
        if before is None:
            del os.environ["MUJOCO_GL"]


def _split(task: str, known: tuple[tuple[str, str], ...]) -> tuple[str, str]:
    """Domain and task of DOMAIN_TASK; both may contain underscores."""
    names = {f"{domain}_{name}": (domain, name) for domain, name in known}
    if task not in names:
        close = difflib.get_close_matches(task, names, n=1)
        hint = f"did you mean 'dmc:{close[0]}'?" if close else "such as dmc:walker_walk"
        raise UserError(
            f"expected dmc:DOMAIN_TASK of the suite's {len(names)} tasks, received "
            f"'dmc:{task}'; {hint}"
        )
    return names[task]


def _observation_space(specs: Any) -> spaces.Dict[Any]:
    """Each named array, flattened, without bounds; sorted by name."""
    return spaces.Dict(
        {
            name: spaces.Box(-np.inf, np.inf, (int(np.prod(spec.shape)),), np.float32)
            for name, spec in specs.items()
        }
    )


def _scaled(task: str, spec: Any) -> tuple[spaces.Box, np.ndarray, np.ndarray]:
    """The Box [-1, 1], and the middle and half width of the task's own bounds."""
    low, high = (np.asarray(bound, np.float64) for bound in (spec.minimum, spec.maximum))
    if np.any(low <= -UNLIMITED) or np.any(high >= UNLIMITED):
        raise UserError(
            f"expected a task with bounded actions, received 'dmc:{task}', whose actuators have no "
            "limits; the suite's benchmarks leave it out"
        )
    return spaces.Box(-1, 1, spec.shape, np.float32), (high + low) / 2, (high - low) / 2
