"""Environments in processes of their own, stepped at once: each is waited for by itself, and one
that fails is named and started again.

Every environment is Gymnasium's `AsyncVectorEnv` of one (forkserver, shared memory), so that one
that hangs or dies leaves the others as they are. What is sent between processes is its business.
Read next: `vector.py`, which makes them.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import statistics
import sys
import time
import traceback
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.connection import wait
from threading import Thread, Timer
from types import ModuleType
from typing import Any

import gymnasium
import jax
import numpy as np
from gymnasium import spaces
from gymnasium.error import NoAsyncCallError
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

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
ENDED = (EOFError, OSError, NoAsyncCallError)
"""What is raised where a process has ended: when a step is received, or had been sent."""

Make = Callable[[], gymnasium.Env[Any, Any]]

_log = logging.getLogger(__name__)


class Lost(Exception):
    """An environment failed: what happened; where it raised, in a process that goes on, the
    traceback of its own code."""

    def __init__(self, what: str, trace: str | None = None) -> None:
        super().__init__(what)
        self.what, self.trace = what, trace


class Remote(gymnasium.Env[Any, Any]):
    """An environment that is made by its first reset, and whose errors come as infos: `FAILED`,
    what happened, and `TRACE`, the traceback of its own code.

    Args:
      make: makes it.
      observation_space, action_space: its spaces.
    """

    def __init__(
        self, make: Make, observation_space: spaces.Dict, action_space: spaces.Space[Any]
    ) -> None:
        self.make = make
        self.env: gymnasium.Env[Any, Any] | None = None
        self.observation_space, self.action_space = observation_space, action_space
        seen = observation_space.spaces.items()
        self.nothing = {name: np.zeros(space.shape or (), space.dtype) for name, space in seen}

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        """As the environment's."""
        try:
            if self.env is None:
                self.env = self.make()
            return self.env.reset(seed=seed, options=options)
        except Exception as error:  # noqa: BLE001 - it is told elsewhere
            return self.nothing, _told(error)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """As the environment's."""
        assert self.env is not None
        try:
            obs, reward, terminated, truncated, info = self.env.step(action)
            return obs, float(reward), terminated, truncated, info
        except Exception as error:  # noqa: BLE001 - it is told elsewhere
            return self.nothing, 0.0, False, False, _told(error)

    def close(self) -> None:
        """As the environment's."""
        if self.env is not None:
            self.env.close()


def _told(error: Exception) -> dict[str, Any]:
    """An error as infos. Those that are meant for users say where."""
    if isinstance(error, EnvironmentFailed):
        return {FAILED: str(error), TRACE: user_traceback(error)}
    if isinstance(error, UserError):
        return {FAILED: str(error), TRACE: ""}
    return {FAILED: repr(error), TRACE: "".join(traceback.format_exception(error))}


class AsyncWorkers(VectorEnv[Any, Any, Any]):
    """Environments in processes of their own, NEXT_STEP autoreset; observations are flat Dicts.

    One whose code raises, whose process ends, or which does not return in time is named, in the
    log, and started again: its row of that step is a reset observation, `infos["restarted"]` true.

    Args:
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
        name: str,
        makers: Sequence[Make],
        observation_space: spaces.Dict,
        action_space: spaces.Space[Any],
        seed: int,
        timeout: float,
    ) -> None:
        self.name, self.num_envs, self.timeout = name, len(makers), timeout
        self.limit = f"{timeout:g} s (--env.step-timeout)"
        self.single_observation_space, self.single_action_space = observation_space, action_space
        self.observation_space = batch_space(observation_space, self.num_envs)
        self.action_space = batch_space(action_space, self.num_envs)
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}
        self.first_seed: int | None = seed
        self.seed, self.restarts = seed, [0] * self.num_envs
        self.in_row, self.since = [0] * self.num_envs, [0] * self.num_envs  # failures; steps
        self.starts = [partial(_start, make, observation_space, action_space) for make in makers]
        self.workers: list[AsyncVectorEnv[Any, Any]] = []
        self._end = weakref.finalize(self, _close, self.workers, asked=True)
        try:
            for i in range(self.num_envs):
                self.workers.append(self._new(i))
        except BaseException as error:
            self.close()
            if isinstance(error, Lost):
                raise EnvironmentFailed(error.what) from None
            raise

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> Any:
        """Reset all; see `gymnasium.vector.VectorEnv.reset`."""
        seed, self.first_seed = (self.first_seed if seed is None else seed), None
        seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, int) else seed
        for i, worker in enumerate(self.workers):
            with suppress(*ENDED):
                worker.reset_async(None if seeds is None else seeds[i], options)
        obs, *_, infos = self._receive(lambda worker: worker.reset_wait)
        return obs, infos

    def step_async(self, actions: Any) -> None:
        """Sends every environment its action."""
        for i, worker in enumerate(self.workers):
            with suppress(*ENDED):
                worker.step_async(jax.tree.map(lambda x, i=i: x[i : i + 1], actions))

    def step_wait(self) -> Any:
        """What `step` returns, of the step that was sent."""
        self.since = [steps + 1 for steps in self.since]
        return self._receive(lambda worker: worker.step_wait)

    def step(self, actions: Any) -> Any:
        """One step of all; see `gymnasium.vector.VectorEnv.step`."""
        self.step_async(actions)
        return self.step_wait()

    def _receive(self, call: Callable[[AsyncVectorEnv[Any, Any]], Callable[..., Any]]) -> Any:
        """What all return until the time is over; resets of those that fail."""
        until, infos = time.monotonic() + self.timeout, dict[str, Any]()
        rows, rewards = [], np.zeros(self.num_envs)
        terminated, truncated = np.zeros((2, self.num_envs), bool)
        for i in range(self.num_envs):
            try:
                found = self._wait(i, call, until)
            except Lost as lost:
                found = self._restart(i, lost)
                infos = self._add_info(infos, {"restarted": True}, i)
            obs, *numbers, info = found
            rows.append(obs)
            if numbers:
                rewards[i], terminated[i], truncated[i] = (x[0] for x in numbers)
            told = {"success": bool(info["success"][0])} if "success" in info else {}
            infos = self._add_info(infos, told, i)
        obs = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
        return obs, rewards, terminated, truncated, infos

    def _wait(
        self, i: int, call: Callable[[AsyncVectorEnv[Any, Any]], Callable[..., Any]], until: float
    ) -> Any:
        """What one worker returns.

        Raises:
          Lost: where it fails.
        """
        worker = self.workers[i]
        here = f"environment {self.name}, index {i}"
        try:
            while not worker.parent_pipes[0].poll(min(1.0, max(0.0, until - time.monotonic()))):
                if time.monotonic() >= until:
                    limit = f"{PATIENCE:g} s of the signal" if came() else self.limit
                    raise Lost(f"{here}: expected a step or a reset to return within {limit}")
                until = min(until, time.monotonic() + PATIENCE) if came() else until
            found = call(worker)()
        except ENDED:
            raise Lost(f"{here}: its process {_end_of(worker)}") from None
        infos = found[-1]
        if FAILED in infos:
            raise Lost(infos[FAILED][0], infos[TRACE][0])
        return found

    def _restart(self, i: int, lost: Lost) -> Any:
        """Starts an environment anew; what its reset returns."""
        while True:
            self._count(i, lost)
            _close([self.workers[i]], asked=lost.trace is not None)
            seeds = np.random.SeedSequence((self.seed, i, self.restarts[i]))
            try:
                self.workers[i] = self._new(i)
                with suppress(*ENDED):
                    self.workers[i].reset_async(int(seeds.generate_state(1)[0]))
                until = time.monotonic() + self.timeout
                return self._wait(i, lambda worker: worker.reset_wait, until)
            except Lost as again:
                lost = again

    def _new(self, i: int) -> AsyncVectorEnv[Any, Any]:
        """A process for an environment.

        Raises:
          Lost: where none comes up.
        """
        try:
            return self.starts[i]()
        except ENDED as error:
            here = f"environment {self.name}, index {i}"
            raise Lost(f"{here}: expected a process to start, received {error!r}") from error

    def _count(self, i: int, lost: Lost) -> None:
        """Counts a failure, and tells it.

        Raises:
          EnvironmentFailed: where it is one too many.
        """
        self.in_row[i] = 1 + (self.in_row[i] if self.since[i] < APART else 0)
        self.since[i] = 0
        if lost.trace:
            _log.warning("%s", lost.trace.rstrip())
        if self.in_row[i] == RESTARTS:
            raise EnvironmentFailed(
                f"{lost.what}; failure {RESTARTS} in a row with fewer than {APART:,} steps in "
                "between: mend the environment; the same command goes on"
            )
        self.restarts[i] += 1
        _log.warning("%s; it is started again, its episode is cut", lost.what)

    def close_extras(self, **kwargs: Any) -> None:
        """Ends all processes: see `PATIENCE`. Whoever forgets it has them end with the vector."""
        self._end()


def _start(
    make: Make, observation_space: spaces.Dict, action_space: spaces.Space[Any]
) -> AsyncVectorEnv[Any, Any]:
    """A process for one environment, which is not made yet."""
    remote = partial(Remote, make, observation_space, action_space)
    multiprocessing.set_forkserver_preload([__name__])
    with _script_left_out():
        made = partial(_begun, remote, os.getpid())
        return AsyncVectorEnv([made], copy=False, context="forkserver")


@contextmanager
def _script_left_out() -> Iterator[None]:
    """Processes that are started within do not run this one's script once more: an environment
    needs nothing of it, and a script without a guard would start them without end."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


def _begun(remote: Callable[[], Remote], parent: int) -> Remote:
    """Called once for its spaces where the processes are started, and once in each."""
    if os.getpid() != parent:
        os.setsid()  # a group with all that the environment starts, which no Ctrl-C reaches
        signal.signal(signal.SIGTERM, _end_group)
        jax.config.update("jax_platforms", "cpu")  # accelerators are the learner's
        Thread(target=_end_with_parent, daemon=True).start()
    return remote()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    _end_group()


def _end_group(*_: Any) -> None:
    os.killpg(0, signal.SIGKILL)


def _close(workers: list[AsyncVectorEnv[Any, Any]], asked: bool) -> None:
    """Ends processes, with all that they started: asked first, where so, to close environments."""

    def kill() -> None:
        for worker in workers:
            pid = worker.processes[0].pid
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL) if pid is not None else None

    timer = Timer(PATIENCE, kill)
    timer.start()
    for worker in workers if asked else ():
        with suppress(*ENDED, multiprocessing.TimeoutError):
            for wait_for in (worker.step_wait, worker.reset_wait):
                with suppress(NoAsyncCallError):  # nothing was asked of it that it has not returned
                    wait_for(PATIENCE)
            worker.close()
    timer.cancel()
    kill()
    for worker in workers:
        worker.processes[0].join()
        worker.parent_pipes[0].close()
        worker.closed = True


def _end_of(worker: AsyncVectorEnv[Any, Any]) -> str:
    """How a process ended."""
    process = worker.processes[0]
    process.join(1.0)
    code = process.exitcode
    if code is None:
        return "closed its pipe"
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"


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
