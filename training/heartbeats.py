"""Heartbeats between the processes of a run: one that nothing is heard of any more is missed.

A connection tells that a process has ended, and not that a machine has lost its power or its
network. JAX misses that one as well, and aborts. Read next: `hosts.py`, which joins them.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import jax

KEYS = "clockwork/heartbeats"


class Heartbeats:
    """From this process to all others, and theirs, by the store of keys that JAX joins them with.

    Args:
      client: of that store.
      index, count: of this process, and how many there are.
      seconds: of silence after which one is missed.
      missed: called then, once, with the indices of those that are.
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
        # The store may keep whoever asks it waiting: what looks at the time asks for nothing.
        for run in (self._beat, self._watch):
            threading.Thread(target=run, daemon=True).start()

    def stop(self) -> None:
        """From here on none is missed."""
        self.stopped.set()

    def _beat(self) -> None:
        while not self.stopped.wait(self.seconds / 10):
            with suppress(jax.errors.JaxRuntimeError):  # silence, which is what is counted
                self.client.key_value_increment(f"{KEYS}/{self.index}", 1)
                for key, now in self.client.key_value_dir_get(KEYS):
                    other = int(key.rpartition("/")[2])
                    if other in self.heard and self.heard[other][0] != now:
                        self.heard[other] = now, time.monotonic()

    def _watch(self) -> None:
        while not self.stopped.wait(self.seconds / 10):
            since = time.monotonic() - self.seconds
            if silent := [other for other, (_, at) in self.heard.items() if at < since]:
                self.stop()
                self.missed(silent)
