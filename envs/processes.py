"""One environment in its own process: Gymnasium's `AsyncVectorEnv` of size one (forkserver, shared
memory), so that an environment that hangs or dies does not affect the others. `AsyncVectorEnv`
handles the communication between processes. Read next: `workers.py`, which handles failures.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.connection import wait
from threading import Thread, Timer
from types import ModuleType
from typing import Any

from gymnasium.error import NoAsyncCallError
from gymnasium.vector import AsyncVectorEnv

from envs import workers
from envs.workers import Lost, Remote, Worker

ENDED = (EOFError, OSError, NoAsyncCallError)
"""Raised if a process has ended: on receiving a step, or because sending it failed."""


class Process(Worker):
    """A process that steps one environment."""

    def __init__(self, here: str, remotes: Sequence[Callable[[], Remote]]) -> None:
        super().__init__(here, remotes)
        (remote,) = remotes
        try:
            self.env = _start(remote)
        except ENDED as error:
            raise Lost(f"{here}: expected a process to start, received {error!r}") from error
        self._call: Callable[..., Any] = self.env.reset_wait

    def reset(self, seeds: list[int | None], options: dict[str, Any] | None) -> None:
        """Request a reset."""
        self._call = self.env.reset_wait
        with suppress(*ENDED):
            self.env.reset_async(seeds, options)

    def step(self, actions: Any) -> None:
        """Request a step."""
        self._call = self.env.step_wait
        with suppress(*ENDED):
            self.env.step_async(actions)

    def ready(self, seconds: float) -> bool:
        """Whether the process has answered or ended."""
        with suppress(*ENDED):
            return bool(wait([self.env.parent_pipes[0], self.env.processes[0].sentinel], seconds))
        return True

    def answer(self) -> tuple[Any, ...]:
        """The process's answer to the last request."""
        try:
            if not self.env.parent_pipes[0].poll():  # a process that it started may hold the pipe
                raise EOFError
            found: tuple[Any, ...] = self._call()
        except ENDED:
            raise Lost(f"{self.here}: its process {_end_of(self.env)}") from None
        return found

    @staticmethod
    def close(workers: Sequence[Process], asked: bool) -> None:
        """End processes."""
        _close([worker.env for worker in workers], asked)


def _start(remote: Callable[[], Remote]) -> AsyncVectorEnv[Any, Any]:
    """Start a process for one environment, which is not built yet."""
    multiprocessing.set_forkserver_preload([__name__])
    with _script_left_out():
        made = partial(_begun, remote, os.getpid())
        return AsyncVectorEnv([made], copy=False, context="forkserver")


@contextmanager
def _script_left_out() -> Iterator[None]:
    """Keep processes started inside this context from running the main script again: environments
    need nothing from it, and a script without a main guard would start processes without end."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


def _begun(remote: Callable[[], Remote], parent: int) -> Remote:
    """Make the remote environment: once in the parent, for its spaces, and once in each process."""
    if os.getpid() != parent:
        os.setsid()  # a group for everything that the environment starts; Ctrl-C does not reach it
        multiprocessing.current_process().daemon = False  # the environment may start processes
        signal.signal(signal.SIGTERM, _end_group)
        alone = partial(signal.signal, signal.SIGTERM, signal.SIG_DFL)
        os.register_at_fork(after_in_child=alone)  # terminating what it forks does not end it too
        os.environ["JAX_PLATFORMS"] = "cpu"  # accelerators are the learner's
        Thread(target=_end_with_parent, daemon=True).start()
    return remote()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    _end_group()


def _end_group(*_: Any) -> None:
    os.killpg(0, signal.SIGKILL)


def _close(envs: Sequence[AsyncVectorEnv[Any, Any]], asked: bool) -> None:
    """End processes and all that they started; with ``asked``, request them to close environments
    first."""

    def kill() -> None:
        for env in envs:
            pid = env.processes[0].pid
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL) if pid is not None else None

    timer = Timer(workers.PATIENCE, kill)
    timer.start()
    for env in envs if asked else ():
        with suppress(*ENDED, multiprocessing.TimeoutError):
            for wait_for in (env.step_wait, env.reset_wait):
                with suppress(NoAsyncCallError):  # no such request is pending
                    wait_for(workers.PATIENCE)
            env.close()
    timer.cancel()
    kill()
    for env in envs:
        env.processes[0].join()
        env.parent_pipes[0].close()
        env.closed = True


def _end_of(env: AsyncVectorEnv[Any, Any]) -> str:
    """How a process ended."""
    process = env.processes[0]
    process.join(1.0)
    code = process.exitcode
    if code is None:
        return "closed its pipe"
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
