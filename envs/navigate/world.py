"""The voxel world: biomes, terrain, vegetation and villages, drawn from one seed.

A world is a torus of `SIZE` x `SIZE` columns, `HEIGHT` blocks high: a player who walks 512 blocks
in one direction is back at the start, so there is no edge to fall off. x grows east, z south, y up.
Blocks are stored `[x, z, y]`, so that one column is contiguous.
Read next: `structures.py` (trees and houses), `render.py` and `physics.py` (use of the arrays).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from common.kernels import kernel
from envs.navigate import blocks as B
from envs.navigate.grid import (
    DESERT,
    FOREST,
    HEIGHT,
    HILLS,
    ISLAND,
    OCEAN,
    PLAINS,
    SEA,
    SIZE,
    TILE,
    VILLAGE,
)
from envs.navigate.noise import fractal, smoothstep
from envs.navigate.structures import grow_vegetation, stamp_village

_OCEAN_SHARE, _HILLS_SHARE, _DESERT_SHARE, _FOREST_SHARE = 0.26, 0.24, 0.2, 0.36
_VILLAGE_RADIUS = 24  # blocks
_VILLAGES = 6  # at most, per world


class World(NamedTuple):
    """A generated world; the arrays are changed in place by digging and placing."""

    blocks: np.ndarray  # uint8 [SIZE, SIZE, HEIGHT], block ids at [x, z, y]
    top: np.ndarray  # uint8 [SIZE, SIZE], 1 + y of the highest block that is not air
    tile_top: np.ndarray  # uint8 [SIZE / TILE, SIZE / TILE], largest `top` of each tile
    ground: np.ndarray  # int16 [SIZE, SIZE], y of the natural ground's top block
    biome: np.ndarray  # uint8 [SIZE, SIZE], index into BIOMES


def generate(seed: int) -> World:
    """Draw a world. The same seed gives the same world, block for block.

    Args:
      seed: any non-negative integer.
    """
    rng = np.random.default_rng(seed)
    height, biome = _terrain(rng)
    sites = _village_sites(rng, height, biome)
    for x, z in sites:
        _level_ground(height, biome, x, z)
    ground = np.clip(np.rint(height), 2, HEIGHT - 12).astype(np.int16)
    blocks, top = _fill_columns(ground, biome, fractal(rng, SIZE, 32, 2))
    grow_vegetation(blocks, top, ground, biome, rng.random((SIZE // 4, SIZE // 4, 4), np.float32))
    for x, z in sites:
        stamp_village(blocks, top, ground, x, z, rng.random((5, 5, 4), np.float32))
    tiles = top.reshape(SIZE // TILE, TILE, SIZE // TILE, TILE)
    return World(blocks, top, np.ascontiguousarray(tiles.max((1, 3))), ground, biome)


def set_block(world: World, x: int, y: int, z: int, block: int) -> None:
    """Change one block in place and update `top` and `tile_top`. x and z may be any integers."""
    x, z = x % SIZE, z % SIZE
    world.blocks[x, z, y] = block
    filled = np.flatnonzero(world.blocks[x, z])
    world.top[x, z] = filled[-1] + 1
    i, j = x // TILE * TILE, z // TILE * TILE
    world.tile_top[x // TILE, z // TILE] = world.top[i : i + TILE, j : j + TILE].max()


def _terrain(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Height of the ground [SIZE, SIZE] (blocks, float32) and biome of every column."""
    land = _above(fractal(rng, SIZE, 4, 5), _OCEAN_SHARE)
    hilly = _above(fractal(rng, SIZE, 4, 3), 1 - _HILLS_SHARE)
    hot = _above(fractal(rng, SIZE, 4, 3), 1 - _DESERT_SHARE)
    moist = _above(fractal(rng, SIZE, 8, 3), 1 - _FOREST_SHARE)
    islands = _above(fractal(rng, SIZE, 16, 3), 0.78)
    rough, ridge = fractal(rng, SIZE, 16, 3), fractal(rng, SIZE, 16, 4)

    coast = smoothstep(land, 0.0, 0.35)
    rise = smoothstep(hilly, -0.15, 0.55) * coast
    relief = SEA + 0.3 + coast * (3.1 + 1.3 * rough) + rise * (9 + 6.5 * ridge)
    sea_floor = SEA - 1 - 8 * smoothstep(-land, 0.0, 0.6)
    shoal = smoothstep(islands, -0.1, 0.35) * smoothstep(-land, 0.1, 0.3)
    sea_floor += shoal * (SEA + 3.2 + rough - sea_floor)
    height = np.where(land > 0, relief, sea_floor)

    biome = np.full((SIZE, SIZE), PLAINS, np.uint8)
    biome[moist > 0] = FOREST
    biome[hot > 0] = DESERT
    biome[rise > 0.3] = HILLS
    biome[land <= 0] = np.where(height[land <= 0] > SEA + 0.5, ISLAND, OCEAN)
    return height.astype(np.float32), biome


def _above(field: np.ndarray, share: float) -> np.ndarray:
    """The field minus its `share` quantile: positive on the highest 1 - share of the world."""
    return field - np.quantile(field[::8, ::8], share).astype(np.float32)


def _village_sites(
    rng: np.random.Generator, height: np.ndarray, biome: np.ndarray
) -> list[tuple[int, int]]:
    """Centres of the villages: the driest, flattest of one candidate per 128 x 128 columns."""
    scored = []
    for i in range(SIZE // 128):
        for j in range(SIZE // 128):
            x, z = (int(v) for v in rng.integers(32, 96, 2) + (128 * i, 128 * j))
            near = _window(x), _window(z)
            dry = (height[np.ix_(*near)] > SEA + 0.5).mean()
            kind = np.isin(biome[np.ix_(*near)], (PLAINS, DESERT)).mean()
            scored.append((float(dry + 0.5 * kind - 0.05 * height[np.ix_(*near)].std()), x, z))
    scored.sort(reverse=True)
    good = [site for site in scored if site[0] > 1.0][:_VILLAGES]
    return [(x, z) for _, x, z in good or scored[:1]]


def _window(centre: int) -> np.ndarray:
    """Indices round the torus within the village radius of `centre`."""
    return np.arange(centre - _VILLAGE_RADIUS, centre + _VILLAGE_RADIUS + 1) % SIZE


def _level_ground(height: np.ndarray, biome: np.ndarray, x: int, z: int) -> None:
    """Flatten a village's disc towards its mean height and mark its biome, in place."""
    near = np.ix_(_window(x), _window(z))
    offset = np.arange(-_VILLAGE_RADIUS, _VILLAGE_RADIUS + 1, dtype=np.float32)
    radius = np.hypot(offset[:, None], offset[None])
    inside = 1 - smoothstep(radius, _VILLAGE_RADIUS - 8.0, float(_VILLAGE_RADIUS))
    level = max(float(np.median(height[near])), SEA + 2.0)
    height[near] += inside * (np.float32(level) - height[near])
    biome[near] = np.where(radius < _VILLAGE_RADIUS - 3, VILLAGE, biome[near])


@kernel()
def _fill_columns(
    ground: np.ndarray, biome: np.ndarray, grain: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Stack bedrock, stone, soil and water. Returns `blocks` and `top` as in World."""
    blocks = np.zeros((SIZE, SIZE, HEIGHT), np.uint8)
    top = np.zeros((SIZE, SIZE), np.uint8)
    for x in range(SIZE):
        for z in range(SIZE):
            surface, soil = _soil(ground[x, z], biome[x, z], grain[x, z])
            level = ground[x, z]
            blocks[x, z, 0] = B.BEDROCK
            for y in range(1, level - 3):
                blocks[x, z, y] = B.STONE
            for y in range(max(1, level - 3), level):
                blocks[x, z, y] = soil
            blocks[x, z, level] = surface
            for y in range(level + 1, SEA + 1):
                blocks[x, z, y] = B.WATER
            top[x, z] = max(level, SEA) + 1
    return blocks, top


@kernel()
def _soil(level: int, biome: int, grain: float) -> tuple[int, int]:
    """Top block and the blocks just below it, by biome, height and a noise value."""
    if biome == OCEAN or level < SEA:
        return (B.GRAVEL, B.STONE) if grain > 1.2 else (B.SAND, B.SAND)
    if biome == DESERT or level <= SEA + (1 if grain > -0.3 else 0):
        return B.SAND, B.SAND
    if biome == HILLS and level > SEA + 20 + grain:
        return B.SNOW, B.STONE
    if biome == HILLS and level > SEA + 12 + 3 * grain:
        return B.STONE, B.STONE
    return B.GRASS, B.DIRT
