"""The renderer against a slow plain ray march, and against what one must see."""

import math

import numpy as np
import pytest

from envs.navigate import blocks as B
from envs.navigate.grid import HEIGHT, SIZE
from envs.navigate.render import VIEW, _cast, _roof, render
from envs.navigate.world import generate, set_block

FEET = 21
EYE = (100.5, FEET + 1.62, 100.5)


def view(world, yaw=0.0, pitch=0.0, eye=EYE, size=64):
    return render(world.blocks, world.top, world.tile_top, eye, yaw, pitch, size).astype(int)


def plain_cast(world, origin, direction):
    """First solid block along a ray, cell by cell in float64. Returns (t, block, cell)."""
    cell = [math.floor(v) for v in origin]
    t = 0.0
    while t < VIEW:
        x, y, z = cell
        inside = 0 <= y < HEIGHT
        block = world.blocks[x % SIZE, z % SIZE, y] if inside else B.AIR
        if block >= B.FIRST_SOLID:
            return t, block, tuple(cell)
        exits = [
            ((c + (d > 0)) - o) / d if d else math.inf
            for c, o, d in zip(cell, origin, direction, strict=True)
        ]
        axis = int(np.argmin(exits))
        t = exits[axis]
        cell[axis] += 1 if direction[axis] > 0 else -1
    return math.inf, B.AIR, None


def test_rays_agree_with_a_plain_march_through_the_cells():
    rng, agree, hits = np.random.default_rng(0), [], 0
    for seed in range(3):
        world = generate(seed)
        for _ in range(400):
            x, z = rng.uniform(0, SIZE, 2)
            y = float(world.top[int(x), int(z)]) + rng.uniform(0.2, 12)
            direction = rng.normal(size=3) * (1, 0.5, 1)
            direction /= np.linalg.norm(direction)
            roof = _roof(world.tile_top, int(x) >> 3, int(z) >> 3)
            ray = (np.float32(v) for v in (roof, x, y, z, *direction))
            t, wet, block, _, *cell = _cast(world.blocks, world.top, world.tile_top, *ray, False)
            true_t, true_block, true_cell = plain_cast(world, (x, y, z), direction)
            if wet < 1e8 and (block == B.AIR or true_t > wet + 6):
                continue  # the renderer stops looking under 6 blocks of water
            hits += true_block != B.AIR
            same = block == true_block and (block == B.AIR or tuple(cell) == true_cell)
            agree.append(same and (block == B.AIR or abs(t - true_t) < 1e-2))
    assert hits > 300 and len(agree) > 800
    assert np.mean(agree) > 0.995  # float32 may choose the other side of an edge


def test_looking_up_shows_sky_and_down_shows_grass(flat_world):
    up, down = view(flat_world, pitch=-90), view(flat_world, pitch=90)
    assert (up[..., 2] > 200).all()
    assert (down[..., 1] > down[..., 0]).all() and (down[..., 1] > down[..., 2]).all()


def test_the_horizon_is_where_the_pitch_puts_it(flat_world):
    level = view(flat_world)
    assert (level[:31, :, 2] > 200).all() and (level[40:, :, 2] < 120).all()
    lowered = view(flat_world, pitch=20)  # 20 of 35 degrees: tan 20 / tan 35 of half the picture
    rows = np.flatnonzero((lowered[..., 2] < 150).any(1))
    assert rows[0] == pytest.approx(32 - 32 * math.tan(math.radians(20)) / 0.7, abs=4)


def test_looking_at_a_wall_shows_it(flat_world):
    for x in range(90, 112):
        for y in range(FEET, FEET + 12):
            set_block(flat_world, x, y, 103, B.SAND)
    wall, back = view(flat_world), view(flat_world, yaw=180)
    assert (wall[:40, :, 0] > wall[:40, :, 2]).all()  # sand is yellow, sky is blue
    assert (back[:30, :, 2] > 200).all()


def test_things_to_the_right_are_on_the_right(flat_world):
    set_block(flat_world, 97, FEET + 1, 104, B.GOAL)  # south-west of a player who looks south
    cyan = view(flat_world)
    columns = np.nonzero((cyan[..., 1] > 1.6 * cyan[..., 0]) & (cyan[..., 2] > 120))[1]
    assert len(columns) > 10 and columns.min() > 36


def test_fog_hides_what_is_far(flat_world):
    clear = view(flat_world)

    def contrast(distance):
        for x in range(98, 103):
            set_block(flat_world, x, FEET + 1, 100 + distance, B.LOG)
        seen = np.abs(view(flat_world) - clear).max()
        for x in range(98, 103):
            set_block(flat_world, x, FEET + 1, 100 + distance, B.AIR)
        return seen

    assert contrast(10) > contrast(50) > 0 and contrast(66) == 0


def test_water_is_blue_and_shows_shallow_ground(flat_world):
    flat_world.blocks[:, :, FEET - 1] = B.WATER
    shallow = view(flat_world, pitch=60)
    flat_world.blocks[:, :, FEET - 8 : FEET] = B.WATER
    deep = view(flat_world, pitch=60)
    assert (deep[..., 2] > deep[..., 0] + 60).all()
    assert np.abs(shallow - deep).mean() > 5
    below = view(flat_world, eye=(100.5, FEET - 3, 100.5))
    assert (below[..., 2] > below[..., 0]).all() and below.mean() < 110


def test_motion_and_turning_are_visible(flat_world):
    still = view(flat_world, pitch=20)
    moved = view(flat_world, pitch=20, eye=(EYE[0], EYE[1], EYE[2] + 0.2))
    assert np.abs(still - moved)[40:].mean() > 1
    sky, turned = view(flat_world, pitch=-40), view(flat_world, yaw=15, pitch=-40)
    assert np.abs(sky - turned).mean() > 1


def test_the_view_repeats_round_the_torus():
    world = generate(1)
    eye = (3.3, 40.0, 509.7)
    here = view(world, yaw=33, eye=eye)
    np.testing.assert_array_equal(here, view(world, yaw=33, eye=(eye[0] + SIZE, 40.0, eye[2])))
    assert len(np.unique(here.reshape(-1, 3), axis=0)) > 50


def test_sizes():
    world = generate(1)
    assert view(world, size=17).shape == (17, 17, 3)
