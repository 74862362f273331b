"""One run on several devices: batches are split among them, parameters are replicated.

XLA partitions the jitted update according to the sharding of its arguments and sums gradients
across devices; the model's code is unaffected. Read next: `loop.py`, which places the arrays;
docs/scaling.md.
"""

import math
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from common import UserError

SEEDS, BATCH = "seeds", "batch"
"""Axes of the mesh."""


class Devices:
    """The first ``count`` devices of each process as a mesh with axes seeds and batch rows.

    The seeds are split into gcd(count, seeds) groups of devices; within a group, batches are split
    by rows. Arrays put on the devices of several processes (`hosts.py`) come from each of them: the
    same arrays in all or, for a batch, each process's own rows.

    Args:
      count: devices per process.
      batch: rows of each batch.
      seeds: number of runs trained together.
    Raises:
      UserError: if JAX offers fewer devices, or they cannot share the work evenly.
    """

    def __init__(self, count: int, batch: int, seeds: int = 1) -> None:
        known = jax.local_devices()
        hosts = jax.process_count()
        groups = math.gcd(count, seeds)
        rows = count * hosts // groups
        if batch % rows:
            what = f"{rows} of {count} for each seed" if seeds > 1 else str(rows)
            what += f", those of {hosts} processes" if hosts > 1 else ""
            others = "--devices, --batch or --seeds" if seeds > 1 else "--devices or --batch"
            raise UserError(
                f"devices: expected a divisor of batch, {batch}, received {what}; choose "
                f"other {others}"
            )
        if count > len(known):
            raise UserError(
                f"devices: expected at most {len(known)}, of kind {known[0].platform}, received "
                f"{count}; choose fewer, or split a CPU into that many with "
                f"XLA_FLAGS=--xla_force_host_platform_device_count={count}"
            )
        self.count, self.hosts = count * hosts, hosts
        used = [x for host in range(hosts) for x in jax.local_devices(host)[:count]]
        mesh = Mesh(np.array(used).reshape(groups, rows), (SEEDS, BATCH))
        self.every = NamedSharding(mesh, PartitionSpec())
        """A full copy on every device."""
        self.by_seed = NamedSharding(mesh, PartitionSpec(SEEDS))
        """Arrays [seeds, ...], split by seed."""
        self.by_row = NamedSharding(mesh, PartitionSpec(BATCH))
        """Arrays [B, ...], split by row."""
        shares = [f"{seeds // groups} of {seeds} seeds"] * (groups > 1)
        shares += [f"{batch // rows} of each batch's {batch} rows"] * (rows > 1)
        each = f", each with {' and '.join(shares)}" if shares else ""
        self.line = f"on {self.count} of {jax.device_count()} devices{each}"
        """The layout in words."""

    @classmethod
    def most(cls, count: int, batch: int, seeds: int) -> "Devices":
        """As many of ``count`` devices as can share the work evenly, for the seeds that are left
        once others have ended."""
        groups = math.gcd(count, seeds)
        return cls(groups * math.gcd(count // groups, batch), batch, seeds)

    def put(self, tree: Any, where: NamedSharding) -> Any:
        """Place arrays with one of the shardings above; on one device, do nothing."""
        if self.count == 1:
            return tree
        if self.hosts == 1:
            return jax.device_put(tree, where)
        return jax.make_array_from_process_local_data(where, jax.device_get(tree))

    def told(self, where: NamedSharding) -> NamedSharding | None:
        """The sharding to pass to a program; None on one device, where none is needed."""
        return where if self.count > 1 else None


def of_one(tree: Any) -> Any:
    """The first device's copy of replicated arrays, without copying; acting and evaluation run on
    that device alone."""

    def one(x: Any) -> Any:
        several = isinstance(x, jax.Array) and len(x.sharding.device_set) > 1
        return x.addressable_data(0) if several else x

    return jax.tree.map(one, tree)
