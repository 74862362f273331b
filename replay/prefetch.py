"""Batches made in a background thread, in the order and with the states of a plain loop."""

import queue
import threading
from typing import Any

from replay.sampler import SequenceSampler


class Prefetcher:
    """Keeps up to `depth` batches of a sampler ready, and stands in for it.

    The thread starts at the first `sample`. Batches are drawn up to `depth` batches ahead, so the
    newest episodes appear that much later. Nobody else may use the sampler meanwhile.

    Raises:
      ValueError: if depth < 1.
    """

    def __init__(self, sampler: SequenceSampler, depth: int) -> None:
        if depth < 1:
            raise ValueError(
                f"prefetch depth: expected >= 1, received {depth}; use the sampler itself"
            )
        self._sampler, self._depth = sampler, depth
        self._state = sampler.state()
        self._thread: threading.Thread | None = None

    def sample(self) -> dict[str, Any]:
        """The next batch; an error of the thread is raised here."""
        if self._thread is None:
            self._queue: queue.Queue[tuple[Any, Any]] = queue.Queue(self._depth)
            self._stop = threading.Event()
            arguments = (self._sampler, self._queue, self._stop)
            self._thread = threading.Thread(target=_fill, args=arguments, daemon=True)
            self._thread.start()
        batch, state = self._queue.get()
        if isinstance(batch, Exception):
            self.restore(self._state)
            raise batch
        self._state = state
        return batch

    def state(self) -> dict[str, Any]:
        """State after the last batch that `sample` returned, whatever the thread has done since."""
        return self._state

    def restore(self, state: dict[str, Any]) -> None:
        """Throw away what was prefetched, and continue from `state`."""
        self.close()
        self._sampler.restore(state)
        self._state = state

    def close(self) -> None:
        """Stop the thread. A later `sample` starts a new one, from where the consumer is."""
        if self._thread is not None:
            self._stop.set()
            self._thread.join()
            self._thread = None
            self._sampler.restore(self._state)

    def __enter__(self) -> "Prefetcher":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _fill(
    sampler: SequenceSampler, ready: "queue.Queue[tuple[Any, Any]]", stop: threading.Event
) -> None:
    while not stop.is_set():
        try:
            item: tuple[Any, Any] = (sampler.sample(), sampler.state())
        except Exception as error:  # noqa: BLE001 - handed to the consumer, who raises it
            item = (error, None)
        while not stop.is_set():
            try:
                ready.put(item, timeout=0.1)
                break
            except queue.Full:
                continue
        if isinstance(item[0], Exception):
            return
