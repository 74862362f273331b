"""Objects that move in straight lines and bounce off the borders of a square, in closed form."""

import numpy as np


def bounce(
    start: np.ndarray, velocity: np.ndarray, length: int, span: float
) -> tuple[np.ndarray, np.ndarray]:
    """Reflect straight motion at 0 and at `span` exactly: no distance is lost at a border.

    u_t = x_0 + v t,   m_t = u_t mod 2·span,   x_t = span - |m_t - span|,
    v_t = v where the unfolded motion runs along x at m_t, else -v

    Args:
      start: [..., 2] px within [0, span].
      velocity: [..., 2] px per frame, of any size.
      length: T frames.
      span: px between the borders, for the point whose position `start` is.
    Returns:
      (position [T, ..., 2] px, velocity [T, ..., 2] px per frame): the velocity is that on leaving
      the frame, so on a border it points inwards.
    """
    time = np.arange(length).reshape(-1, *(1 for _ in start.shape))
    mirrored = velocity < 0  # motion towards 0 is motion towards span, mirrored
    onward = np.where(mirrored, span - start, start) + np.abs(velocity) * time
    folded = onward % (2 * span)
    position = span - np.abs(folded - span)
    back = folded >= span
    return np.where(mirrored, span - position, position), np.where(back, -velocity, velocity)


def random_flight(
    rng: np.random.Generator, shape: tuple[int, ...], speeds: tuple[float, float], span: float
) -> tuple[np.ndarray, np.ndarray]:
    """Random motion: start uniform in the square, direction uniform, speed uniform within `speeds`.

    Args:
      shape: of the moving objects, such as (2,) for two.
      speeds: lowest and highest, px per frame.
      span: as in `bounce`.
    Returns:
      (start, velocity), each [*shape, 2].
    """
    start = rng.uniform(0, span, (*shape, 2))
    speed, angle = rng.uniform(*speeds, shape), rng.uniform(0, 2 * np.pi, shape)
    return start, np.stack((speed * np.sin(angle), speed * np.cos(angle)), -1)
