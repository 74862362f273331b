"""What a predicted frame still gets right, frame by frame: a probe is a function of predictions.

A probe is called with the numbers of b videos and their predicted frames, uint8 [b, H, h, w, C]. It
returns measures by name, each with one value per frame, [b, H], nan where undefined. All measures
compare with the true frames after the context. Read next: `analysis/video/inspection.py`, which
applies probes to models.
"""

from collections.abc import Callable

import numpy as np

from analysis.probes import rooms
from analysis.probes.ball import colours
from analysis.probes.digit_reader import likeliest, over_window, right_digits

Probe = Callable[[np.ndarray, np.ndarray], dict[str, np.ndarray]]
Read = Callable[[np.ndarray], np.ndarray]  # frames to log-probabilities: `digit_training.py`

LIKENESS, DISPLACEMENT = "PSNR, dB", "centre of brightness off by, px"
PAIR, DIGITS = "both digits right, share of videos", "digits right, share"
COLOUR = "colour of the ball right, share of videos"
KIND = "kind of room sequence right, share of videos"
ROOM, SHOWN_ROOM = "room right, share of videos", "room right where the context has shown it, share"


LOWER_IS_BETTER = {DISPLACEMENT}
TRUE = "true frames"
"""Name of a probe's result on them: the best that a prediction can achieve."""


def likeness(true: np.ndarray) -> Probe:
    """PSNR at range 1: -10 log₁₀ of the mean squared error of pixel values in [0, 1].

    Args:
      true: uint8 [V, H, h, w, C], the frames after the context.
    """

    def probe(rows: np.ndarray, images: np.ndarray) -> dict[str, np.ndarray]:
        error = (images.astype(np.float32) - true[rows, : images.shape[1]]) / 255
        return {LIKENESS: -10 * np.log10(np.maximum((error**2).mean((2, 3, 4)), 1e-10))}

    return probe


def displacement(true: np.ndarray) -> Probe:
    """Distance in pixels between the centres of brightness of the predicted and the true frame.

    For bright objects on black, such as digits, it measures how far they are off as a whole.
    """

    def probe(rows: np.ndarray, images: np.ndarray) -> dict[str, np.ndarray]:
        gap = centres(images) - centres(true[rows, : images.shape[1]])
        return {DISPLACEMENT: np.sqrt((gap**2).sum(-1))}

    return probe


def centres(images: np.ndarray) -> np.ndarray:
    """Centre of brightness, (row, column) in px; the middle of the frame if all is black.

    [..., h, w, C] to [..., 2].
    """
    light = images.astype(np.float64).sum(-1) + 1e-9
    rows, columns = (np.arange(n) for n in light.shape[-2:])
    sums = [(light.sum(-1) * rows).sum(-1), (light.sum(-2) * columns).sum(-1)]
    return np.stack(sums, axis=-1) / light.sum((-2, -1))[..., None]


def digits(read: Read, true: np.ndarray, window: int) -> Probe:
    """Whether the pair of digits read from the frames is the true one. CW-VAE Figure 5b.

    Args:
      read: a digit reader.
      true: int [V], the pair that each video shows, index into ``digit_reader.CLASSES``.
      window: number of frames around each that are read together, odd.
    """

    def probe(rows: np.ndarray, images: np.ndarray) -> dict[str, np.ndarray]:
        said = likeliest(over_window(read(images), window), 2)
        right = true[rows, None]
        return {PAIR: (said == right).astype(float), DIGITS: right_digits(said, right)}

    return probe


def ball_colour(true: np.ndarray) -> Probe:
    """Whether the colour of the single ball is the true one; ``true`` is int [V, H]."""

    def probe(rows: np.ndarray, images: np.ndarray) -> dict[str, np.ndarray]:
        said = colours(images)
        return {COLOUR: (said == true[rows, : said.shape[1]]).astype(float)}

    return probe


def room_sequence(videos: np.ndarray, room: np.ndarray, context: int) -> Probe:
    """Whether each frame shows the right region, and the frames so far the right kind of sequence.

    CW-VAE Figure 5a, by the rule of ``rooms.py``.

    Args:
      videos: uint8 [V, T, h, w, C], context and future; templates are made from them.
      room: int [V, T], their true regions.
      context: number of their frames that are the context.
    """
    shown = (room[:, None, :context] == room[:, context:, None]).any(-1)  # [V, H]

    def probe(rows: np.ndarray, images: np.ndarray) -> dict[str, np.ndarray]:
        said = np.stack(
            [
                rooms.nearest_room(rooms.histograms(frames), _templates(videos[row], room[row]))
                for row, frames in zip(rows, images, strict=True)
            ]
        )
        return room_scores(said, room[rows, context:], shown[rows])

    return probe


def _templates(video: np.ndarray, room: np.ndarray) -> np.ndarray:
    return rooms.templates(rooms.histograms(video), room)


def room_scores(said: np.ndarray, true: np.ndarray, shown: np.ndarray) -> dict[str, np.ndarray]:
    """Measures of predicted regions, int [b, H]; ``true`` and ``shown`` may be longer.

    Args:
      shown: bool, whether the context has shown the true region.
    """
    true, shown = true[:, : said.shape[1]], shown[:, : said.shape[1]]
    right = (said == true).astype(float)
    kinds = [np.stack([rooms.kinds_so_far(row) for row in x]) for x in (said, true)]
    return {
        KIND: (kinds[0] == kinds[1]).astype(float),
        ROOM: right,
        SHOWN_ROOM: np.where(shown, right, np.nan),
    }


def room_references(
    videos: np.ndarray, room: np.ndarray, context: int
) -> dict[str, dict[str, np.ndarray]]:
    """Accuracy of the rule itself on true frames, and of trivial predictions, [V, H] each.

    By measure and name: `true frames` (by templates of other frames), `stays` (in the last room
    seen), `commonest kind` (the kind that most videos have up to then).
    """
    shown = (room[:, None, :context] == room[:, context:, None]).any(-1)
    future = room[:, context:]
    held_out = np.stack(
        [rooms.held_out_rooms(rooms.histograms(v), r) for v, r in zip(videos, room, strict=True)]
    )[:, context:]
    stays = np.broadcast_to(room[:, context - 1 : context], future.shape)
    kinds = np.stack([rooms.kinds_so_far(row) for row in future])
    commonest = np.stack([np.bincount(column, minlength=3).argmax() for column in kinds.T])
    scores = {
        TRUE: room_scores(held_out, future, shown),
        "stays where it was": room_scores(stays, future, shown),
    }
    result = {
        m: {name: score[m] for name, score in scores.items()} for m in (KIND, ROOM, SHOWN_ROOM)
    }
    result[KIND]["always the commonest kind"] = (kinds == commonest).astype(float)
    return result
