"""Walking, jumping, falling, swimming and looking, against Minecraft's known numbers."""

import numpy as np
import pytest

from envs.navigate import blocks as B
from envs.navigate import physics as P

FLOOR = 20
FEET = FLOOR + 1


def run(world, body, frames, forward=0, strafe=0, jump=False, sneak=False, sprint=False):
    """Frames with the same keys held. Returns [frames, 11] bodies."""
    track = []
    for _ in range(frames):
        P.advance(world.blocks, body, forward, strafe, jump, sneak, sprint)
        track.append(body.copy())
    return np.array(track)


@pytest.mark.parametrize(
    ("keys", "metres_per_second"),
    [({}, 4.317), ({"sprint": True}, 5.612), ({"sneak": True}, 1.295)],
)
def test_speeds_are_minecrafts(flat_world, body, keys, metres_per_second):
    track = run(flat_world, body, 40, forward=1, **keys)
    speed = 20 * (track[-1, P.Z] - track[-2, P.Z])
    assert speed == pytest.approx(metres_per_second, rel=5e-3)
    assert body[P.Y] == FEET and body[P.ON_GROUND] == 1


def test_keys_and_yaw_give_directions(flat_world, body):
    body[P.YAW] = 90  # west
    run(flat_world, body, 20, forward=1)
    assert body[P.X] < 97 and body[P.Z] == pytest.approx(100.5, abs=1e-6)
    body[P.YAW] = 0  # south: left is east
    run(flat_world, body, 60, strafe=1)
    assert body[P.X] > 104


def test_a_jump_peaks_at_one_and_a_quarter_blocks(flat_world, body):
    track = run(flat_world, body, 12, jump=True)
    assert track[:, P.Y].max() - FEET == pytest.approx(1.252, abs=1e-3)
    assert body[P.ON_GROUND] == 1 and body[P.Y] == FEET


def test_falls_with_gravity_and_lands(flat_world, body):
    body[P.Y], body[P.ON_GROUND] = FEET + 10, 0
    track = run(flat_world, body, 40)
    assert track[0, P.VY] == pytest.approx(-0.0784)
    assert track[1, P.Y] == pytest.approx(FEET + 10 - 0.0784)
    assert body[P.Y] == FEET and body[P.ON_GROUND] == 1


def test_does_not_fall_through_the_floor_at_terminal_speed(flat_world, body):
    body[P.Y], body[P.VY], body[P.ON_GROUND] = FEET + 2.5, -3.9, 0
    run(flat_world, body, 3)
    assert body[P.Y] == FEET


@pytest.mark.parametrize("yaw", [0, 37, 90, 180, -90])
def test_cannot_walk_through_walls(flat_world, body, yaw):
    flat_world.blocks[98:103, 98:103, FEET : FEET + 3] = B.STONE
    flat_world.blocks[99:102, 99:102, FEET : FEET + 3] = B.AIR
    body[P.YAW] = yaw
    track = run(flat_world, body, 60, forward=1, jump=True, sprint=True)
    for axis in (P.X, P.Z):
        assert track[:, axis].min() >= 99.3 - 1e-6 and track[:, axis].max() <= 101.7 + 1e-6
    assert track[:, P.COLLIDED].any()


def test_one_block_stops_walking_but_not_jumping(flat_world, body):
    flat_world.blocks[:, 103:, FEET] = B.STONE
    run(flat_world, body, 40, forward=1)
    assert body[P.Z] == pytest.approx(102.7)
    run(flat_world, body, 40, forward=1, jump=True)
    assert body[P.Z] > 103 and body[P.Y] >= FEET + 1


def test_two_blocks_stop_jumping_too(flat_world, body):
    flat_world.blocks[:, 103:, FEET : FEET + 2] = B.STONE
    run(flat_world, body, 80, forward=1, jump=True, sprint=True)
    assert body[P.Z] == pytest.approx(102.7)


def test_a_low_ceiling_stops_a_jump(flat_world, body):
    flat_world.blocks[:, :, FEET + 2] = B.STONE
    assert run(flat_world, body, 12, jump=True)[:, P.Y].max() == pytest.approx(FEET + 0.2)


def flood(world, depth):
    world.blocks[:, :, FEET - depth : FEET] = B.WATER


def test_sinks_without_jump_and_floats_with_it(flat_world, body):
    flood(flat_world, 8)
    track = run(flat_world, body, 40)
    assert body[P.IN_WATER] == 1
    assert track[-1, P.VY] == pytest.approx(-0.1, abs=0.01)  # 0.02 / (1 - 0.8)
    track = run(flat_world, body, 200, jump=True)
    assert track[-60:, P.Y].min() > FEET - 1.2


def test_swims_slowly(flat_world, body):
    flood(flat_world, 8)
    body[P.Y] = FEET - 4
    run(flat_world, body, 5)
    track = run(flat_world, body, 20, forward=1)
    speed = 20 * (track[-1, P.Z] - track[-2, P.Z])
    assert speed == pytest.approx(1.96, abs=0.06)  # 20 x 0.98 x 0.02 / (1 - 0.8)


@pytest.mark.parametrize(("bank", "climbs"), [(0, True), (1, True), (2, False)])
def test_climbs_out_over_banks_of_one_block(flat_world, body, bank, climbs):
    flood(flat_world, 8)
    flat_world.blocks[:, 104:, : FEET + bank] = B.STONE
    run(flat_world, body, 300, forward=1, jump=True)
    assert (body[P.Z] > 105) == climbs


def test_looks_at_the_block_ahead(flat_world, body):
    flat_world.blocks[100, 103, FEET + 1] = B.STONE
    assert P.look(flat_world.blocks, body, P.EYE) == (100, FEET + 1, 103, 0, 0, -1)
    body[P.PITCH] = 90
    assert P.look(flat_world.blocks, body, P.EYE) == (100, FLOOR, 100, 0, 1, 0)


def test_sees_nothing_beyond_its_reach(flat_world, body):
    flat_world.blocks[100, 106, FEET + 1] = B.STONE  # 5.5 blocks from the eye
    assert P.look(flat_world.blocks, body, P.EYE)[3:] == (0, 0, 0)
    body[P.PITCH] = -90
    assert P.look(flat_world.blocks, body, P.EYE)[3:] == (0, 0, 0)


def test_walks_across_the_edge_of_the_torus(flat_world, body):
    body[P.Z] = 511.0
    flat_world.blocks[100, 3, FEET] = B.STONE
    run(flat_world, body, 60, forward=1)
    assert body[P.Z] == pytest.approx(512 + 2.7)
