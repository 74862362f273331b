"""Hallways: walls as tall as the projection says, a camera in the clear, rooms as the poses say."""

import math
from itertools import islice

import numpy as np
import pytest

from recordings.generators import maze_layout
from recordings.generators.hallways import CLEARANCE, Hallways, script
from recordings.generators.maze_layout import HALLWAY, paint_textures, random_layout
from recordings.generators.raycast import OUTSIDE, TEXELS, draw_views, region_at


@pytest.fixture(scope="module")
def plain():
    """One room of 6 x 5 cells: red walls, green floor."""
    grid = np.full((7, 8), OUTSIDE, np.int8)
    grid[1:6, 1:7] = 0
    textures = np.zeros((1, 2, TEXELS, TEXELS, 3), np.uint8)
    textures[0, 0, ..., 0] = 255
    textures[0, 1, ..., 1] = 255
    return grid, textures


def view(room, x: float, y: float, heading: float, size: int = 64) -> np.ndarray:
    """float [size, size, 3] in [0, 1]: the picture from one pose."""
    grid, textures = room
    return draw_views(grid, textures, np.array([[x, y, heading]]), size)[0] / 255


@pytest.mark.parametrize("distance", [1.0, 2.0, 3.5, 5.0])
@pytest.mark.parametrize("heading", [0.0, np.pi])
def test_a_wall_is_as_tall_as_the_projection_says(plain, distance: float, heading: float) -> None:
    """1 cell at depth d fills 1 / (d s) pixels, s = 2 tan 40° / 64; at 2 cells: 19.07."""
    x = 7 - distance if heading == 0 else 1 + distance
    picture = view(plain, x, 3.5, heading)
    red = (picture[:, 31:33] * [1, 0, 0]).sum(-1).mean(1)
    green = picture[:, 31:33, 1].mean(1)
    wall = (red > 0) & (green < 0.1) & (picture[:, 31, 2] < 0.1)
    expected = 64 / (2 * math.tan(math.radians(40)) * distance)
    assert min(expected, 64) == pytest.approx(
        {2.0: 19.07}.get(distance, min(expected, 64)), abs=0.01
    )
    assert wall.sum() == pytest.approx(min(expected, 64), abs=1.5)
    rows = np.flatnonzero(wall)
    assert (rows[0] + rows[-1]) / 2 == pytest.approx(31.5, abs=0.6)  # the eye is half way up


def test_a_pixel_is_what_a_plain_ray_meets(plain) -> None:
    """Region, depth and thus colour of 400 rays against a march in steps of 1/400 cell."""
    layout = random_layout(np.random.default_rng(5))
    flat = np.zeros((3, 2, TEXELS, TEXELS, 3), np.uint8)
    for region in range(3):
        flat[region, 0, ...] = 60 + 60 * region, 0, 0
        flat[region, 1, ...] = 0, 60 + 60 * region, 0
    rng = np.random.default_rng(1)
    places = list(islice(script(layout, rng), 20))
    poses = np.array([(x, y, rng.uniform(-np.pi, np.pi)) for x, y in places])
    frames = draw_views(layout.grid, flat, poses)
    scale, wrong = 2 * math.tan(math.radians(40)) / 64, 0
    for (x, y, heading), frame in zip(poses, frames, strict=True):
        for row, column in rng.integers(64, size=(20, 2)):
            up, right = (31.5 - row) * scale, (column - 31.5) * scale
            dx = math.cos(heading) - right * math.sin(heading)
            dy = math.sin(heading) + right * math.cos(heading)
            kind, region, depth = plain_march(layout.grid, x, y, dx, dy, up)
            light = (60 + 60 * region) / (1 + 0.06 * depth)
            red, green, blue = frame[row, column].astype(float)
            seen = {"wall": (red, light), "floor": (green, light), "sky": (blue, 243)}[kind]
            low = 0.78 if kind == "wall" else 0.9
            wrong += not low * seen[1] - 2 <= seen[0] <= 1.05 * seen[1] + 2
    assert wrong <= 12  # of 400: pixels at an edge are mixtures of two


def plain_march(grid, x, y, dx, dy, up):
    """(what, region, depth) met first by a ray from height 0.5, in small steps."""
    depth, region = 0.0, int(grid[int(y), int(x)])
    while True:
        depth += 1 / 400
        height = 0.5 + up * depth
        if height < 0:
            return "floor", region, depth
        ahead = int(grid[int(y + dy * depth), int(x + dx * depth)])
        if ahead == OUTSIDE:
            return ("sky" if height > 1 else "wall"), region, depth
        region = ahead


def test_left_and_right_are_not_swapped() -> None:
    """Looking along x, what lies at larger y is on the right."""
    grid = np.full((7, 8), OUTSIDE, np.int8)
    grid[1:4, 1:7], grid[4:6, 1:7] = 0, 1
    textures = np.zeros((2, 2, TEXELS, TEXELS, 3), np.uint8)
    textures[0, ..., 0] = textures[1, ..., 1] = 255
    picture = draw_views(grid, textures, np.array([[2.0, 4.0, 0.0]]))[0].astype(int)
    assert picture[40:, :28, 0].min() > 0 and not picture[40:, :28, 1].any()
    assert picture[40:, 36:, 1].min() > 0 and not picture[40:, 36:, 0].any()


def test_a_symmetric_room_looks_symmetric(plain) -> None:
    """From the middle line of the room, so the optical axis is in the picture's middle."""
    picture = view(plain, 3.0, 3.5, 0.0)
    np.testing.assert_allclose(picture, picture[:, ::-1], atol=0.01)
    assert (picture[30] != picture[30, 0]).any()  # and not because it is all the same


def test_textures_stand_upright_and_once_per_cell() -> None:
    """A wall whose upper half is bright shows it above; its left half is at smaller `along`."""
    grid = np.full((5, 6), OUTSIDE, np.int8)
    grid[1:4, 1:5] = 0
    textures = np.zeros((1, 2, TEXELS, TEXELS, 3), np.uint8)
    textures[0, 0, : TEXELS // 2, :, 0] = 255
    textures[0, 0, :, : TEXELS // 2, 1] = 255
    picture = view((grid, textures), 4.0, 2.5, 0.0)  # one cell fills 38 pixels, rows 13 to 50
    assert picture[20:30, 14:50, 0].min() > 0.5 and not picture[34:44, 14:50, 0].any()
    left, right = picture[34:44, 14:30, 1], picture[34:44, 34:49, 1]
    assert left.min() > 0.5 and not right.any()


def test_layouts_are_rooms_joined_by_a_hallway() -> None:
    for seed in range(200):
        layout = random_layout(np.random.default_rng(seed))
        grid = layout.grid
        assert (grid[0] == OUTSIDE).all() and (grid[:, -1] == OUTSIDE).all()
        for region, (low, high) in enumerate(layout.rooms.astype(int)):
            assert (grid == region).sum() == np.prod(high - low)
            assert (grid[low[1] : high[1], low[0] : high[0]] == region).all()
        assert reachable(grid) == (grid != OUTSIDE).sum()
        hallway = np.argwhere(grid == HALLWAY)
        for i, j in hallway:  # one cell wide: no cell has more than two free neighbours
            free = sum(grid[i + a, j + b] != OUTSIDE for a, b in ((0, 1), (1, 0), (0, -1), (-1, 0)))
            assert free == 2
        for column in (1, 3):  # no two regions share a colour
            assert len(set(layout.looks[:, column])) == 3


def reachable(grid) -> int:
    """Cells that can be walked to from the first free one."""
    todo = [tuple(np.argwhere(grid != OUTSIDE)[0])]
    seen = set(todo)
    while todo:
        i, j = todo.pop()
        for cell in ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)):
            if grid[cell] != OUTSIDE and cell not in seen:
                seen.add(cell)
                todo.append(cell)
    return len(seen)


def test_the_camera_keeps_clear_of_walls_and_the_room_is_that_of_the_pose() -> None:
    corners = CLEARANCE * 0.99 * np.array([(1, 1), (1, -1), (-1, 1), (-1, -1)])
    for index in range(20):
        video = Hallways(length=300).video(index, seed=2)
        layout = random_layout(np.random.default_rng((2, index)))
        pose, room = video.factors["pose"], video.factors["room"]
        cells = np.floor(pose[:, :2]).astype(int)
        np.testing.assert_array_equal(room, layout.grid[cells[:, 1], cells[:, 0]])
        for corner in corners:
            assert (region_at(layout.grid, pose[:, :2] + corner) != OUTSIDE).all()
        np.testing.assert_array_equal(video.factors["textures"][17], layout.looks)


def test_the_camera_keeps_its_limits_and_looks_where_it_goes() -> None:
    straight = []
    for video in Hallways(length=200).videos(10, seed=0):
        x, y, heading = video.factors["pose"].astype(float).T
        steps, turns = np.hypot(np.diff(x), np.diff(y)), np.abs(np.diff(np.unwrap(heading)))
        assert steps.max() <= 0.12 + 1e-5 and turns.max() <= math.radians(8) + 1e-5
        off = np.arctan2(np.diff(y), np.diff(x)) - heading[:-1]
        moving = steps > 0.1
        straight.append(np.cos(off[moving]))
    assert np.concatenate(straight).min() > 0.9


def test_all_three_kinds_of_walk_occur() -> None:
    """CW-VAE Figure 5a: within one room; into the hallway; through it into another room."""
    visited = [set(v.factors["room"].tolist()) for v in Hallways(length=150).videos(60, seed=3)]
    assert any(HALLWAY not in rooms for rooms in visited)
    assert any(HALLWAY in rooms and len(rooms) == 2 for rooms in visited)
    assert any(len(rooms) == 3 for rooms in visited)


def test_a_room_shows_its_own_colours() -> None:
    """The floor before the feet has the floor colour of the region stood in, up to its pattern."""
    agree = total = 0
    for video in Hallways(length=60).videos(10, seed=4):
        looks, room = video.factors["textures"][0], video.factors["room"]
        palette = np.array(maze_layout.FLOOR_COLOURS)[looks[:, 3]].astype(float)
        palette /= np.linalg.norm(palette, axis=1, keepdims=True)
        feet = video.obs["image"][:, 60:, 24:40].astype(float).mean((1, 2))
        feet /= np.linalg.norm(feet, axis=1, keepdims=True)
        agree += ((feet @ palette.T).argmax(1) == room).sum()
        total += len(room)
    assert agree > 0.8 * total  # at a threshold or a wall the feet see elsewhere


def test_textures_are_colour_times_light() -> None:
    looks = np.array([[0, 1, 3, 2]], np.int32)
    textures = paint_textures(looks)
    wall = textures[0, 0] / np.array(maze_layout.WALL_COLOURS[1])
    assert wall.min() > 0.85 and wall.max() <= 1.02  # grain only
    floor = textures[0, 1] / np.array(maze_layout.FLOOR_COLOURS[2])
    assert floor[:8, :8].min() > 0.8 and floor[:8, 8:16].max() < 0.55  # checks of 8 texels


def test_a_video_depends_on_options_seed_and_number_alone() -> None:
    every = list(Hallways(length=12).videos(3, seed=1))
    again = Hallways(length=12).video(2, 1)
    assert again.name == every[2].name == "hallways-000002"
    np.testing.assert_array_equal(every[2].obs["image"], again.obs["image"])
    assert (every[1].obs["image"] != again.obs["image"]).any()


def test_bad_input_is_refused(plain) -> None:
    grid, textures = plain
    for options in ({"speed": 0.0}, {"turn": 0.0}, {"turn": 200.0}):
        with pytest.raises(ValueError, match=f"{next(iter(options))}: expected"):
            Hallways(**options)
    with pytest.raises(ValueError, match="poses"):
        draw_views(grid, textures, np.array([[0.5, 3.0, 0.0]]))
    with pytest.raises(ValueError, match="poses"):
        draw_views(grid, textures, np.array([[30.0, 3.0, 0.0]]))
    with pytest.raises(ValueError, match="grid"):
        draw_views(np.zeros((4, 4), np.int8), textures, np.array([[1.5, 1.5, 0.0]]))
