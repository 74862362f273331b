"""One run in several processes, on one host or several, which `jax.distributed` joins.

Every process runs the same loop in step with the others on the same parameters; each has its own
share of every batch, and only gradients cross. The first one's directory is the run's, and it alone
prints. Of an agent's run each process has its own environments and their replay, which stay where
they are (`SHARDS`); of a model of video the others leave nothing behind. Read next: `devices.py`,
the mesh over all of them; docs/scaling.md.
"""

import json
import os
import socket
import sys
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax._src import distributed
from jax.experimental import multihost_utils
from jaxlib import _jax

from common import RunFailed, UserError, dump_json
from common.entry import fail, leave_at_once
from training.heartbeats import Heartbeats

FLAG = "--hosts"
COLLECTIVE = ("Gloo", "NCCL", "RCCL", "coordination", "UNAVAILABLE")
"""Words by which what XLA raises is told to come from another process's end."""
OWN = ("logdir", "track", "data.name", "data.folder")
"""Settings that may differ between processes."""
OTHER_PROCESS = 104_729  # between the seeds of processes' draws
SECONDS = 30
"""After which others are missed where no connection tells."""
GO_ON = (
    "the same command resumes from the last checkpoint, with any number of processes that divides "
    "the batch"
)
SHARDS = "processes"
"""The folder in `--logdir` of what processes but the first keep there, by their index."""

_heartbeats: list[Heartbeats] = []


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
            *_named(given),
            heartbeat_timeout_seconds=3 * SECONDS,  # by which JAX aborts
            shutdown_timeout_seconds=SECONDS,
        )
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"hosts: expected processes that find each other by {FLAG} {given}, received: "
            f"{str(error).splitlines()[0]}; say the same address and number to each, and to each "
            "another index from 0 on"
        ) from error
    _meet()
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


def _missed(silent: Sequence[int]) -> None:
    """Ends the process: what it waits for will not come."""
    names = ", ".join(map(str, silent))
    fail(f"nothing has been heard for {SECONDS} s of process {names}, so this one ends; {GO_ON}", 1)


def _meet() -> None:
    """Lets processes on CPUs exchange gradients by the addresses at which they reach the first.

    JAX takes what a host's name resolves to, which on Debian and in containers is the host itself.
    """
    world: Any = distributed.global_state
    host, _, port = world.coordinator_address.rpartition(":")
    own = address_towards(host.strip("[]"), int(port))
    world.client.key_value_set(f"clockwork/address/{world.process_id}", own)
    known = [
        world.client.blocking_key_value_get(f"clockwork/address/{i}", 1000 * SECONDS)
        for i in range(world.num_processes)
    ]
    outside = [address for address in known if not ip_address(address).is_loopback]
    if outside and ip_address(own).is_loopback:  # where the first one is, by its own name
        own = address_towards(outside[0], int(port))
    _jax.make_gloo_tcp_collectives = partial(_jax.make_gloo_tcp_collectives, hostname=own)
    beats = Heartbeats(world.client, world.process_id, world.num_processes, SECONDS, _missed)
    _heartbeats.append(beats)


def address_towards(host: str, port: int) -> str:
    """The address of this machine from which a host is reached; nothing is sent.

    Raises:
      OSError: if it is not known, or no network leads to it.
    """
    error: OSError | None = None
    found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    for family, kind, protocol, _, address in found:
        with socket.socket(family, kind, protocol) as asked:
            try:
                asked.connect(address)
            except OSError as unreachable:  # such as IPv6 where a name has both
                error = unreachable
                continue
            own: str = asked.getsockname()[0]
            return own
    raise error or OSError(f"{host}: no address")


def count() -> int:
    """Processes of the run."""
    return jax.process_count()


def index() -> int:
    """Which of them this is."""
    return jax.process_index()


def first() -> bool:
    """Whether this is the one whose directory is the run's."""
    return index() == 0


def share(what: str, total: int) -> int:
    """This process's part of what all of them have together.

    Raises:
      UserError: where they cannot have equal parts.
    """
    if total % count():
        raise UserError(
            f"{what}: expected a multiple of {count()}, the number of processes, received {total}; "
            "choose one"
        )
    return total // count()


@contextmanager
def own_place(config: Any, stays: bool) -> Iterator[Any]:
    """The settings with a directory that this process may write to: the run's own for the first;
    for others one below it if what they have there stays, or else one that goes when they end."""
    if first():
        yield config
    elif stays:
        yield replace(config, logdir=config.logdir / SHARDS / str(index()), track=())
    else:
        with tempfile.TemporaryDirectory(prefix="clockwork-") as folder:
            yield replace(config, logdir=Path(folder) / "run", track=())


def leave_others() -> bool:
    """Parts from the other processes, all of them at once; whether this is the first, which may go
    on alone."""
    if count() > 1:
        _heartbeats.pop().stop()
        jax.distributed.shutdown()
    return first()


def alone(what: str) -> None:
    """Checks that there are no other processes.

    Raises:
      UserError: if there are.
    """
    if count() > 1:
        raise UserError(f"{what}: expected one process, received {count()}; leave out {FLAG}")


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
            f"another process of the run has ended, so this one does; {GO_ON}"
        ) from error


@contextmanager
def in_turn() -> Iterator[None]:
    """The first process within, then all others at once: what is made for all is there by then."""
    if count() > 1 and not first():
        multihost_utils.sync_global_devices("after the first")
    yield
    if count() > 1 and first():
        multihost_utils.sync_global_devices("after the first")


def of_all(here: Any) -> list[Any]:
    """What each process says, of what JSON holds, in the order of their indices; all have to."""
    if count() == 1:
        return [here]
    data = np.frombuffer(dump_json(here).encode(), np.uint8)
    sizes = multihost_utils.process_allgather(np.array(len(data))).tolist()
    texts = multihost_utils.process_allgather(np.resize(data, max(sizes)))
    return [json.loads(bytes(text[:size])) for text, size in zip(texts, sizes, strict=True)]


def of_first(tree: Any) -> Any:
    """The first process's arrays in all of them; elsewhere only their shapes are read."""
    return tree if count() == 1 else multihost_utils.broadcast_one_to_all(tree)


def check_same(what: str, value: Any) -> None:
    """Checks that a value for JSON is the same in all processes.

    Raises:
      UserError: if it is not.
    """
    text = dump_json(value)
    if len(set(of_all(zlib.crc32(text.encode())))) > 1:
        raise UserError(
            f"{what}: expected the same in all {count()} processes, received another in some; give "
            f"each the same data and the same command (here {text[:200]})"
        )
