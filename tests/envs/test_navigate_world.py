"""The world generator: every biome and structure occurs, the arrays agree, seeds decide."""

import numpy as np
import pytest

from envs.navigate import blocks as B
from envs.navigate.grid import (
    BIOMES,
    DESERT,
    FOREST,
    HILLS,
    ISLAND,
    OCEAN,
    PLAINS,
    SEA,
    SIZE,
    TILE,
    VILLAGE,
    wrap,
)
from envs.navigate.noise import fractal
from envs.navigate.world import World, generate, set_block

SEEDS = range(12)


@pytest.fixture(scope="module")
def worlds() -> list[World]:
    return [generate(seed) for seed in SEEDS]


def share(world: World, block: int, biome: int) -> float:
    """Columns of a biome that hold a block, as a share."""
    return float((world.blocks[world.biome == biome] == block).any(-1).mean())


def test_the_same_seed_gives_the_same_world(worlds):
    for one, other in zip(worlds[3], generate(3), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(worlds[3].blocks, worlds[4].blocks)


@pytest.mark.parametrize("biome", range(len(BIOMES)), ids=BIOMES)
def test_every_biome_occurs_in_every_world(worlds, biome):
    least = {OCEAN: 0.08, ISLAND: 0.002, VILLAGE: 0.004}.get(biome, 0.02)
    assert min((world.biome == biome).mean() for world in worlds) > least


def test_biomes_look_like_what_they_are(worlds):
    for world in worlds:
        assert share(world, B.LEAVES, FOREST) > 0.25 > 0.1 > share(world, B.LEAVES, PLAINS)
        assert share(world, B.CACTUS, DESERT) > 0
        assert share(world, B.SAND, DESERT) > 0.9
        assert share(world, B.PINE, HILLS) > 0.01
        assert share(world, B.WATER, OCEAN) > 0.95
        assert share(world, B.WATER, ISLAND) == 0
        assert share(world, B.PLANKS, VILLAGE) + share(world, B.COBBLE, VILLAGE) > 0.02
        assert share(world, B.GRAVEL, VILLAGE) > 0.05
        hills = world.ground[world.biome == HILLS]
        assert hills.max() > SEA + 12 and hills.mean() > world.ground[world.biome == PLAINS].mean()


def test_the_sea_is_flat_and_lies_on_the_ground(worlds):
    for world in worlds:
        wet = world.blocks == B.WATER
        sea = wet.any(-1) & (world.biome != VILLAGE)  # a village's well has its own level
        assert wet[sea].nonzero()[1].max() == SEA
        np.testing.assert_array_equal(sea, (world.ground < SEA) & (world.biome != VILLAGE))


def test_tops_agree_with_the_blocks(worlds):
    for world in worlds:
        filled = world.blocks != B.AIR
        highest = filled.shape[2] - filled[:, :, ::-1].argmax(-1)
        np.testing.assert_array_equal(world.top, highest)
        tiles = world.top.reshape(SIZE // TILE, TILE, SIZE // TILE, TILE).max((1, 3))
        np.testing.assert_array_equal(world.tile_top, tiles)


def test_houses_have_doors_windows_and_a_roof(worlds):
    """In every village some air is enclosed: covered by a roof, a wall within 4 on all sides."""
    for world in worlds:
        x, z = np.argwhere((world.blocks == B.ROOF).any(-1) & (world.biome == VILLAGE)).T
        floor = world.ground[x, z]
        covered = world.blocks[x, z, floor + 1] == B.AIR
        assert covered.sum() > 10


def test_set_block_keeps_the_tops_true(flat_world):
    set_block(flat_world, -1, 40, 700, B.DIRT)
    assert flat_world.blocks[SIZE - 1, 700 - SIZE, 40] == B.DIRT
    assert flat_world.top[SIZE - 1, 700 - SIZE] == 41
    assert flat_world.tile_top[-1, (700 - SIZE) // TILE] == 41
    set_block(flat_world, -1, 40, 700, B.AIR)
    assert flat_world.top[SIZE - 1, 700 - SIZE] == 21
    assert flat_world.tile_top[-1, (700 - SIZE) // TILE] == 21


def test_the_world_has_no_seam(worlds):
    for world in worlds[:4]:
        inside = np.abs(np.diff(world.ground.astype(int), axis=0)).mean()
        across = np.abs(world.ground[0].astype(int) - world.ground[-1]).mean()
        assert across < 3 * inside + 0.2


def test_noise_is_standardised_and_periodic():
    field = fractal(np.random.default_rng(0), 128, 4, 3)
    assert field.mean() == pytest.approx(0, abs=1e-5) and field.std() == pytest.approx(1, abs=1e-5)
    assert np.abs(field[0] - field[-1]).max() < 3 * np.abs(np.diff(field, axis=0)).max()


def test_wrap_goes_the_short_way():
    assert wrap(SIZE - 3.0) == -3.0
    np.testing.assert_array_equal(wrap(np.array([5.0, -SIZE + 1.0])), [5.0, 1.0])
