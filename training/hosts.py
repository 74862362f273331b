"""One run in several processes, on one or several hosts, joined by `jax.distributed`.

All processes run the same loop in step on the same parameters; each computes its own share of every
batch, and only gradients are exchanged. The run's directory is that of the first process, which
alone prints. In an agent's run, each process has its own environments and keeps their replay in
`SHARDS`; in a video model's run, the other processes leave no files. Read next: `devices.py`, the
mesh over all of them; docs/scaling.md.
"""

import json
import os
import shutil
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
"""Words that identify an XLA error as caused by the end of another process."""
OWN = ("logdir", "track", "data.name", "data.folder", "init_from", "recordings")
"""Settings that may differ between processes."""
OTHER_PROCESS = 104_729  # difference between the sampling seeds of consecutive processes
SECONDS = 30
"""Seconds of silence after which another process counts as lost."""
LAST = 600
"""Seconds for which processes wait at the end for the last of them to finish its evaluation."""
TOGETHER = 120
"""Seconds for which processes wait at the start for each other's addresses."""
GO_ON = (
    "the same command resumes from the last checkpoint, with any number of processes that divides "
    "the batch"
)
SHARDS = "processes"
"""Folder in `--logdir` where all processes but the first keep their files, by process index."""

_heartbeats: list[Heartbeats] = []
_temporary: list[str] = []


def join(args: Sequence[str]) -> list[str]:
    """Join the processes given by ``--hosts``, before any other use of JAX; return all other
    arguments.

    Raises:
      UserError: if the flag's value is malformed, or the processes do not find each other.
    """
    given, rest = _taken(args)
    if given is None:
        return rest
    jax.config.update("jax_enable_preemption_service", False)  # it would handle SIGTERM itself
    try:
        jax.distributed.initialize(
            *_named(given),
            heartbeat_timeout_seconds=3 * SECONDS,  # after which JAX aborts
            shutdown_timeout_seconds=LAST,
        )
        leave_at_once()
        _meet()
    except (RuntimeError, ValueError, OSError) as error:
        raise UserError(
            f"hosts: expected processes that find each other by {FLAG} {given}, received: "
            f"{str(error).splitlines()[0]}; say the same address and number to each, and to each "
            "another index from 0 on"
        ) from error
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
    """Address of the first process, number of processes, index of this one; None: left to JAX's
    detection of the scheduler."""
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
    """End this process at once: the others that it waits for are lost."""
    for folder in _temporary:
        shutil.rmtree(folder, ignore_errors=True)
    names = ", ".join(map(str, silent))
    fail(f"nothing has been heard for {SECONDS} s of process {names}, so this one ends; {GO_ON}", 1)


def _meet() -> None:
    """Make processes on CPUs exchange gradients via the addresses from which they reach the first.

    JAX uses the address of the host's name, which on Debian and in containers is a loopback one.
    """
    world: Any = distributed.global_state
    host, _, port = world.coordinator_address.rpartition(":")
    own = address_towards(host.strip("[]"), int(port))
    world.client.key_value_set(f"clockwork/address/{world.process_id}", own)
    known = [
        world.client.blocking_key_value_get(f"clockwork/address/{i}", 1000 * TOGETHER)
        for i in range(world.num_processes)
    ]
    outside = [address for address in known if not ip_address(address).is_loopback]
    if outside and ip_address(own).is_loopback:  # on the host of the first process
        own = address_towards(outside[0], int(port))
    _jax.make_gloo_tcp_collectives = partial(_jax.make_gloo_tcp_collectives, hostname=own)
    beats = Heartbeats(world.client, world.process_id, world.num_processes, SECONDS, _missed)
    _heartbeats.append(beats)


def address_towards(host: str, port: int) -> str:
    """This machine's address on the route to a host; nothing is sent.

    Raises:
      OSError: if the host is unknown or unreachable.
    """
    error: OSError | None = None
    found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    for family, kind, protocol, _, address in found:
        with socket.socket(family, kind, protocol) as asked:
            try:
                asked.connect(address)
            except OSError as unreachable:  # e.g. IPv6, for a name that has both
                error = unreachable
                continue
            own: str = asked.getsockname()[0]
            return own
    raise error or OSError(f"{host}: no address")


def count() -> int:
    """Number of processes of the run."""
    return jax.process_count()


def index() -> int:
    """Index of this process."""
    return jax.process_index()


def first() -> bool:
    """Whether this is the first process, whose directory is the run's."""
    return index() == 0


def share(what: str, total: int) -> int:
    """This process's equal share of a total over all processes.

    Raises:
      UserError: if the total is not divisible by the number of processes.
    """
    if total % count():
        raise UserError(
            f"{what}: expected a multiple of {count()}, the number of processes, received {total}; "
            "choose one"
        )
    return total // count()


@contextmanager
def own_place(config: Any, stays: bool) -> Iterator[Any]:
    """Settings whose directory this process may write to: the run's own for the first process; for
    the others one below it if ``stays``, else a temporary one."""
    if first():
        yield config
    elif stays:
        yield replace(config, logdir=config.logdir / SHARDS / str(index()), track=())
    else:
        with tempfile.TemporaryDirectory(prefix="clockwork-") as folder:
            _temporary.append(folder)
            yield replace(config, logdir=Path(folder) / "run", track=())


def leave_others() -> bool:
    """Disconnect from the other processes, in all of them at once; return whether this is the
    first, which may continue alone."""
    if count() > 1:
        jax.distributed.shutdown()  # waits for all of them, whose heartbeats continue until then
        _heartbeats.pop().stop()
    return first()


def alone(what: str) -> None:
    """Check that the run has only one process.

    Raises:
      UserError: if it has several.
    """
    if count() > 1:
        raise UserError(f"{what}: expected one process, received {count()}; leave out {FLAG}")


@contextmanager
def told() -> Iterator[None]:
    """Convert the error that JAX raises when another process ends into a one-line one.

    Raises:
      RunFailed: if another process has ended.
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
    """Run the body in the first process, then in all others at once, which find what it created."""
    if count() > 1 and not first():
        multihost_utils.sync_global_devices("after the first")
    yield
    if count() > 1 and first():
        multihost_utils.sync_global_devices("after the first")


def of_all(here: Any) -> list[Any]:
    """Gather a JSON-compatible value from every process, in index order; all must call this."""
    if count() == 1:
        return [here]
    data = np.frombuffer(dump_json(here).encode(), np.uint8)
    sizes = multihost_utils.process_allgather(np.array(len(data))).tolist()
    texts = multihost_utils.process_allgather(np.resize(data, max(sizes)))
    return [json.loads(bytes(text[:size])) for text, size in zip(texts, sizes, strict=True)]


def of_first(tree: Any) -> Any:
    """Broadcast the first process's arrays to all; in the others, only shapes are read."""
    return tree if count() == 1 else multihost_utils.broadcast_one_to_all(tree)


def check_same(what: str, value: Any) -> None:
    """Check that a JSON-compatible value is the same in all processes.

    Raises:
      UserError: if it differs.
    """
    text = dump_json(value)
    if len(set(of_all(zlib.crc32(text.encode())))) > 1:
        raise UserError(
            f"{what}: expected the same in all {count()} processes, received another in some; give "
            f"each the same data and the same command (here {text[:200]})"
        )
