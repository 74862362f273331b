"""One run in several processes, on one host or several, which `jax.distributed` joins.

Every process runs the same loop in step with the others on the same parameters; each reads its own
share of every batch, and only gradients cross. The first one's directory is the run's: the others
write what they have to say into folders that go with them, and print nothing. Read next:
`devices.py`, the mesh over all of them; docs/scaling.md.
"""

import json
import os
import sys
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from common import RunFailed, UserError, dump_json
from common.entry import leave_at_once

FLAG = "--hosts"
COLLECTIVE = ("Gloo", "NCCL", "RCCL", "coordination", "UNAVAILABLE")
"""Words by which what XLA raises is told to come from another process's end."""
OWN = ("logdir", "track", "data.name", "data.folder")
"""Settings that may differ between processes."""
SECONDS = 30
"""Within which the others are missed where no connection tells."""


def join(args: Sequence[str]) -> list[str]:
    """Joins the processes that ``--hosts`` tells of, before anything else is asked of JAX; returns
    all other arguments.

    Raises:
      UserError: for a flag that says it otherwise, or where they do not come together.
    """
    given, rest = _taken(args)
    if given is None:
        return rest
    jax.config.update("jax_enable_preemption_service", False)  # it would take SIGTERM for itself
    try:
        jax.distributed.initialize(
            *_named(given), heartbeat_timeout_seconds=SECONDS, shutdown_timeout_seconds=SECONDS
        )
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"hosts: expected processes that find each other by {FLAG} {given}, received: "
            f"{str(error).splitlines()[0]}; say the same address and number to each, and to each "
            "another index from 0 on"
        ) from error
    leave_at_once()
    if not first():
        sys.stdout = open(os.devnull, "w", encoding="utf-8")
    return rest


def _taken(args: Sequence[str]) -> tuple[str | None, list[str]]:
    """The flag's value, and all other arguments."""
    rest = list(args)
    for number, arg in enumerate(rest):
        flag, equals, value = arg.partition("=")
        if flag == FLAG:
            value = value if equals else "".join(rest[number + 1 : number + 2])
            del rest[number : number + 1 + (not equals)]
            return value, rest
    return None, rest


def _named(given: str) -> tuple[str | None, int | None, int | None]:
    """Address of the first, how many, which one this is; None: as a scheduler tells JAX."""
    if given == "auto":
        return None, None, None
    address, *numbers = given.split(",")
    if ":" not in address or len(numbers) != 2 or not all(n.isdecimal() for n in numbers):
        raise UserError(
            f"hosts: expected `auto` (SLURM, Open MPI, Kubernetes), or ADDRESS:PORT,INDEX,COUNT, "
            f"received {given!r}; such as {FLAG} 10.0.0.1:7777,0,2"
        )
    return address, int(numbers[1]), int(numbers[0])


def count() -> int:
    """Processes of the run."""
    return jax.process_count()


def first() -> bool:
    """Whether this is the one whose directory is the run's."""
    return jax.process_index() == 0


@contextmanager
def own_place(config: Any) -> Iterator[Any]:
    """The settings with a directory that this process may write to: the run's own for the first,
    for others one that goes when they end."""
    if first():
        yield config
        return
    with tempfile.TemporaryDirectory(prefix="clockwork-") as folder:
        yield replace(config, logdir=Path(folder) / "run", track=())


@contextmanager
def told() -> Iterator[None]:
    """Turns what JAX raises when another process ends into one line.

    Raises:
      RunFailed: where one did.
    """
    try:
        yield
    except (ValueError, RuntimeError) as error:
        plain = type(error) is ValueError or isinstance(error, jax.errors.JaxRuntimeError)
        if count() == 1 or not plain or not any(word in str(error) for word in COLLECTIVE):
            raise
        raise RunFailed(
            "another process of the run has ended, so this one does; the same command goes on from "
            "the last checkpoint, in any number of processes that divides the batch"
        ) from error


@contextmanager
def in_turn() -> Iterator[None]:
    """The first process within, then all others at once: what is made for all is there by then."""
    if count() > 1 and not first():
        multihost_utils.sync_global_devices("after the first")
    yield
    if count() > 1 and first():
        multihost_utils.sync_global_devices("after the first")


def any_of(here: bool) -> bool:
    """Whether it is so in any process; all have to ask."""
    if count() == 1:
        return here
    return bool(multihost_utils.process_allgather(np.array(here)).any())


def of_first(tree: Any) -> Any:
    """The first process's arrays in all of them; elsewhere only their shapes are read."""
    return tree if count() == 1 else multihost_utils.broadcast_one_to_all(tree)


def meta_of_first(meta: dict[str, Any]) -> dict[str, Any]:
    """What the first process knows, for JSON, in all of them."""
    if count() == 1:
        return meta
    data = np.frombuffer(dump_json(meta).encode(), np.uint8)
    size = int(of_first(np.array(len(data))))
    found: dict[str, Any] = json.loads(bytes(of_first(np.resize(data, size))))
    return found


def check_same(what: str, value: Any) -> None:
    """Checks that a value for JSON is the same in all processes.

    Raises:
      UserError: if it is not.
    """
    if count() == 1:
        return
    text = dump_json(value)
    digests = multihost_utils.process_allgather(np.array(zlib.crc32(text.encode()), np.uint32))
    if len(set(digests.tolist())) > 1:
        raise UserError(
            f"{what}: expected the same in all {count()} processes, received another in some; give "
            f"each the same data and the same command (here {text[:200]})"
        )
