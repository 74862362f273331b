"""Navigate's constants: goal, compass target, needle, touching."""

import numpy as np
import pytest

from envs.navigate import blocks as B
from envs.navigate import physics as P
from envs.navigate.grid import BIOMES, SEA, SIZE
from envs.navigate.task import Needle, Task, place_player
from envs.navigate.world import generate

FEET = 21


@pytest.fixture
def task(flat_world, body):
    return Task(flat_world, np.random.default_rng(0), body)


def test_the_needle_lags_as_computed_by_hand():
    needle = Needle(0.0)
    # err 90: speed (0 + 9) .8 = 7.2; err 82.8: (7.2 + 8.28) .8 = 12.384; err 70.416: 15.54048
    assert [needle.update(90.0) for _ in range(3)] == pytest.approx([7.2, 19.584, 35.12448])
    for _ in range(200):
        needle.update(90.0)
    assert needle.angle == pytest.approx(90.0)


def test_the_needle_takes_the_short_way_round():
    needle = Needle(170.0)
    assert needle.update(-170.0) == pytest.approx(171.6)
    for _ in range(60):
        angle = needle.update(-170.0)
    assert angle == pytest.approx(-170.0, abs=0.1)


@pytest.mark.parametrize("blocks", [64, 16])
def test_the_goal_is_64_blocks_off_or_as_asked_and_the_target_8_to_11_from_it(
    flat_world, body, blocks
):
    east = []
    for seed in range(40):
        distance = {} if blocks == 64 else {"goal_distance": blocks}
        task = Task(flat_world, np.random.default_rng(seed), body, **distance)
        assert task.goal_distance(body) == pytest.approx(blocks, abs=0.75)  # its block's middle
        offset = task.target - task.goal
        assert 8 <= np.hypot(offset[0], offset[2]) <= 11 and offset[1] == 0
        assert flat_world.blocks[tuple(int(v) for v in task.goal[[0, 2, 1]])] == B.GOAL
        east.append(task.goal[0] - body[P.X])
    assert min(east) < -0.75 * blocks and max(east) > 0.75 * blocks  # uniform between ±blocks
    assert abs(np.mean(east)) < 0.4 * blocks


def test_the_compass_counts_degrees_to_the_right(task, body):
    task.target = body[[P.X, P.Y, P.Z]] + (-10.0, 0.0, 0.0)  # west of a player who looks south
    assert task.true_angle(body) == pytest.approx(90.0)
    body[P.YAW] = 90.0
    assert task.true_angle(body) == pytest.approx(0.0)
    body[P.YAW] = -135.0
    assert task.true_angle(body) == pytest.approx(-135.0)


def test_the_first_needle_is_at_rest_on_the_target(task, body):
    assert task.needle.angle == task.true_angle(body)


def test_the_distance_is_three_dimensional_and_goes_the_short_way_round(task, body):
    task.target = np.array((100.5 + SIZE - 3, FEET + 4, 100.5))
    assert task.target_distance(body) == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("offset", "touches"),
    [
        ((0.8, 0.0, 0.0), True),  # side by side
        ((0.8, 0.0, 0.8), True),  # corner to corner
        ((0.95, 0.0, 0.0), False),
        ((0.0, -1.0, 0.0), True),  # standing on it
        ((0.0, -1.3, 0.0), False),  # above it in a jump
        ((0.0, 1.8, 0.0), True),  # head against it
        ((0.0, 2.0, 0.0), False),
    ],
)
def test_touching(task, body, offset, touches):
    task.goal = body[[P.X, P.Y, P.Z]] + offset
    assert task.touching(body) == touches


def test_the_goal_pays_on_its_first_tick_only(task, body):
    task.goal = body[[P.X, P.Y, P.Z]] + (0.8, 0.0, 0.0)
    assert task.update(body)[::2] == (100.0, True)
    assert task.update(body)[::2] == (0.0, True)


def test_players_start_on_free_dry_ground_in_every_biome():
    world, seen = generate(5), set()
    for seed in range(60):
        body = place_player(world, np.random.default_rng(seed))
        x, y, z = int(body[P.X]), int(body[P.Y]), int(body[P.Z])
        assert y > SEA and world.blocks[x, z, y - 1] >= B.FIRST_SOLID
        assert not world.blocks[x, z, y:].any()
        seen.add(BIOMES[world.biome[x, z]])
    assert seen == set(BIOMES) - {"ocean"}


def test_a_goal_in_the_sea_swims(flat_world, body):
    flat_world.blocks[:, :, 10:21] = B.WATER
    flat_world.ground[:] = 9
    task = Task(flat_world, np.random.default_rng(0), body)
    assert task.goal[1] == SEA + 1
