"""Environments in actors of Ray, on this machine or on others.

An actor is a process that Ray starts where it finds a CPU. It steps a group of environments one
after another with Gymnasium's `SyncVectorEnv`. Ray transfers the data, monitors the machines and
ends an actor's processes with it. Read next: `workers.py`, which handles failures.

Source: Moritz et al., "Ray" (OSDI 2018), and its documentation.
"""

from __future__ import annotations

import importlib
import os
import re
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from gymnasium.vector import AutoresetMode, SyncVectorEnv

from common import UserError
from common.signals import SIGNALS
from envs import workers
from envs.workers import Lost, Remote, Worker

ADDRESS = "RAY_ADDRESS"
"""Ray's own environment variable: the address of a running cluster."""
ANSWERS = 10.0
"""Seconds within which a cluster must accept a connection."""
MEMORY = 80 * 2**20
"""Bytes of shared memory of a cluster started here, about the least that Ray accepts."""


class Actor(Worker):
    """An actor that steps a group of environments."""

    start_limit = 300.0  # for a machine to be provided, and for the environment's imports

    def __init__(self, here: str, remotes: Sequence[Callable[[], Remote]]) -> None:
        super().__init__(here, remotes)
        self.ray = _connected()
        spread = self.ray.remote(Group).options(scheduling_strategy="SPREAD")
        self.actor = spread.remote(list(remotes), os.getcwd())
        self._asked = self.actor.started.remote()

    def reset(self, seeds: list[int | None], options: dict[str, Any] | None) -> None:
        """Request a reset."""
        self._asked = self.actor.reset.remote(seeds, options)

    def step(self, actions: Any) -> None:
        """Request a step."""
        self._asked = self.actor.step.remote(actions)

    def ready(self, seconds: float) -> bool:
        """Whether the actor has answered or ended."""
        return bool(self.ray.wait([self._asked], timeout=seconds)[0])

    def answer(self) -> tuple[Any, ...]:
        """The actor's answer to the last request."""
        try:
            found: tuple[Any, ...] = self.ray.get(self._asked)
        except self.ray.exceptions.RayError as error:
            raise Lost(f"{self.here}: its actor ended: {_why(error)}") from None
        return found

    @staticmethod
    def close(workers_: Sequence[Actor], asked: bool) -> None:
        """End actors."""
        ray = importlib.import_module("ray")
        if not ray.is_initialized():  # the actors have ended with Ray
            return
        if asked:
            closing = [worker.actor.close.remote() for worker in workers_]
            ray.wait(closing, num_returns=len(closing), timeout=workers.PATIENCE)
        for worker in workers_:
            ray.kill(worker.actor)


class Group:
    """The environments of one actor, in the process where Ray runs it.

    Args:
      remotes: a factory for each environment.
      folder: the directory in which the run was started; relative paths refer to it if it exists
        on the actor's machine.
    """

    def __init__(self, remotes: list[Callable[[], Remote]], folder: str) -> None:
        os.environ["JAX_PLATFORMS"] = "cpu"  # accelerators are the learner's
        with suppress(OSError):
            os.chdir(folder)
        mode = AutoresetMode.NEXT_STEP
        self.envs = SyncVectorEnv(remotes, copy=False, autoreset_mode=mode)

    def started(self) -> tuple[()]:
        """Return nothing; an answer shows that the actor runs."""
        return ()

    def reset(self, seeds: list[int | None], options: dict[str, Any] | None) -> Any:
        """Reset all environments, or those that the option `reset_mask` selects."""
        return self.envs.reset(seed=seeds, options=options)

    def step(self, actions: Any) -> Any:
        """Step all environments."""
        return self.envs.step(actions)

    def close(self) -> None:
        """Close all environments."""
        self.envs.close()


def actors_for(num_envs: int) -> tuple[int, str]:
    """The number of actors for ``num_envs`` environments, and where they run: one actor for each
    environment, but at most one for each CPU of the cluster.

    Raises:
      UserError: if Ray is not installed, or there is no such cluster.
    """
    cpus = int(_connected().cluster_resources().get("CPU", 1))
    address = os.environ.get(ADDRESS)
    where = f"at {address} ({ADDRESS})" if address else f"started here ({ADDRESS} is not set)"
    count = max(1, min(num_envs, cpus))
    return count, f"{count} actors for {num_envs} environments, in a cluster of {cpus} CPUs {where}"


def _connected() -> Any:
    """Return the package ray after connecting this process to a cluster.

    Raises:
      UserError: as for `actors_for`.
    """
    with _signals_kept():
        try:
            ray = importlib.import_module("ray")
        except ImportError as error:
            raise UserError(
                "env.workers: expected the package ray for ray, received "
                f"{' '.join(str(error).split())}; pip install ray"
            ) from error
        if not ray.is_initialized():
            _join(ray)
    return ray


def _join(ray: Any) -> None:
    """Join the cluster at `ADDRESS`; without an address, start one that ends with this process."""
    address = os.environ.get(ADDRESS)
    if not address:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # send no statistics to others
        os.environ.setdefault("RAY_worker_niceness", "0")  # the learner's, not Ray's default of 15
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # keep others out
        least: Any = {"object_store_memory": MEMORY, "include_dashboard": False}
        ray.init("local", logging_level="ERROR", **least)
        return
    try:
        if re.fullmatch(r"[^/]+:\d+", address):  # Ray retries for minutes if nothing listens there
            host, _, port = address.rpartition(":")
            socket.create_connection((host, int(port)), ANSWERS).close()
        ray.init(address, logging_level="ERROR")
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(
            f"{ADDRESS}: expected the address of a cluster that runs, such as 10.0.0.1:6379, "
            f"received {address}: {' '.join(str(_first(error)).split())}; start it "
            "(docs/scaling.md), or unset the variable"
        ) from error


def _first(error: BaseException) -> BaseException:
    """The original cause of an error."""
    return error if error.__cause__ is None else _first(error.__cause__)


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Restore the signal handlers that Ray replaces: with Ray's handlers, a signal would end a run
    before it is saved."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            if handler is not None:  # None: a handler installed from C
                signal.signal(number, handler)


def _why(error: Exception) -> str:
    """Reduce Ray's message of several lines to one sentence."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    last = lines[-1] if lines else repr(error)
    return last.rpartition("because ")[2].partition(". ")[0].rstrip(".")
