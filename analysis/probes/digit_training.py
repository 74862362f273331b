"""Training of the digit reader, and its accuracy on images that it has never seen.

The reader is in `digit_reader.py`. It is trained by cross-entropy and Adam on windows of composed
frames: those that contain a digit (with its corner within 2 px of the window's) and a few others.
Frames are composed on the fly.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array
from PIL import Image

from analysis.probes.digit_reader import (
    DIGITS,
    GRID,
    NEGATIVES,
    STEP,
    WIDTHS,
    WINDOW,
    DigitReader,
    class_numbers,
    likeliest,
    read_frames,
)
from analysis.video.frames import in_chunks
from common import UserError
from envs.images import resize
from recordings.generators.seeded import PIXELS
from replay.atomic import write_arrays
from worldmodel.learner import Params, initial_state, join, make_update, split
from worldmodel.observations import pixels

BATCH = 64
RATE = 2e-3
COPIES = 4  # of every image, rotated and sheared
RECIPE = (BATCH, RATE, COPIES, WIDTHS, NEGATIVES)  # identifies a saved reader
CHUNK = 256  # frames read at once
TESTS = 3000  # test frames of one digit, and as many of two
NONE = DIGITS  # label of a cell without a digit


class Glyphs(NamedTuple):
    """Images of single digits."""

    images: np.ndarray  # uint8 [M, e, e], ink 255
    labels: np.ndarray  # int [M], 0 to 9


class Frames(NamedTuple):
    """Composed frames and what they show."""

    images: np.ndarray  # uint8 [N, 64, 64, 1]
    digits: np.ndarray  # int [N, n]
    corners: np.ndarray  # int [N, n, 2] (row, column) of every digit's image, px
    overlap: np.ndarray  # [N] share of the fainter digit's ink that the other covers; n = 1: 0


def compose(glyphs: Glyphs, count: int, digits: int, rng: np.random.Generator) -> Frames:
    """Random frames of ``digits`` (1 or 2) digits: any images, anywhere fully inside the frame."""
    edge = glyphs.images.shape[1]
    chosen = rng.integers(len(glyphs.labels), size=(count, digits))
    corner = rng.integers(0, PIXELS - edge, (count, digits, 2), endpoint=True)
    layers = np.zeros((digits, count, PIXELS, PIXELS), np.uint8)
    for n in range(count):
        for slot, (row, column) in enumerate(corner[n].tolist()):
            image = glyphs.images[chosen[n, slot]]
            layers[slot, n, row : row + edge, column : column + edge] = image
    covered = layers.min(0).sum((1, 2), dtype=float) * (digits - 1)
    overlap = covered / np.maximum(layers.sum((2, 3), dtype=float).min(0), 1)
    return Frames(layers.max(0)[..., None], glyphs.labels[chosen], corner, overlap)


def varied(glyphs: Glyphs, copies: int, rng: np.random.Generator) -> Glyphs:
    """The glyphs and ``copies`` of each, rotated by up to ±12° and sheared by up to ±0.15."""
    images = [glyphs.images]
    for _ in range(copies):
        turned = [_turned(x, rng.uniform(-12, 12), rng.uniform(-0.15, 0.15)) for x in glyphs.images]
        images.append(np.stack(turned))
    return Glyphs(np.concatenate(images), np.tile(glyphs.labels, copies + 1))


def _turned(image: np.ndarray, degrees: float, slant: float) -> np.ndarray:
    edge = image.shape[0]
    cos, sin, half = np.cos(np.radians(degrees)), np.sin(np.radians(degrees)), (edge - 1) / 2
    matrix = np.array([[cos, sin + slant], [-sin, cos]])
    shift = half - matrix @ (half, half)  # keeps the centre in place
    rows = np.concatenate([matrix, shift[:, None]], axis=1).ravel().tolist()
    turned = Image.fromarray(image).transform(
        (edge, edge), Image.Transform.AFFINE, rows, Image.Resampling.BILINEAR
    )
    return np.asarray(turned)


def weathered(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pixel values in [0, 1], with half of the frames blurred and dimmed, as predictions are.

    Blur: two box filters of 3 × 3 px. Dimming: a factor of 0.6 to 1.
    """
    x = images.astype(np.float32) / 255
    half = rng.random(len(x)) < 0.5
    soft = x[half] * rng.uniform(0.6, 1.0, (half.sum(), 1, 1, 1)).astype(np.float32)
    for axis in (1, 2, 1, 2):
        soft = (np.roll(soft, 1, axis) + soft + np.roll(soft, -1, axis)) / 3
    x[half] = soft
    return x


def window_labels(frames: Frames) -> np.ndarray:
    """Digit in each window of the frames, or NONE: int [N, GRID²].

    A digit belongs to the window whose corner is nearest to its own.
    """
    count = len(frames.images)
    labels = np.full((count, GRID, GRID), NONE)
    window = (frames.corners + STEP // 2) // STEP
    for slot in range(frames.digits.shape[1]):
        row, column = window[:, slot].T
        labels[np.arange(count), row, column] = frames.digits[:, slot]
    return labels.reshape(count, -1)


def draw_windows(
    glyphs: Glyphs, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Training windows of ``count`` frames, a quarter of them with one digit: all windows that
    contain a digit, and ``NEGATIVES`` per frame that do not.

    Returns:
      Pixel values float32 [n, 28, 28, 1] and labels int [n].
    """
    images, labels = [], []
    for digits, share in ((1, count // 4), (2, count - count // 4)):
        frames = compose(glyphs, share, digits, rng)
        label, shown = window_labels(frames), weathered(frames.images, rng)
        chance = rng.random(label.shape) + 2.0 * (label != NONE)  # the highest are taken
        taken = np.argsort(-chance, axis=1)[:, : digits + NEGATIVES]
        windows = np.lib.stride_tricks.sliding_window_view(shown, (WINDOW, WINDOW), (1, 2))
        windows = windows[:, ::STEP, ::STEP].reshape(share, GRID**2, 1, WINDOW, WINDOW)
        rows = np.arange(share)[:, None]
        images.append(windows[rows, taken].reshape(-1, WINDOW, WINDOW, 1))
        labels.append(label[rows, taken].reshape(-1))
    return np.concatenate(images), np.concatenate(labels)


def train_reader(
    glyphs: Glyphs, steps: int, seed: int, progress: Callable[[int], None] = lambda step: None
) -> DigitReader:
    """Train a reader.

    Args:
      glyphs: training images.
      steps: number of updates, each on the windows of ``BATCH`` frames.
      progress: called after each update with its number.
    """
    graph, params = split(DigitReader(nnx.Rngs(seed)))
    optimizer = optax.adam(optax.cosine_decay_schedule(RATE, steps))

    def loss(p: Params, aux: tuple, batch: tuple[Array, Array], _: Array) -> tuple:
        images, labels = batch
        odds = join(graph, p)(images)[:, 0]
        logits = jnp.concatenate([odds, jnp.zeros((len(odds), 1))], axis=-1)
        costs = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return costs.mean(), (aux, {})

    update, state = make_update(loss, optimizer), initial_state(params, (), optimizer)
    rng, key = np.random.default_rng(seed), jax.random.key(seed)  # the key is not used
    glyphs = varied(glyphs, COPIES, rng)
    for step in range(steps):
        images, labels = draw_windows(glyphs, BATCH, rng)
        state, _ = update(state, (jnp.asarray(images), jnp.asarray(labels)), key)
        progress(step + 1)
    reader: DigitReader = join(graph, state.params)
    return reader


def make_reading(reader: DigitReader) -> Callable[[np.ndarray], np.ndarray]:
    """A jitted function from frames uint8 [..., S, S, C], resized to 64 × 64 if necessary, to
    log-probabilities of the classes, [..., 66]."""
    graph, params = split(reader)
    run = jax.jit(
        lambda p, x: in_chunks(lambda y: read_frames(join(graph, p), pixels(y)), x, CHUNK)
    )

    def read(frames: np.ndarray) -> np.ndarray:
        shown = resize(frames, PIXELS)
        scores = run(params, shown.reshape(-1, *shown.shape[-3:]))
        return np.asarray(scores).reshape(*frames.shape[:-3], -1)

    return read


class Tested(NamedTuple):
    """Accuracy of the reader on composed frames of images that it has never seen, as shares."""

    single: float  # on frames with one digit: which of ten
    pair: float  # on frames with two digits: which of 55 pairs
    clear: float  # as `pair`, on frames in which under a tenth of the fainter digit is covered


def examine(read: Callable[[np.ndarray], np.ndarray], glyphs: Glyphs, seed: int) -> Tested:
    """Test a reader on ``TESTS`` frames of each kind. glyphs: test images."""
    rng = np.random.default_rng(seed)
    right = []
    for digits in (1, 2):
        frames = compose(glyphs, TESTS, digits, rng)
        right.append(likeliest(read(frames.images), digits) == class_numbers(frames.digits))
    clear = frames.overlap < 0.1
    return Tested(float(right[0].mean()), float(right[1].mean()), float(right[1][clear].mean()))


def save_reader(path: Path, reader: DigitReader) -> None:
    """Write the parameters as .npz, atomically."""
    leaves = jax.tree.leaves(split(reader)[1])
    write_arrays(path, {f"p{n}": np.asarray(x) for n, x in enumerate(leaves)})


def load_reader(path: Path) -> DigitReader:
    """Load a reader that ``save_reader`` wrote.

    Raises:
      UserError: if the file contains anything else.
    """
    graph, params = split(DigitReader(nnx.Rngs(0)))
    leaves, tree = jax.tree.flatten(params)
    with np.load(path, allow_pickle=False) as file:
        saved = [file.get(f"p{n}") for n in range(len(file.files))]
    shapes = [None if x is None else x.shape for x in saved]
    if shapes != [x.shape for x in leaves]:
        raise UserError(
            f"{path}: expected the parameters of a digit reader, received {shapes}; delete the "
            "file, and a new reader is trained"
        )
    reader: DigitReader = join(graph, jax.tree.unflatten(tree, [jnp.asarray(x) for x in saved]))
    return reader
