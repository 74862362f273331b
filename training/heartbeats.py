"""Heartbeats between the processes of a run, to detect those that fall silent.

A closed connection reveals that a process has ended, but not that a machine has lost power or its
network. JAX detects the latter as well, but aborts. Read next: `hosts.py`, which joins them.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import jax

KEYS = "clockwork/heartbeats"


class Heartbeats:
    """Exchange heartbeats with all other processes through JAX's distributed key-value store.

    Args:
      client: client of that store.
      index, count: index of this process, and number of processes.
      seconds: silence after which a process counts as lost.
      missed: called once, with the indices of the lost processes.
    """

    def __init__(
        self,
        client: Any,
        index: int,
        count: int,
        seconds: float,
        missed: Callable[[list[int]], None],
    ) -> None:
        self.client, self.index, self.seconds, self.missed = client, index, seconds, missed
        self.heard = {i: ("", time.monotonic()) for i in range(count) if i != index}
        self.stopped = threading.Event()
        # Requests to the store may block, so the thread that watches the time makes none.
        for run in (self._beat, self._watch):
            threading.Thread(target=run, daemon=True).start()

    def stop(self) -> None:
        """Stop sending and watching heartbeats."""
        self.stopped.set()

    def _beat(self) -> None:
        while not self.stopped.wait(self.seconds / 10):
            with suppress(jax.errors.JaxRuntimeError):  # a failed request counts as silence
                self.client.key_value_increment(f"{KEYS}/{self.index}", 1)
                for key, now in self.client.key_value_dir_get(KEYS):
                    other = int(key.rpartition("/")[2])
                    if other in self.heard and self.heard[other][0] != now:
                        self.heard[other] = now, time.monotonic()

    def _watch(self) -> None:
        looked = time.monotonic()
        while not self.stopped.wait(self.seconds / 10):
            before, looked = looked, time.monotonic()
            if looked - before > self.seconds / 2:  # this process was suspended, and heard no one
                self.heard = {i: (value, looked) for i, (value, _) in self.heard.items()}
            since = looked - self.seconds
            if silent := [other for other, (_, at) in self.heard.items() if at < since]:
                if self.index == 0:
                    time.sleep(self.seconds / 5)  # so that the others notice, by its store
                self.missed([0] if 0 in silent else silent)  # all are heard through the first
                return
