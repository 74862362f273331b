"""Sizes, biome names and the torus, shared by all other files of the builtin world.

x grows east, z south, y up. The compiled kernels bake these constants in, and numba does not see a
change in an imported file: after changing one here or in `blocks.py`, delete `__pycache__`.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np

SIZE = 512  # columns along one edge of the torus; a power of two
HEIGHT = 64  # blocks
SEA = 20  # y of the highest water block
TILE_SHIFT = 3
TILE = 1 << TILE_SHIFT  # columns along one edge of a tile of `World.tile_top`

PLAINS, FOREST, HILLS, DESERT, OCEAN, ISLAND, VILLAGE = range(7)
BIOMES = ("plains", "forest", "hills", "desert", "ocean", "island", "village")

Blocks = TypeVar("Blocks", float, np.ndarray)


def wrap(delta: Blocks) -> Blocks:
    """Shortest way round the torus: the difference (blocks) in [-SIZE/2, SIZE/2)."""
    return (delta + SIZE / 2) % SIZE - SIZE / 2
