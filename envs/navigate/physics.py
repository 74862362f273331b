"""The player's body: walking, jumping, swimming, collision, and what the player looks at.

A call is one frame of 50 ms. Constants are Minecraft's (1.11): acceleration, then movement clipped
against the blocks axis by axis (y, x, z), then drag and gravity. Angles follow Minecraft too:
yaw 0 looks south (+z), positive yaw turns right; positive pitch looks down. Degrees everywhere.
"""

from __future__ import annotations

import math

import numpy as np

from common.kernels import kernel
from envs.navigate import blocks as B
from envs.navigate.grid import HEIGHT, SIZE

WIDTH, TALL, EYE = 0.6, 1.8, 1.62  # blocks; the body stands on its `y`
REACH = 4.5  # blocks, from the eye
GRAVITY, AIR_DRAG, GROUND_DRAG = 0.08, 0.98, 0.546  # blocks/frame², 1, 1 (0.6 slipperiness x 0.91)
JUMP, SPRINT_JUMP = 0.42, 0.2  # blocks/frame: upward; forward, when sprinting
WALK, FLY, SWIM = 0.1, 0.02, 0.02  # blocks/frame² of acceleration on the ground, in air, in water
SPRINT_FACTOR, SNEAK_FACTOR = 1.3, 0.3
WATER_DRAG, SINK, PADDLE = 0.8, 0.02, 0.04
CLIMB_OUT = (
    0.42  # blocks/frame (Minecraft: 0.3); a jump, so that banks one block high trap no swimmer
)

# Fields of a body: float64 [11].
X, Y, Z, VX, VY, VZ, YAW, PITCH, ON_GROUND, IN_WATER, COLLIDED = range(11)
_EPS = 1e-7


@kernel()
def advance(
    blocks: np.ndarray,
    body: np.ndarray,
    forward: int,
    strafe: int,
    jump: bool,
    sneak: bool,
    sprint: bool,
) -> None:
    """Move the body by one frame of 50 ms, in place.

    Args:
      blocks: uint8 [SIZE, SIZE, HEIGHT].
      body: float64 [11], fields named in this module; positions in blocks, speeds in blocks/frame.
      forward: -1, 0 or 1 (forward is positive).
      strafe: -1, 0 or 1 (left is positive).
      jump, sneak, sprint: keys held. Sprinting needs `forward` = 1 and no sneaking.
    """
    sprint = sprint and forward > 0 and not sneak
    wet = body[IN_WATER] > 0
    if jump and wet:
        body[VY] += PADDLE
    elif jump and body[ON_GROUND] > 0:
        _jump(body, sprint)
    pace = SWIM if wet else (WALK if body[ON_GROUND] > 0 else FLY)
    if sprint and not wet:
        pace *= SPRINT_FACTOR
    _accelerate(body, forward, strafe, pace, sneak)
    drag = GROUND_DRAG if body[ON_GROUND] > 0 else 0.91
    before = body[Y]
    move(blocks, body)
    if wet:
        body[VX] *= WATER_DRAG
        body[VY] = body[VY] * WATER_DRAG - SINK
        body[VZ] *= WATER_DRAG
        if body[COLLIDED] > 0 and _can_climb_out(blocks, body, before):
            body[VY] = CLIMB_OUT
    else:
        body[VX] *= drag
        body[VY] = (body[VY] - GRAVITY) * AIR_DRAG
        body[VZ] *= drag
    body[IN_WATER] = 1.0 if _touches_water(blocks, body) else 0.0


@kernel()
def _jump(body: np.ndarray, sprint: bool) -> None:
    """Leave the ground; sprinting adds a push forward."""
    body[VY] = JUMP
    if sprint:
        yaw = math.radians(body[YAW])
        body[VX] -= SPRINT_JUMP * math.sin(yaw)
        body[VZ] += SPRINT_JUMP * math.cos(yaw)


@kernel()
def _accelerate(body: np.ndarray, forward: int, strafe: int, pace: float, sneak: bool) -> None:
    """Add the push of the keys to the horizontal speed; diagonals are not faster."""
    along, left = 0.98 * forward, 0.98 * strafe
    if sneak:
        along, left = along * SNEAK_FACTOR, left * SNEAK_FACTOR
    norm = max(1.0, math.sqrt(along * along + left * left))
    yaw = math.radians(body[YAW])
    sine, cosine = math.sin(yaw), math.cos(yaw)
    body[VX] += pace / norm * (-along * sine + left * cosine)
    body[VZ] += pace / norm * (along * cosine + left * sine)


@kernel()
def move(blocks: np.ndarray, body: np.ndarray) -> None:
    """Move by the speed, clipped against the blocks; speeds into a wall become 0."""
    wanted_x, wanted_y, wanted_z = body[VX], body[VY], body[VZ]
    moved_y = clip(blocks, body[X], body[Y], body[Z], 1, wanted_y)
    body[Y] += moved_y
    moved_x = clip(blocks, body[X], body[Y], body[Z], 0, wanted_x)
    body[X] += moved_x
    moved_z = clip(blocks, body[X], body[Y], body[Z], 2, wanted_z)
    body[Z] += moved_z
    body[ON_GROUND] = 1.0 if wanted_y < 0 and moved_y != wanted_y else 0.0
    body[COLLIDED] = 1.0 if moved_x != wanted_x or moved_z != wanted_z else 0.0
    if moved_x != wanted_x:
        body[VX] = 0.0
    if moved_y != wanted_y:
        body[VY] = 0.0
    if moved_z != wanted_z:
        body[VZ] = 0.0


@kernel()
def clip(blocks: np.ndarray, x: float, y: float, z: float, axis: int, step: float) -> float:
    """How far a body at (x, y, z) can move along `axis` (0 x, 1 y, 2 z) before a block stops it.

    Returns:
      The part of `step` (blocks) that is free, same sign or 0.
    """
    low = (x - WIDTH / 2, y, z - WIDTH / 2)
    high = (x + WIDTH / 2, y + TALL, z + WIDTH / 2)
    if step > 0:
        for cell in range(math.ceil(high[axis] - _EPS), math.ceil(high[axis] + step)):
            if _wall(blocks, low, high, axis, cell):
                return max(0.0, cell - high[axis])
    elif step < 0:
        for cell in range(math.floor(low[axis] + _EPS) - 1, math.floor(low[axis] + step) - 1, -1):
            if _wall(blocks, low, high, axis, cell):
                return min(0.0, cell + 1 - low[axis])
    return step


@kernel()
def _wall(
    blocks: np.ndarray,
    low: tuple[float, float, float],
    high: tuple[float, float, float],
    axis: int,
    cell: int,
) -> bool:
    """Whether the layer `cell` along `axis` holds a solid block in the box's cross-section."""
    x0, x1 = math.floor(low[0] + _EPS), math.ceil(high[0] - _EPS)
    y0, y1 = math.floor(low[1] + _EPS), math.ceil(high[1] - _EPS)
    z0, z1 = math.floor(low[2] + _EPS), math.ceil(high[2] - _EPS)
    if axis == 0:
        x0, x1 = cell, cell + 1
    elif axis == 1:
        y0, y1 = cell, cell + 1
    else:
        z0, z1 = cell, cell + 1
    for cx in range(x0, x1):
        for cz in range(z0, z1):
            for cy in range(y0, y1):
                if block_at(blocks, cx, cy, cz) >= B.FIRST_SOLID:
                    return True
    return False


@kernel()
def block_at(blocks: np.ndarray, x: int, y: int, z: int) -> int:
    """Block id at a position: x and z wrap round the torus; bedrock below the world, air above."""
    if y < 0:
        return B.BEDROCK
    if y >= HEIGHT:
        return B.AIR
    return int(blocks[x & (SIZE - 1), z & (SIZE - 1), y])


@kernel()
def _touches_water(blocks: np.ndarray, body: np.ndarray) -> bool:
    """Whether water reaches 0.4 blocks up the body."""
    for cx in range(math.floor(body[X] - 0.3), math.floor(body[X] + 0.3) + 1):
        for cz in range(math.floor(body[Z] - 0.3), math.floor(body[Z] + 0.3) + 1):
            for cy in range(math.floor(body[Y] + 0.4), math.floor(body[Y] + 1.4) + 1):
                if block_at(blocks, cx, cy, cz) == B.WATER:
                    return True
    return False


@kernel()
def _can_climb_out(blocks: np.ndarray, body: np.ndarray, before: float) -> bool:
    """Whether a swimmer at the bank would be clear of water and blocks 0.6 higher up."""
    x, y, z, half = body[X], before + body[VY] + 0.6, body[Z], WIDTH / 2 - _EPS
    for cx in range(math.floor(x - half), math.floor(x + half) + 1):
        for cz in range(math.floor(z - half), math.floor(z + half) + 1):
            for cy in range(math.floor(y), math.floor(y + TALL) + 1):
                if block_at(blocks, cx, cy, cz) != B.AIR:
                    return False
    return True


@kernel()
def look(blocks: np.ndarray, body: np.ndarray, eye: float) -> tuple[int, int, int, int, int, int]:
    """The first solid block on the line of sight within reach.

    Args:
      blocks: uint8 [SIZE, SIZE, HEIGHT].
      body: float64 [11].
      eye: height of the eye above the feet, blocks.
    Returns:
      (x, y, z, nx, ny, nz): the block and the outward normal of the face looked at; the normal is
      (0, 0, 0) when nothing is within reach.
    """
    yaw, pitch = math.radians(body[YAW]), math.radians(body[PITCH])
    direction = (
        -math.sin(yaw) * math.cos(pitch),
        -math.sin(pitch),
        math.cos(yaw) * math.cos(pitch),
    )
    origin = (body[X], body[Y] + eye, body[Z])
    cell = [math.floor(origin[0]), math.floor(origin[1]), math.floor(origin[2])]
    axis, travelled = -1, 0.0
    while travelled <= REACH:
        if block_at(blocks, cell[0], cell[1], cell[2]) >= B.FIRST_SOLID and axis >= 0:
            back = -1 if direction[axis] > 0 else 1
            normal = (back if axis == 0 else 0, back if axis == 1 else 0, back if axis == 2 else 0)
            return cell[0], cell[1], cell[2], normal[0], normal[1], normal[2]
        axis, travelled = _next_face(origin, direction, cell)
        cell[axis] += 1 if direction[axis] > 0 else -1
    return cell[0], cell[1], cell[2], 0, 0, 0


@kernel()
def _next_face(
    origin: tuple[float, float, float], direction: tuple[float, float, float], cell: list[int]
) -> tuple[int, float]:
    """Axis of the face through which the ray leaves `cell`, and the distance to it (blocks)."""
    best, nearest = 0, math.inf
    for axis in range(3):
        if direction[axis] != 0.0:
            plane = cell[axis] + (1 if direction[axis] > 0 else 0)
            distance = (plane - origin[axis]) / direction[axis]
            if distance < nearest:
                best, nearest = axis, distance
    return best, nearest
