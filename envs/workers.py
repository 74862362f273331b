"""Environments stepped elsewhere, all at once: each worker is waited for by itself, and what fails
is named and started again.

A worker steps one environment or several: a process (`processes.py`), or an actor of Ray, on this
machine or another (`actors.py`). Read next: `vector.py`, which makes them.
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
"""Failures of one environment in a row at which a run ends."""
APART = 1000
"""Steps after which a failure is none in a row with the one before."""
PATIENCE = 10.0
"""Seconds in which environments close, and a step returns once a signal has come; then they are
killed."""
SLOW = 0.002
"""Seconds of a step from which on environments are worth processes of their own."""
TRIED, TRIAL = 20, 1.0
"""Steps that are timed, and seconds after which no more are."""
FAILED, TRACE = "failed", "trace"  # keys of infos

Make = Callable[[], gymnasium.Env[Any, Any]]

_log = logging.getLogger(__name__)


class Lost(Exception):
    """An environment failed, or the worker of several: what happened; where it raised, in a process
    that goes on, the traceback of its own code."""

    def __init__(self, what: str, trace: str | None = None) -> None:
        super().__init__(what)
        self.what, self.trace = what, trace


class Remote(gymnasium.Env[Any, Any]):
    """An environment that is made by its first reset, and anew by the first one after an error.
    Errors come as infos: `FAILED`, what happened, and `TRACE`, the traceback of its own code.

    Args:
      make: makes it.
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
        """As the environment's."""
        try:
            if self.failed:
                self.failed, failed, self.env = False, self.env, None
                if failed is not None:
                    failed.close()
            if self.env is None:
                self.env = self.make()
            return self.env.reset(seed=seed, options=options)
        except Exception as error:  # noqa: BLE001 - it is told elsewhere
            return self.nothing, self._told(error)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """As the environment's."""
        assert self.env is not None
        try:
            obs, reward, terminated, truncated, info = self.env.step(action)
            return obs, float(reward), terminated, truncated, info
        except Exception as error:  # noqa: BLE001 - it is told elsewhere
            return self.nothing, 0.0, False, False, self._told(error)

    def close(self) -> None:
        """As the environment's."""
        if self.env is not None:
            self.env.close()

    def _told(self, error: Exception) -> dict[str, Any]:
        """An error as infos. Those that are meant for users say where."""
        self.failed = True
        if isinstance(error, EnvironmentFailed):
            return {FAILED: str(error), TRACE: user_traceback(error)}
        if isinstance(error, UserError):
            return {FAILED: str(error), TRACE: ""}
        return {FAILED: repr(error), TRACE: "".join(traceback.format_exception(error))}


class Worker(ABC):
    """Steps some environments elsewhere, NEXT_STEP autoreset: one request at a time, which returns
    at once, and then its answer, as a vector of them gives it.

    Args:
      here: which environments, as messages say it.
      remotes: what makes each.
    Raises:
      Lost: where it does not start.
    """

    start_limit = 0.0
    """Seconds in which its first answer comes, that it runs; 0: it does once it is made."""

    def __init__(self, here: str, remotes: Sequence[Callable[[], Remote]]) -> None:
        self.here = here

    @abstractmethod
    def reset(self, seeds: list[int | None], options: dict[str, Any] | None) -> None:
        """Asks for a reset."""

    @abstractmethod
    def step(self, actions: Any) -> None:
        """Asks for a step; actions are those of its environments alone."""

    @abstractmethod
    def ready(self, seconds: float) -> bool:
        """Whether an answer has come, or none will, after so many seconds at the most."""

    @abstractmethod
    def answer(self) -> tuple[Any, ...]:
        """What `reset` or `step` of a vector returns.

        Raises:
          Lost: where it has ended.
        """

    @staticmethod
    @abstractmethod
    def close(workers: Sequence[Any], asked: bool) -> None:
        """Ends them, with all that they started: asked first, where so, to close environments."""


class WorkerVectorEnv(VectorEnv[Any, Any, Any]):
    """Environments stepped by workers, NEXT_STEP autoreset; observations are flat Dicts.

    One whose code raises, whose worker ends, or which does not return in time is named, in the
    log, and started again: its row of that step is a reset observation, `infos["restarted"]` true.
    A worker that ends or does not return takes all of its environments with it; one environment
    that raises is made anew where it is, and the others of its worker go on.

    Args:
      kind: of its workers.
      count: how many, at most one per environment.
      name: of the environment, as the command line has it.
      makers: what makes each.
      seed: environment i starts from seed + i at the first `reset()`, one that is started again
        from a seed of its own.
      timeout: seconds for a step or a reset.
    Raises:
      EnvironmentFailed: from `reset` and `step_wait`, where one fails `RESTARTS` times with fewer
        than `APART` steps in between.
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
        """Sends every environment its action."""
        for worker, rows in zip(self.workers, self.rows, strict=True):
            worker.step(_part(actions, rows))

    def step_wait(self) -> Any:
        """What `step` returns, of the step that was sent."""
        self.since = [steps + 1 for steps in self.since]
        return self._receive()

    def step(self, actions: Any) -> Any:
        """One step of all; see `gymnasium.vector.VectorEnv.step`."""
        self.step_async(actions)
        return self.step_wait()

    def _receive(self) -> Any:
        """What all return until the time is over; resets of those that fail."""
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
        """Puts what a worker returns of those environments into their places; those that failed,
        which are all of it where it ended."""
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
        """Waits until a worker runs, also after a signal: without it there is nothing to save.

        Raises:
          Lost: where it does not in time.
        """
        if worker.start_limit:
            if not worker.ready(worker.start_limit):
                wanted = f"its worker to start within {worker.start_limit:g} s"
                raise Lost(f"{worker.here}: expected {wanted}")
            worker.answer()

    def _wait(self, worker: Worker, until: float) -> tuple[Any, ...]:
        """What one worker returns of a step or a reset.

        Raises:
          Lost: where it ended, or does not in time.
        """
        while not worker.ready(min(1.0, max(0.0, until - time.monotonic()))):
            if time.monotonic() >= until:
                limit = f"{PATIENCE:g} s of the signal" if came() else self.limit
                raise Lost(f"{worker.here}: expected a step or a reset to return within {limit}")
            until = min(until, time.monotonic() + PATIENCE) if came() else until
        return worker.answer()

    def _restart(self, number: int, failed: dict[int, Lost], result: Result) -> dict[int, Lost]:
        """Starts environments of a worker anew, and itself where they are all that it has; puts
        what their resets return into place; those that failed again."""
        self._count(failed)
        rows = self.rows[number]
        drawn = {i: np.random.SeedSequence((self.seed, i, self.restarts[i])) for i in failed}
        seeds = [int(drawn[i].generate_state(1)[0]) if i in drawn else None for i in rows]
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
        """Counts failures, and tells them.

        Raises:
          EnvironmentFailed: where one is one too many.
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
        """Ends all workers: see `PATIENCE`. Whoever forgets it has them end with the vector."""
        self._end()


class Result:
    """What a step of all environments returns, filled row by row.

    Args:
      space: of one environment's observations.
      size: N, how many.
    """

    def __init__(self, space: spaces.Space[Any], size: int) -> None:
        self.obs: Any = create_empty_array(space, size)
        self.reward = np.zeros(size)
        self.terminated, self.truncated = np.zeros((2, size), bool)
        self.success, self.tells = np.zeros((2, size), bool)  # whether, and whether it says so
        self.restarted = np.zeros(size, bool)

    def put(self, i: int, answer: tuple[Any, ...], k: int) -> None:
        """Row k of what a worker returned, as environment i's."""
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
    """Those of some environments, which follow one another."""
    if isinstance(actions, dict):
        return {name: _part(part, rows) for name, part in actions.items()}
    if isinstance(actions, tuple):
        return tuple(_part(part, rows) for part in actions)
    return actions[rows[0] : rows[-1] + 1]


def time_step(env: gymnasium.Env[Any, Any]) -> float:
    """Seconds of an environment's step under random actions; it is left within an episode."""
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
