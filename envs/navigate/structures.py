"""Trees, cacti, houses and wells, stamped into the block array of a fresh world.

All coordinates wrap round the torus. Every stamp keeps `top` up to date. The code is compiled, so
that a whole world takes milliseconds; random numbers are passed in as arrays, so that the caller
owns the only generator.
"""

from __future__ import annotations

import numpy as np

from common.kernels import kernel
from envs.navigate import blocks as B
from envs.navigate.grid import DESERT, FOREST, HILLS, ISLAND, PLAINS, SEA, SIZE


@kernel()
def grow_vegetation(
    blocks: np.ndarray, top: np.ndarray, ground: np.ndarray, biome: np.ndarray, chance: np.ndarray
) -> None:
    """Plant at most one tree or cactus per 4 x 4 columns, in place.

    Args:
      blocks, top, ground, biome: as in `world.World`.
      chance: float32 [SIZE / 4, SIZE / 4, 4] uniform in [0, 1): whether to plant, where in x, where
        in z, and which plant.
    """
    for i in range(chance.shape[0]):
        for j in range(chance.shape[1]):
            x, z = 4 * i + int(4 * chance[i, j, 1]), 4 * j + int(4 * chance[i, j, 2])
            level, kind = int(ground[x, z]), int(biome[x, z])
            if chance[i, j, 0] >= _density(kind) or level <= SEA:
                continue
            if kind == DESERT:
                for y in range(level + 1, level + 2 + int(3 * chance[i, j, 3])):
                    put(blocks, top, x, y, z, B.CACTUS)
            elif blocks[x, z, level] == B.GRASS:
                _tree(blocks, top, x, level, z, kind, chance[i, j, 3])


@kernel()
def _density(biome: int) -> float:
    """Probability of a plant per 4 x 4 columns."""
    if biome == FOREST:
        return 0.34
    if biome == HILLS:
        return 0.07
    if biome == ISLAND:
        return 0.16
    if biome == PLAINS or biome == DESERT:
        return 0.025
    return 0.0


@kernel()
def _tree(
    blocks: np.ndarray, top: np.ndarray, x: int, level: int, z: int, biome: int, which: float
) -> None:
    """A pine in the hills, otherwise an oak or a birch, its trunk standing on y = level."""
    pine = biome == HILLS
    trunk = 4 + int(3 * ((which * 7) % 1))
    log, leaf = (B.LOG, B.PINE) if pine else (B.BIRCH if which < 0.25 else B.LOG, B.LEAVES)
    crown = level + trunk
    low = -trunk + 2 if pine else -1
    for dy in range(low, 3 if pine else 2):
        radius = (2 - dy) // 2 if pine else (2 if dy < 1 else 1)
        radius = min(radius, 2)
        for dx in range(-radius, radius + 1):
            for dz in range(-radius, radius + 1):
                corner = abs(dx) == radius and abs(dz) == radius and radius > 0
                if not (corner and (pine or (dx + dz + dy) % 2 == 0 or dy == 1)):
                    put(blocks, top, x + dx, crown + dy, z + dz, leaf)
    for y in range(level + 1, crown + 1):
        put(blocks, top, x, y, z, log)


@kernel()
def stamp_village(
    blocks: np.ndarray, top: np.ndarray, ground: np.ndarray, x: int, z: int, chance: np.ndarray
) -> None:
    """A well, crossing gravel paths and up to eight houses on a grid of plots, in place.

    Args:
      blocks, top, ground: as in `world.World`.
      x, z: centre of the village.
      chance: float32 [5, 5, 4] uniform in [0, 1), one row per plot.
    """
    mask = SIZE - 1
    for along in range(-18, 19):
        for across in range(-1, 2):
            _path(blocks, ground, (x + along) & mask, (z + across) & mask)
            _path(blocks, ground, (x + across) & mask, (z + along) & mask)
    for i in range(-1, 2):
        for j in range(-1, 2):
            if i == 0 and j == 0:
                _well(blocks, top, x, int(ground[x & mask, z & mask]), z)
            elif chance[i + 1, j + 1, 0] < 0.85:
                _house(blocks, top, ground, x + 11 * i, z + 11 * j, i, j, chance[i + 1, j + 1])


@kernel()
def _path(blocks: np.ndarray, ground: np.ndarray, x: int, z: int) -> None:
    """Turn the ground's top block to gravel, unless it is under water."""
    if ground[x, z] >= SEA:
        blocks[x, z, ground[x, z]] = B.GRAVEL


@kernel()
def _well(blocks: np.ndarray, top: np.ndarray, x: int, level: int, z: int) -> None:
    """A cobble basin of water, four posts and a roof."""
    for dx in range(-2, 3):
        for dz in range(-2, 3):
            edge = max(abs(dx), abs(dz))
            if edge == 2:
                put(blocks, top, x + dx, level, z + dz, B.COBBLE)
                continue
            put(blocks, top, x + dx, level, z + dz, B.WATER if edge == 0 else B.COBBLE)
            put(blocks, top, x + dx, level + 4, z + dz, B.ROOF)
            if abs(dx) == 1 and abs(dz) == 1:
                for y in range(level + 1, level + 4):
                    put(blocks, top, x + dx, y, z + dz, B.LOG)


@kernel()
def _house(
    blocks: np.ndarray,
    top: np.ndarray,
    ground: np.ndarray,
    x: int,
    z: int,
    east: int,
    south: int,
    chance: np.ndarray,
) -> None:
    """A house of planks or cobble with a stepped roof; its door faces the village's centre."""
    mask = SIZE - 1
    level, half = int(ground[x & mask, z & mask]), 2 + int(2 * chance[1])
    if level <= SEA:
        return
    wall = B.COBBLE if chance[2] < 0.3 else B.PLANKS
    for dx in range(-half, half + 1):
        for dz in range(-half, half + 1):
            for y in range(max(1, level - 3), level + 1):
                put(blocks, top, x + dx, y, z + dz, B.COBBLE)
            for y in range(level + 1, level + 5 + half):
                put(blocks, top, x + dx, y, z + dz, B.AIR)
            if max(abs(dx), abs(dz)) == half:
                _wall_column(blocks, top, x, level, z, dx, dz, half, wall)
    _gable(blocks, top, x, level + 4, z, half, wall)
    door_x, door_z = (-east * half, 0) if east != 0 else (0, -south * half)
    for y in range(level + 1, level + 3):
        put(blocks, top, x + door_x, y, z + door_z, B.AIR)


@kernel()
def _gable(
    blocks: np.ndarray, top: np.ndarray, x: int, eaves: int, z: int, half: int, wall: int
) -> None:
    """A stepped roof from y = eaves, its ridge along z, one block wider than the walls."""
    for step in range(half + 1):
        reach = half + 1 - step
        for dx in range(-reach, reach + 1):
            for dz in range(-half - 1, half + 2):
                if abs(dx) == reach or step == half:
                    put(blocks, top, x + dx, eaves + step, z + dz, B.ROOF)
                elif abs(dz) == half:
                    put(blocks, top, x + dx, eaves + step, z + dz, wall)


@kernel()
def _wall_column(
    blocks: np.ndarray,
    top: np.ndarray,
    x: int,
    level: int,
    z: int,
    dx: int,
    dz: int,
    half: int,
    wall: int,
) -> None:
    """One column of a house's wall: log posts in the corners, a window in the middle."""
    post = abs(dx) == half and abs(dz) == half
    for y in range(level + 1, level + 4):
        window = (dx == 0 or dz == 0) and y == level + 2
        block = B.LOG if post else (B.AIR if window else wall)
        put(blocks, top, x + dx, y, z + dz, block)


@kernel()
def put(blocks: np.ndarray, top: np.ndarray, x: int, y: int, z: int, block: int) -> None:
    """Set one block, wrapping round the torus, and keep `top` up to date."""
    mask = SIZE - 1
    x, z = x & mask, z & mask
    blocks[x, z, y] = block
    if block != B.AIR:
        top[x, z] = max(int(top[x, z]), y + 1)
    elif top[x, z] == y + 1:
        while y > 0 and blocks[x, z, y] == B.AIR:
            y -= 1
        top[x, z] = y + 1
