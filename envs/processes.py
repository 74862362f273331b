"""An environment in a process of its own: Gymnasium's `AsyncVectorEnv` of one (forkserver, shared
memory), so that one that hangs or dies leaves the others as they are. What is sent between
processes is its business. Read next: `workers.py`, what is done about one that fails.
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
"""What is raised where a process has ended: when a step is received, or had been sent."""


class Process(Worker):
    """Steps one environment."""

    def __init__(self, here: str, remotes: Sequence[Callable[[], Remote]]) -> None:
        super().__init__(here, remotes)
        (remote,) = remotes
        try:
            self.env = _start(remote)
        except ENDED as error:
            raise Lost(f"{here}: expected a process to start, received {error!r}") from error
        self._call: Callable[..., Any] = self.env.reset_wait

    def reset(self, seeds: list[int | None], options: dict[str, Any] | None) -> None:
        """Asks for a reset."""
        self._call = self.env.reset_wait
        with suppress(*ENDED):
            self.env.reset_async(seeds, options)

    def step(self, actions: Any) -> None:
        """Asks for a step."""
        self._call = self.env.step_wait
        with suppress(*ENDED):
            self.env.step_async(actions)

    def ready(self, seconds: float) -> bool:
        """Whether it has answered, or ended."""
        with suppress(*ENDED):
            return bool(self.env.parent_pipes[0].poll(seconds))
        return True

    def answer(self) -> tuple[Any, ...]:
        """What it returned."""
        try:
            found: tuple[Any, ...] = self._call()
        except ENDED:
            raise Lost(f"{self.here}: its process {_end_of(self.env)}") from None
        return found

    @staticmethod
    def close(workers: Sequence[Process], asked: bool) -> None:
        """Ends processes."""
        _close([worker.env for worker in workers], asked)


def _start(remote: Callable[[], Remote]) -> AsyncVectorEnv[Any, Any]:
    """A process for one environment, which is not made yet."""
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
    """Ends processes, with all that they started: asked first, where so, to close environments."""

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
                with suppress(NoAsyncCallError):  # nothing was asked of it that it has not returned
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
