"""Environments as the agent sees them: checked, wrapped, and several of them stepped together.

Read next: `registry.py`, from a name to an environment; `checked.py`, `wrappers.py`, `spaces.py`,
what is put round it.
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
"""Wrappers that keep nothing from step to step but a count that what they are round keeps too."""


class SeededVectorEnv(SyncVectorEnv):
    """A SyncVectorEnv whose first `reset()` without a seed uses the one given here."""

    def __init__(self, makers: list[Callable[[], gymnasium.Env[Any, Any]]], seed: int) -> None:
        """Environment i starts from seed + i; each goes on from its own generator."""
        super().__init__(makers, autoreset_mode=AutoresetMode.NEXT_STEP)
        self.first_seed: int | None = seed

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> Any:
        """Reset all; see `gymnasium.vector.VectorEnv.reset`."""
        seed, self.first_seed = (self.first_seed if seed is None else seed), None
        return super().reset(seed=seed, options=options)

    def state(self) -> dict[str, Any] | None:
        """All that the future depends on, as a pytree of arrays; None where an environment, or
        a wrapper round it, cannot tell."""
        told = [_resumable(env) for env in self.envs]
        if any(env is None for env in told):
            return None
        return {"ended": self._autoreset_envs, "envs": [env.state() for env in told if env]}

    def go_on(self, state: dict[str, Any]) -> None:
        """Goes on where `state()` was taken, in place of `reset()`."""
        self._autoreset_envs = np.asarray(state["ended"])
        for env, one in zip(self.envs, state["envs"], strict=True):
            told = _resumable(env)
            assert told is not None
            told.go_on(one)
            for layer in layers(env):
                if isinstance(layer, TimeLimit):
                    layer._elapsed_steps = int(one["time"])  # type: ignore[assignment]


class PooledVectorEnv(SeededVectorEnv):
    """Environments of one pool, which steps them all before each tells what came to it."""

    def __init__(self, config: EnvConfig, num_envs: int, seed: int) -> None:
        """Environment i of a pool starts from seed + i.

        Raises:
          UserError: as `Pool`.
        """
        self.pool = Pool(config.name.partition(":")[2], num_envs, options_of(config))
        rows = [pool_row(self.pool, index) for index in range(num_envs)]
        made = [make_agent_env(config, index, row) for index, row in enumerate(rows)]
        super().__init__([partial(_itself, env) for env in made], seed)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> Any:
        """New episodes of all; from a seed, the same as ever."""
        seed, self.first_seed = (self.first_seed if seed is None else seed), None
        if seed is None:
            self.pool.restart()
        else:
            self.pool.start(int(seed))
        return super().reset(options=options)

    def step_async(self, actions: Any) -> None:
        """Begins a step: the pool's threads take it."""
        self._sent = actions
        self.pool.send(actions)

    def step_wait(self) -> Any:
        """What has come of it."""
        self.pool.receive()
        return super().step(self._sent)

    def step(self, actions: Any) -> Any:
        """Both."""
        self.step_async(actions)
        return self.step_wait()


@runtime_checkable
class Resumable(Protocol):
    """An environment that can go on where it was, as those in JAX can."""

    def state(self) -> dict[str, Any]:
        """All that its future depends on, as a pytree of arrays; `time`: steps of the episode."""

    def go_on(self, state: dict[str, Any]) -> None:
        """Goes on where `state()` was taken."""


def _resumable(env: gymnasium.Env[Any, Any]) -> Resumable | None:
    """The environment within wrappers that keep nothing, or the time that it keeps too."""
    *wrappers, inner = layers(env)
    told = all(isinstance(wrapper, MEMORYLESS) for wrapper in wrappers)
    return inner if told and isinstance(inner, Resumable) else None


def make_agent_env(
    config: EnvConfig, index: int = 0, row: gymnasium.Env[Any, Any] | None = None
) -> gymnasium.Env[Any, Any]:
    """One environment as the agent sees it: checked, wrapped, with canonical observations.

    Args:
      config: which environment and wrappers.
      index: which of those that are stepped together, as errors name it.
      row: the environment itself, of a pool; None: it is made.
    Raises:
      UserError: as `make`, and where the environment returns what it does not declare.
      EnvironmentFailed: where its own code raises.
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
    if config.pixels:  # outside the action repeat: what no one sees is not drawn
        env = _pixels(env, config.name)
    return CanonicalObservation(env, config.image_size, config.image_fit, config.keys)


def _pooled(config: EnvConfig) -> bool:
    family = FAMILIES.get(config.name.partition(":")[0])
    return family is not None and family.pooled


def _check_limit(env: gymnasium.Env[Any, Any], config: EnvConfig) -> None:
    """Refuses a limit beyond the environment's own, which would end episodes before it."""
    own = getattr(env.unwrapped, "time_limit", None) or getattr(env.spec, "max_episode_steps", None)
    if own is not None and config.time_limit is not None and config.time_limit > own:
        env.close()
        raise UserError(
            f"env.time_limit: expected at most the {own:,} frames after which {config.name} itself "
            f"ends an episode, received {config.time_limit:,}; lower --env.time-limit"
        )


def check_agent_env(env: gymnasium.Env[Any, Any], config: EnvConfig) -> None:
    """Tries what `make_agent_env` made, as `check_start` says; but not the real MineRL, whose reset
    takes minutes."""
    if is_minerl(config):
        return
    while not isinstance(env, Checked):
        assert isinstance(env, gymnasium.Wrapper)
        env = env.env
    check_start(env)


def _pixels(env: gymnasium.Env[Any, Any], name: str) -> gymnasium.Env[Any, Any]:
    """The environment observed by its `render()`."""
    try:
        return AddRenderObservation(env, render_only=True)
    except (gymnasium.error.Error, ValueError, TypeError) as error:
        env.close()
        raise UserError(
            f"expected {name!r} to draw pixels, received: {error}; leave out --env.pixels"
        ) from error


def choose_workers(env: gymnasium.Env[Any, Any], config: EnvConfig) -> tuple[Workers, str]:
    """How environments step together, and why: as asked, or by the time of a step of this one,
    which is left within an episode."""
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
    """Environments for the agent, stepped together, with NEXT_STEP autoreset.

    After an episode's last record the next `step` ignores that environment's action and returns the
    reset observation with reward 0: a record with is_first = 1 in the arrival convention.

    Args:
      config: which environment and wrappers.
      num_envs: how many.
      seed: environment i starts from seed + i at the first `reset()`.
    Raises:
      UserError: as `make`.
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
    """In processes or actors; one more is made, and closed, for its spaces."""
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
    """`make_agent_env` in another process, to which an id may be known that this one registered."""
    if known is not None:
        gymnasium.registry.setdefault(known.id, known)
    return make_agent_env(config, index)


def _itself(env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
    return env
