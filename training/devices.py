"""One run on several devices of one process: batches are split over them, parameters are on each.

XLA divides the jitted update by where its arguments lie, and adds gradients up across devices; no
line of the model knows. Read next: `loop.py`, which places them; docs/scaling.md.
"""

from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from common import UserError

AXIS = "batch"


class Devices:
    """The first so many devices that JAX offers.

    Args:
      rows: length of the axis that is divided among them, and ``axis`` its name.
    Raises:
      UserError: if it offers fewer, or they cannot share the axis evenly.
    """

    def __init__(self, count: int, rows: int, axis: str = "batch") -> None:
        known = jax.devices()
        if rows % count:
            raise UserError(
                f"devices: expected a divisor of {axis}, {rows}, received {count}; choose another "
                f"--devices or --{axis}"
            )
        if count > len(known):
            raise UserError(
                f"devices: expected at most {len(known)}, of kind {known[0].platform}, received "
                f"{count}; on a CPU, XLA_FLAGS=--xla_force_host_platform_device_count={count} "
                "makes as many of one"
            )
        self.count = count
        mesh = Mesh(known[:count], (AXIS,))
        self.every = NamedSharding(mesh, PartitionSpec())
        """A whole copy on each."""
        self.split = NamedSharding(mesh, PartitionSpec(AXIS))
        """A share of the first axis on each."""

    def copy(self, tree: Any) -> Any:
        """Arrays on every device, as the update takes its state."""
        return tree if self.count == 1 else jax.device_put(tree, self.every)

    def share(self, batch: Any) -> Any:
        """Arrays [B, ...] divided among them, as it takes its batch."""
        return batch if self.count == 1 else jax.device_put(batch, self.split)


def of_one(tree: Any) -> Any:
    """The first device's copy of arrays that are on every one, without copying: what acts or is
    evaluated runs there alone."""

    def one(x: Any) -> Any:
        several = isinstance(x, jax.Array) and len(x.sharding.device_set) > 1
        return x.addressable_data(0) if several else x

    return jax.tree.map(one, tree)
