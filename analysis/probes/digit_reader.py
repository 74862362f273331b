"""A digit reader: which digits, at most two, does a frame of 64 × 64 pixels show?

CW-VAE Figure 5b reports this for predicted frames ("two-digit classification accuracy") without
naming the classifier. Here a frame is assigned to one of 66 classes, the sets with repetition of up
to two digits: none, ten single digits, 45 pairs of different digits and 10 of equal ones. A pair is
correct if both digits are; order, position and speed do not count.

A small convolutional network predicts for windows of 28 × 28 pixels which digit fills them, if any;
it slides over the frame in steps of 4, and the probabilities of the sets follow in closed form
(``set_scores``). It is trained on windows of frames composed from the digit images that the videos
are made of, training images only: each digit anywhere, the brighter pixel visible where digits
overlap, half of the frames blurred as predictions are. It is tested on images that neither it nor
the video model has seen.

Digits that cover each other are unreadable, so a video is read over a short window of frames by
summing their log-probabilities (``over_window``): the digits of a video do not change. The answer
is one of the 55 pairs (``likeliest``).

Read next: ``digit_training.py``, how the reader learns and is tested.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from common import UserError
from recordings.generators.seeded import PIXELS
from worldmodel.convolutions import strided_conv
from worldmodel.networks import ConvKernel

DIGITS = 10
CLASSES: tuple[tuple[int, ...], ...] = (
    (),
    *((a,) for a in range(DIGITS)),
    *((a, b) for a in range(DIGITS) for b in range(a, DIGITS)),
)
"""The digits of each of the 66 classes, ascending."""

WINDOW = 28  # px along the edge of a window: the size of a digit's image
STEP = 4  # px between windows
GRID = (PIXELS - WINDOW) // STEP + 1  # windows along an edge of the frame: 10
WIDTHS = (16, 32, 128)  # channels; the last: hidden units per window
INSIDE = (WINDOW - 4) // 2 // 2 - 1  # cells along the edge of a window's feature map: 5
_PLACE = np.stack(np.divmod(np.arange(GRID**2), GRID), axis=-1)
APART = (np.abs(_PLACE[:, None] - _PLACE[None]).max(-1) > 1).astype(np.float32)
"""[windows, windows] 1 where two windows are not neighbours."""
LARGEST = 20.0  # nats: log-odds are clipped here, so that products of two stay within float32
NEGATIVES = 4  # windows without a digit per frame in training
FLOOR = 1e-3  # added to a frame's probabilities before they are combined over a window
SELDOM = math.log((GRID**2 - 2) / NEGATIVES)  # nats: how much more frequent they are in a frame


class DigitReader(nnx.Module):
    """Maps frames to log-odds, per window, of each digit against none."""

    def __init__(self, rngs: nnx.Rngs):
        a, b, hidden = WIDTHS
        self.first = ConvKernel((4, 4, 1, a), fan_in=8, rngs=rngs)
        self.second = ConvKernel((4, 4, a, b), fan_in=8 * a, rngs=rngs)
        self.hidden = nnx.Conv(b, hidden, (INSIDE, INSIDE), padding="VALID", rngs=rngs)
        self.output = nnx.Linear(hidden, DIGITS, rngs=rngs)

    def __call__(self, frames: Float[Array, "N h w C"]) -> Float[Array, "N windows 10"]:
        """Pixel values in [0, 1]; colour frames use the brightest channel; windows row by row.

        28 × 28 → 13 → 5 → 1 window;   64 × 64 → 31 → 14 → 10 × 10 windows
        """
        x = jnp.max(frames, axis=-1, keepdims=True)
        for layer in (self.first, self.second):
            x = jax.nn.relu(strided_conv(x, *layer()))
        x = self.output(jax.nn.relu(self.hidden(x)))
        return x.reshape(len(x), -1, DIGITS)


def read_frames(reader: DigitReader, frames: Float[Array, "N 64 64 C"]) -> Float[Array, "N 66"]:
    """Log-probabilities of CLASSES, from pixel values in [0, 1]."""
    return jax.vmap(set_scores)(reader(frames) - SELDOM)


def set_scores(log_odds: Float[Array, "windows 10"]) -> Float[Array, " 66"]:
    """Log-probabilities of CLASSES for one frame: windows are independent, at most two contain a
    digit, and two that do are not neighbours (else one digit between them would count twice).

    With o_ia the odds of digit a in window i against none, and N_i window i and its 8 neighbours:
      p(∅) ∝ 1,  p(a) ∝ A_a = Σ_i o_ia,
      p(a, b) ∝ Σ_i Σ_{j∉N_i} o_ia o_jb,  halved for a = b
    """
    odds = jnp.exp(jnp.clip(log_odds, -LARGEST, LARGEST))
    both = odds.T @ (APART @ odds)
    first, second = np.array(CLASSES[1 + DIGITS :]).T
    pairs = jnp.log(both[first, second]) - np.log(np.where(first == second, 2.0, 1.0))
    return jax.nn.log_softmax(jnp.concatenate([jnp.zeros(1), jnp.log(odds.sum(0)), pairs]))


def over_window(scores: np.ndarray, width: int) -> np.ndarray:
    """Sum log-probabilities over the ``width`` frames around each frame, fewer at the ends.

    s_t = Σ_{|i-t| ≤ (width-1)/2} log(p_i + FLOOR), so that no single frame outvotes the others.
    [..., T, 66] to the same shape.

    Raises:
      UserError: unless the width is odd and positive.
    """
    if width < 1 or width % 2 == 0:
        raise UserError(f"window: expected an odd number of frames, received {width}; add one")
    half, length = width // 2, scores.shape[-2]
    total = np.log(np.exp(scores.astype(float)) + FLOOR).cumsum(-2)
    total = np.concatenate([np.zeros_like(total[..., :1, :]), total], axis=-2)
    time = np.arange(length)
    stop, start = np.minimum(time + half + 1, length), np.maximum(time - half, 0)
    return total[..., stop, :] - total[..., start, :]


def likeliest(scores: np.ndarray, digits: int) -> np.ndarray:
    """Index into CLASSES of the likeliest set of ``digits`` digits: [..., 66] to int [...]."""
    fitting = np.array([len(shown) == digits for shown in CLASSES])
    return np.where(fitting, scores, -np.inf).argmax(-1)


def class_numbers(digits: np.ndarray) -> np.ndarray:
    """Index into CLASSES of the digits shown: int [..., n], n from 0 to 2, to int [...]."""
    index = np.zeros((DIGITS,) * digits.shape[-1], int)
    for number, shown in enumerate(CLASSES):
        if len(shown) == digits.shape[-1]:
            index[shown] = index[shown[::-1]] = number
    return index[tuple(np.moveaxis(digits, -1, 0))]


def right_digits(said: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Share of the true digits that the predicted class contains: 0, ½ or 1 for a pair.

    Args:
      said, true: predicted and true indices into CLASSES, broadcast against each other.
    """
    counts = np.array([[shown.count(a) for a in range(DIGITS)] for shown in CLASSES])
    common = np.minimum(counts[said], counts[true]).sum(-1)
    return common / np.maximum(counts[true].sum(-1), 1)
