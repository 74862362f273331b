"""Environments stepped in parallel by workers. Each worker is waited for separately; failures are
reported, and what failed is restarted.

A worker steps one or several environments: in a process (`processes.py`), or in an actor of Ray, on
this machine or another (`actors.py`). Read next: `vector.py`, which makes them.
"""

from __future__ import annotations

import logging
import statistics
import time
import traceback
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space, create_empty_array

from common import EnvironmentFailed, UserError
from common.entry import user_traceback
from common.signals import came

RESTARTS = 5
"""Number of failures of one environment in a row that ends a run."""
APART = 1000
"""Steps after which a failure no longer counts as in a row with the previous one."""
PATIENCE = 10.0
"""Seconds that environments have to close, and a step to return after a signal, before workers are
killed."""
SLOW = 0.002
"""Seconds per step from which separate processes pay off."""
TRIED, TRIAL = 20, 1.0
"""Maximum number of steps timed, and seconds after which timing stops."""
FAILED, TRACE = "failed", "trace"  # keys of infos

Make = Callable[[], gymnasium.Env[Any, Any]]

_log = logging.getLogger(__name__)


class Lost(Exception):
    """An environment, or a worker with several, failed: what happened and, if an environment raised
    and its process is still alive, the traceback of the environment's code."""

    def __init__(self, what: str, trace: str | None = None) -> None:
        super().__init__(what)
        self.what, self.trace = what, trace


class Remote(gymnasium.Env[Any, Any]):
    """An environment made by its first reset, and remade by the first reset after an error. Errors
    are returned in infos: `FAILED`, what happened, and `TRACE`, the traceback of its own code.

    Args:
      make: makes the environment.
      observation_space, action_space: its spaces.
    """

    def __init__(
        self, make: Make, observation_space: spaces.Dict, action_space: spaces.Space[Any]
    ) -> None:
        self.make, self.failed = make, False
        self.env: gymnasium.Env[Any, Any] | None = None
        self.observation_space, self.action_space = observation_space, action_space
        seen = observation_space.spaces.items()
        self.nothing = {name: np.zeros(space.shape or (), space.dtype) for name, space in seen}

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        """Reset, making the environment if necessary; see `gymnasium.Env.reset`."""
        try:
            if self.failed:
                self.failed, failed, self.env = False, self.env, None
                if failed is not None:
                    failed.close()
            if self.env is None:
                self.env = self.make()
            return self.env.reset(seed=seed, options=options)
        except Exception as error:  # noqa: BLE001 - it is reported by the vector
            return self.nothing, self._told(error)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Step; see `gymnasium.Env.step`."""
        assert self.env is not None
        try:
            obs, reward, terminated, truncated, info = self.env.step(action)
            return obs, float(reward), terminated, truncated, info
        except Exception as error:  # noqa: BLE001 - it is reported by the vector
            return self.nothing, 0.0, False, False, self._told(error)

    def close(self) -> None:
        """Close the environment, if there is one."""
        if self.env is not None:
            self.env.close()

    def _told(self, error: Exception) -> dict[str, Any]:
        """Convert an error to infos. Errors meant for users already say where they occurred."""
        self.failed = True
        if isinstance(error, EnvironmentFailed):
            return {FAILED: str(error), TRACE: user_traceback(error)}
        if isinstance(error, UserError):
            return {FAILED: str(error), TRACE: ""}
        return {FAILED: repr(error), TRACE: "".join(traceback.format_exception(error))}


class Worker(ABC):
    """Steps a group of environments elsewhere, with NEXT_STEP autoreset. Requests return at once,
    and one at a time may be pending; `answer` then returns what a vector of them would.

    Args:
      here: the environments' name in messages.
      remotes: a factory for each environment.
    Raises:
      Lost: if the worker does not start.
    """

    start_limit = 0.0
    """Seconds allowed for its first answer, which says that it runs; 0: it runs at construction."""

    def __init__(self, here: str, remotes: Sequence[Callable[[], Remote]]) -> None:
        self.here = here

    @abstractmethod
    def reset(self, seeds: list[int | None], options: dict[str, Any] | None) -> None:
        """Request a reset."""

    @abstractmethod
    def step(self, actions: Any) -> None:
        """Request a step; ``actions`` are only those of its own environments."""

    @abstractmethod
    def ready(self, seconds: float) -> bool:
        """Whether there is an answer, or will never be one, after waiting at most ``seconds``."""

    @abstractmethod
    def answer(self) -> tuple[Any, ...]:
        """The answer to the last request: what `reset` or `step` of a vector returns.

        Raises:
          Lost: if the worker has ended.
        """

    @staticmethod
    @abstractmethod
    def close(workers: Sequence[Any], asked: bool) -> None:
        """End workers and all that they started; if ``asked``, they close environments first."""


class WorkerVectorEnv(VectorEnv[Any, Any, Any]):
    """Environments stepped by workers, with NEXT_STEP autoreset; observations are flat Dicts.

    An environment whose code raises, whose worker ends, or which does not return in time is logged
    and restarted: its row of that step is a reset observation, and `infos["restarted"]` is true. If
    a worker ends or does not return, all of its environments are restarted; an environment that
    raises is remade in place, and the others of its worker continue.

    Args:
      kind: class of the workers.
      count: number of workers, at most one per environment.
      name: name of the environment on the command line.
      makers: a factory for each environment.
      seed: environment i starts from seed + i at the first `reset()`; a restarted one starts from
        a new seed.
      timeout: seconds allowed for a step or a reset.
    Raises:
      EnvironmentFailed: from `reset` and `step_wait`, if one fails `RESTARTS` times in a row with
        fewer than `APART` steps in between.
    """

    def __init__(
        self,
        kind: type[Worker],
        count: int,
        name: str,
        makers: Sequence[Make],
        observation_space: spaces.Dict,
        action_space: spaces.Space[Any],
        seed: int,
        timeout: float,
    ) -> None:
        self.kind, self.num_envs, self.timeout = kind, len(makers), timeout
        self.limit = f"{timeout:g} s (--env.step-timeout)"
        self.single_observation_space, self.single_action_space = observation_space, action_space
        self.observation_space = batch_space(observation_space, self.num_envs)
        self.action_space = batch_space(action_space, self.num_envs)
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}
        self.first_seed: int | None = seed
        self.seed, self.restarts = seed, [0] * self.num_envs
        self.in_row, self.since = [0] * self.num_envs, [0] * self.num_envs  # failures; steps
        split = np.array_split(np.arange(self.num_envs), count)
        self.rows = [rows.tolist() for rows in split]  # of each worker
        remotes = [partial(Remote, make, observation_space, action_space) for make in makers]
        self.starts = [
            partial(kind, _here(name, rows), [remotes[i] for i in rows]) for rows in self.rows
        ]
        self.workers: list[Worker] = []
        self._end = weakref.finalize(self, kind.close, self.workers, asked=True)
        try:
            for start in self.starts:
                self.workers.append(start())
            for worker in self.workers:
                self._begin(worker)
        except BaseException as error:
            self.close()
            if isinstance(error, Lost):
                raise EnvironmentFailed(error.what) from None
            raise

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> Any:
        """Reset all; see `gymnasium.vector.VectorEnv.reset`."""
        seed, self.first_seed = (self.first_seed if seed is None else seed), None
        seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, int) else seed
        for worker, rows in zip(self.workers, self.rows, strict=True):
            worker.reset([None if seeds is None else seeds[i] for i in rows], options)
        obs, *_, infos = self._receive()
        return obs, infos

    def step_async(self, actions: Any) -> None:
        """Send each environment its action."""
        for worker, rows in zip(self.workers, self.rows, strict=True):
            worker.step(_part(actions, rows))

    def step_wait(self) -> Any:
        """Wait for the step that was sent, and return what `step` returns."""
        self.since = [steps + 1 for steps in self.since]
        return self._receive()

    def step(self, actions: Any) -> Any:
        """Step all; see `gymnasium.vector.VectorEnv.step`."""
        self.step_async(actions)
        return self.step_wait()

    def _receive(self) -> Any:
        """Collect what all workers return in time; restart what failed."""
        until = time.monotonic() + self.timeout
        result = Result(self.single_observation_space, self.num_envs)
        for number, rows in enumerate(self.rows):
            failed = self._take(number, rows, until, result)
            while failed:
                result.restarted[list(failed)] = True
                failed = self._restart(number, failed, result)
        told = {"success": result.success, "_success": result.tells} if result.tells.any() else {}
        if result.restarted.any():
            told |= {"restarted": result.restarted, "_restarted": result.restarted}
        return result.obs, result.reward, result.terminated, result.truncated, told

    def _take(
        self, number: int, rows: Iterable[int], until: float, result: Result
    ) -> dict[int, Lost]:
        """Put what a worker returns for ``rows`` into ``result``; return the environments that
        failed, which are all of the worker's if it ended."""
        try:
            answer = self._wait(self.workers[number], until)
        except Lost as lost:
            return dict.fromkeys(self.rows[number], lost)
        failed, infos = {}, answer[-1]
        for k, i in enumerate(self.rows[number]):
            if FAILED in infos and infos[f"_{FAILED}"][k]:
                failed[i] = Lost(infos[FAILED][k], infos[TRACE][k])
            elif i in rows:
                result.put(i, answer, k)
        return failed

    def _begin(self, worker: Worker) -> None:
        """Wait until a worker runs, even after a signal: without it there is nothing to save.

        Raises:
          Lost: if it does not run in time.
        """
        if worker.start_limit:
            if not worker.ready(worker.start_limit):
                wanted = f"its worker to start within {worker.start_limit:g} s"
                raise Lost(f"{worker.here}: expected {wanted}")
            worker.answer()

    def _wait(self, worker: Worker, until: float) -> tuple[Any, ...]:
        """Wait for what one worker returns from a step or a reset.

        Raises:
          Lost: if it has ended, or does not return in time.
        """
        while not worker.ready(min(1.0, max(0.0, until - time.monotonic()))):
            if time.monotonic() >= until:
                limit = f"{PATIENCE:g} s of the signal" if came() else self.limit
                raise Lost(f"{worker.here}: expected a step or a reset to return within {limit}")
            until = min(until, time.monotonic() + PATIENCE) if came() else until
        return worker.answer()

    def _restart(self, number: int, failed: dict[int, Lost], result: Result) -> dict[int, Lost]:
        """Restart environments of a worker, and the worker itself if these are all it has; put what
        their resets return into ``result``; return those that failed again."""
        self._count(failed)
        rows = self.rows[number]
        drawn = {i: np.random.SeedSequence((self.seed, i, self.restarts[i])) for i in failed}
        seeds = [int(drawn[i].generate_state(1)[0]) >> 1 if i in drawn else None for i in rows]
        if len(failed) < len(rows):
            mask = np.array([i in failed for i in rows])
            self.workers[number].reset(seeds, {"reset_mask": mask})
        else:
            goes_on = all(lost.trace is not None for lost in failed.values())
            self.kind.close([self.workers[number]], asked=goes_on)
            try:
                self.workers[number] = self.starts[number]()
                self._begin(self.workers[number])
            except Lost as again:
                return dict.fromkeys(rows, again)
            self.workers[number].reset(seeds, None)
        return self._take(number, failed, time.monotonic() + self.timeout, result)

    def _count(self, failed: dict[int, Lost]) -> None:
        """Count and log failures.

        Raises:
          EnvironmentFailed: if an environment has failed `RESTARTS` times in a row.
        """
        for i in failed:
            self.in_row[i] = 1 + (self.in_row[i] if self.since[i] < APART else 0)
            self.since[i] = 0
        for lost in dict.fromkeys(failed.values()):
            if lost.trace:
                _log.warning("%s", lost.trace.rstrip())
            of_it = [i for i in failed if failed[i] is lost]
            if max(self.in_row[i] for i in of_it) == RESTARTS:
                raise EnvironmentFailed(
                    f"{lost.what}; failure {RESTARTS} in a row with fewer than {APART:,} steps in "
                    "between: fix the environment, then run the same command to resume"
                )
            again = "it is restarted, and its episode is cut short"
            several = "they are restarted, and their episodes are cut short"
            _log.warning("%s; %s", lost.what, again if len(of_it) == 1 else several)
        for i in failed:
            self.restarts[i] += 1

    def close_extras(self, **kwargs: Any) -> None:
        """End all workers; see `PATIENCE`. Without this call they end with the vector."""
        self._end()


class Result:
    """What a step of all environments returns, filled in row by row.

    Args:
      space: observation space of one environment.
      size: N, number of environments.
    """

    def __init__(self, space: spaces.Space[Any], size: int) -> None:
        self.obs: Any = create_empty_array(space, size)
        self.reward = np.zeros(size)
        self.terminated, self.truncated = np.zeros((2, size), bool)
        self.success, self.tells = np.zeros((2, size), bool)  # success, and whether it was reported
        self.restarted = np.zeros(size, bool)

    def put(self, i: int, answer: tuple[Any, ...], k: int) -> None:
        """Store row k of what a worker returned as environment i's."""
        obs, *numbers, infos = answer
        for name, values in self.obs.items():
            values[i] = obs[name][k]
        told = [x[k] for x in numbers] or [0.0, False, False]
        self.reward[i], self.terminated[i], self.truncated[i] = told
        self.tells[i] = "success" in infos and infos["_success"][k]
        self.success[i] = self.tells[i] and infos["success"][k]


def _here(name: str, rows: list[int]) -> str:
    which = f"index {rows[0]}" if len(rows) == 1 else f"indices {rows[0]} to {rows[-1]}"
    return f"environment {name}, {which}"


def _part(actions: Any, rows: list[int]) -> Any:
    """The actions of some environments, whose rows are consecutive."""
    if isinstance(actions, dict):
        return {name: _part(part, rows) for name, part in actions.items()}
    if isinstance(actions, tuple):
        return tuple(_part(part, rows) for part in actions)
    return actions[rows[0] : rows[-1] + 1]


def time_step(env: gymnasium.Env[Any, Any]) -> float:
    """Median seconds per step under random actions; may leave the environment mid-episode."""
    env.reset(seed=0)
    env.action_space.seed(0)
    times: list[float] = []
    while len(times) < TRIED and sum(times) < TRIAL:
        action, start = env.action_space.sample(), time.perf_counter()
        _, _, terminated, truncated, _ = env.step(action)
        times.append(time.perf_counter() - start)
        if terminated or truncated:
            env.reset()
    return statistics.median(times)
