"""One run on several devices: batches are split over them, parameters are on each.

XLA divides the jitted update by where its arguments lie, and adds gradients up across devices; no
line of the model knows. Read next: `loop.py`, which places them; docs/scaling.md.
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
    """The first so many devices that JAX offers each process, as a mesh: seeds by a batch's rows.

    As many as divide the seeds share them; the others of each share divide its batches. What is put
    on the devices of several processes (`hosts.py`) each of them has: the same arrays, or of a
    batch its own rows.

    Args:
      count: of each process.
      batch: rows of each batch.
      seeds: runs that are trained together.
    Raises:
      UserError: if JAX offers fewer, or they cannot share the work evenly.
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
        """A whole copy on each."""
        self.by_seed = NamedSharding(mesh, PartitionSpec(SEEDS))
        """Arrays [seeds, ...]: each has those of its seeds."""
        self.by_row = NamedSharding(mesh, PartitionSpec(BATCH))
        """Arrays [B, ...]: each has a share of the rows."""
        shares = [f"{seeds // groups} of {seeds} seeds"] * (groups > 1)
        shares += [f"{batch // rows} of each batch's {batch} rows"] * (rows > 1)
        each = f", each with {' and '.join(shares)}" if shares else ""
        self.line = f"on {self.count} of {jax.device_count()} devices{each}"
        """In words."""

    @classmethod
    def most(cls, count: int, batch: int, seeds: int) -> "Devices":
        """As many of ``count`` as can share the work evenly: what is left when seeds have ended."""
        groups = math.gcd(count, seeds)
        return cls(groups * math.gcd(count // groups, batch), batch, seeds)

    def put(self, tree: Any, where: NamedSharding) -> Any:
        """Arrays as one of the shardings above says; on one device they are left where they are."""
        if self.count == 1:
            return tree
        if self.hosts == 1:
            return jax.device_put(tree, where)
        return jax.make_array_from_process_local_data(where, jax.device_get(tree))

    def told(self, where: NamedSharding) -> NamedSharding | None:
        """One of them as a program is told it; None on one device, where nothing is to be said."""
        return where if self.count > 1 else None


def of_one(tree: Any) -> Any:
    """The first device's copy of arrays that are on every one, without copying: what acts or is
    evaluated runs there alone."""

    def one(x: Any) -> Any:
        several = isinstance(x, jax.Array) and len(x.sharding.device_set) > 1
        return x.addressable_data(0) if several else x

    return jax.tree.map(one, tree)
