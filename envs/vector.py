"""Environments as the agent sees them: checked, wrapped, and vectorised.

Read next: `registry.py`, from a name to an environment; `checked.py`, `wrappers.py`, `spaces.py`,
the wrappers around it.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, runtime_checkable

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Dict
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import AddRenderObservation, TimeLimit

from common import UserError, check_bounds
from envs.actors import Actor, actors_for
from envs.checked import Checked, check_start
from envs.config import NAVIGATE, EnvConfig, Workers
from envs.options import navigate_options
from envs.own import own_limit
from envs.plugins import plugin_of
from envs.pool import Pool, pool_row
from envs.processes import Process
from envs.registry import FAMILIES, is_minerl, make, options_of
from envs.workers import SLOW, Worker, WorkerVectorEnv, time_step
from envs.wrappers import (
    ActionRepeat,
    CameraLimit,
    CanonicalObservation,
    CompassVector,
    HeldKeys,
    layers,
)

MEMORYLESS = (Checked, TimeLimit, ActionRepeat, CanonicalObservation)
"""Wrappers with no state from step to step but a count that the wrapped environment also keeps."""


class SeededVectorEnv(SyncVectorEnv):
    """A SyncVectorEnv whose first `reset()` without a seed uses the one given here."""

    def __init__(self, makers: list[Callable[[], gymnasium.Env[Any, Any]]], seed: int) -> None:
        """Environment i starts from seed + i; each then continues from its own generator."""
        super().__init__(makers, autoreset_mode=AutoresetMode.NEXT_STEP)
        self.first_seed: int | None = seed

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> Any:
        """Reset all; see `gymnasium.vector.VectorEnv.reset`."""
        seed, self.first_seed = (self.first_seed if seed is None else seed), None
        return super().reset(seed=seed, options=options)

    def state(self) -> dict[str, Any] | None:
        """All state that the future depends on, as a pytree of arrays; None if an environment, or a
        wrapper around it, cannot provide it."""
        told = [_resumable(env) for env in self.envs]
        if any(env is None for env in told):
            return None
        return {"ended": self._autoreset_envs, "envs": [env.state() for env in told if env]}

    def go_on(self, state: dict[str, Any]) -> None:
        """Resume from a result of `state()`, in place of `reset()`."""
        self._autoreset_envs = np.asarray(state["ended"])
        for env, one in zip(self.envs, state["envs"], strict=True):
            told = _resumable(env)
            assert told is not None
            told.go_on(one)
            for layer in layers(env):
                if isinstance(layer, TimeLimit):
                    layer._elapsed_steps = int(one["time"])  # type: ignore[assignment]


class PooledVectorEnv(SeededVectorEnv):
    """Environments of one pool, which steps them all before their results are read one by one."""

    def __init__(self, config: EnvConfig, num_envs: int, seed: int) -> None:
        """Environment i of a pool starts from seed + i.

        Raises:
          UserError: as for `Pool`.
        """
        self.pool = Pool(config.name.partition(":")[2], num_envs, options_of(config))
        rows = [pool_row(self.pool, index) for index in range(num_envs)]
        made = [make_agent_env(config, index, row) for index, row in enumerate(rows)]
        super().__init__([partial(_itself, env) for env in made], seed)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> Any:
        """Start new episodes of all environments; the same seed gives the same episodes."""
        seed, self.first_seed = (self.first_seed if seed is None else seed), None
        if seed is None:
            self.pool.restart()
        else:
            self.pool.start(int(seed))
        return super().reset(options=options)

    def step_async(self, actions: Any) -> None:
        """Begin a step on the pool's threads."""
        self._sent = actions
        self.pool.send(actions)

    def step_wait(self) -> Any:
        """Wait for the step and return its results."""
        self.pool.receive()
        return super().step(self._sent)

    def step(self, actions: Any) -> Any:
        """Step all; see `gymnasium.vector.VectorEnv.step`."""
        self.step_async(actions)
        return self.step_wait()


@runtime_checkable
class Resumable(Protocol):
    """An environment whose state can be saved and restored, as those in JAX."""

    def state(self) -> dict[str, Any]:
        """All state that its future depends on, as a pytree of arrays; `time`: episode steps."""

    def go_on(self, state: dict[str, Any]) -> None:
        """Resume from a result of `state()`."""


def _resumable(env: gymnasium.Env[Any, Any]) -> Resumable | None:
    """The environment inside its wrappers, if it is resumable and all wrappers are `MEMORYLESS`."""
    *wrappers, inner = layers(env)
    told = all(isinstance(wrapper, MEMORYLESS) for wrapper in wrappers)
    return inner if told and isinstance(inner, Resumable) else None


def make_agent_env(
    config: EnvConfig, index: int = 0, row: gymnasium.Env[Any, Any] | None = None
) -> gymnasium.Env[Any, Any]:
    """Make one environment as the agent sees it: checked, wrapped, with canonical observations.

    Args:
      config: which environment and wrappers.
      index: its index among the environments that are stepped together, for error messages.
      row: the environment to wrap, from a pool; None: a new one is made.
    Raises:
      UserError: as for `make`, and if the environment returns what it does not declare.
      EnvironmentFailed: if its own code raises.
    """
    check_bounds(config, "env")
    pooled = _pooled(config)
    if pooled and config.action_repeat != 1:
        raise UserError(
            f"env.action_repeat: expected 1 with {config.name}, whose environments are stepped all "
            f"at once, received {config.action_repeat}; where it takes it, give "
            f"--env.options frame_skip {config.action_repeat}"
        )
    made = make(config.name, **options_of(config)) if row is None else row
    env: gymnasium.Env[Any, Any] = Checked(made, config.name, index)
    if config.time_limit is not None and config.name != NAVIGATE and not pooled:
        _check_limit(env, config)
        env = TimeLimit(env, config.time_limit)
    if config.name == NAVIGATE:
        ours = navigate_options(config)
        env = HeldKeys(CameraLimit(env, ours.camera_limit), ours.held_keys)
        env = CompassVector(env)
    if config.action_repeat != 1:
        env = ActionRepeat(env, config.action_repeat)
    if config.pixels:  # outside the action repeat: skipped frames are not rendered
        env = _pixels(env, config.name)
    return CanonicalObservation(env, config.image_size, config.image_fit, config.keys)


def _pooled(config: EnvConfig) -> bool:
    family = FAMILIES.get(config.name.partition(":")[0])
    return family is not None and family.pooled


def _check_limit(env: gymnasium.Env[Any, Any], config: EnvConfig) -> None:
    """Refuse a limit beyond the environment's own, which would end episodes earlier."""
    own = own_limit(env)
    if own is not None and config.time_limit is not None and config.time_limit > own:
        env.close()
        raise UserError(
            f"env.time_limit: expected at most the {own:,} frames after which {config.name} itself "
            f"ends an episode, received {config.time_limit:,}; lower --env.time-limit"
        )


def check_agent_env(env: gymnasium.Env[Any, Any], config: EnvConfig) -> None:
    """Apply `check_start` to an environment from `make_agent_env`, except to the real MineRL, whose
    reset takes minutes."""
    if is_minerl(config):
        return
    while not isinstance(env, Checked):
        assert isinstance(env, gymnasium.Wrapper)
        env = env.env
    check_start(env)


def _pixels(env: gymnasium.Env[Any, Any], name: str) -> gymnasium.Env[Any, Any]:
    """Wrap the environment so that its observation is its `render()`."""
    try:
        return AddRenderObservation(env, render_only=True)
    except (gymnasium.error.Error, ValueError, TypeError) as error:
        env.close()
        raise UserError(
            f"expected {name!r} to draw pixels, received: {error}; leave out --env.pixels"
        ) from error


def choose_workers(env: gymnasium.Env[Any, Any], config: EnvConfig) -> tuple[Workers, str]:
    """Choose how environments are stepped together: as requested, or by the time of a step of
    ``env``, which may be left mid-episode. Returns the choice and the reason."""
    if config.workers == "ray":
        return "ray", actors_for(config.num_envs)[1]
    if config.workers is not None:
        return config.workers, "as asked"
    if _pooled(config):
        return "sync", "a pool's own threads step them all at once"
    if is_minerl(config):
        return "async", "a reset takes minutes"
    if _resumable(env) is not None:
        return "sync", "a run of such environments resumes exactly where it stopped"
    if multiprocessing.current_process().daemon:
        return "sync", "this process may not start others"
    step = time_step(env)
    why = f"a step takes {step * 1e3:.2g} ms; separate processes pay off from {SLOW * 1e3:g} ms"
    return "async" if step >= SLOW else "sync", why


def make_vector(config: EnvConfig, num_envs: int, seed: int) -> VectorEnv[Any, Any, Any]:
    """Make a vector of environments for the agent, with NEXT_STEP autoreset.

    After an episode's last record, the next `step` ignores that environment's action and returns
    the reset observation with reward 0: a record with is_first = 1 in the arrival convention.

    Args:
      config: which environment and wrappers.
      num_envs: number of environments.
      seed: environment i starts from seed + i at the first `reset()`.
    Raises:
      UserError: as for `make`.
    """
    check_bounds(replace(config, num_envs=num_envs), "env")
    if config.workers in ("async", "ray"):
        return _in_workers(config, num_envs, seed)
    if _pooled(config):
        return PooledVectorEnv(config, num_envs, seed)
    envs: list[gymnasium.Env[Any, Any]] = []
    try:
        for index in range(num_envs):
            envs.append(make_agent_env(config, index))
    except BaseException:
        for env in envs:
            env.close()
        raise
    return SeededVectorEnv([partial(_itself, env) for env in envs], seed)


def _in_workers(config: EnvConfig, num_envs: int, seed: int) -> WorkerVectorEnv:
    """Make the vector in processes or actors; one more environment is made for its spaces."""
    env = make_agent_env(config)
    env.close()
    scheme, _, name = config.name.partition(":")
    known = gymnasium.registry.get(name) if scheme == "gym" and plugin_of(name) is None else None
    makers = [partial(_make_there, known, config, index) for index in range(num_envs)]
    kind: type[Worker] = Actor if config.workers == "ray" else Process
    count = actors_for(num_envs)[0] if config.workers == "ray" else num_envs
    assert isinstance(env.observation_space, Dict)
    given = env.observation_space, env.action_space
    return WorkerVectorEnv(kind, count, config.name, makers, *given, seed, config.step_timeout)


def _make_there(known: EnvSpec | None, config: EnvConfig, index: int) -> gymnasium.Env[Any, Any]:
    """`make_agent_env` in another process, after registering an id known in this one."""
    if known is not None:
        gymnasium.registry.setdefault(known.id, known)
    return make_agent_env(config, index)


def _itself(env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
    return env
