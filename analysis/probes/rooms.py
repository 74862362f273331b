"""Which room does a frame of a maze show, and is the sequence of rooms right? CW-VAE Figure 5a.

The paper sorts predictions into three kinds of sequence: the camera stays in its room; it enters
the hallway and no room after it; it enters the hallway and then a room. "Because the rooms and
hallways use different textures, we can easily identify these classes via the color histogram."

The same is done here: every video has three regions (room, room, hallway) with their own textures.
A region's template is the mean colour histogram of the video's true frames in it; a frame is
assigned to the region with the nearest template. Near a doorway, a frame shows more than the region
the camera is in, so the same rule is applied to true frames held out of the templates, to measure
how far it can be trusted. A model cannot reproduce textures that it was never shown, so accuracy is
also reported for frames of regions that the context has shown.
"""

import numpy as np

from recordings.generators.maze_layout import HALLWAY

LEVELS = 4  # brightness levels per channel that a histogram distinguishes
RUN = 9  # frames over which labels are smoothed by majority
FOLD = 5  # consecutive frames that are held out together


def histograms(images: np.ndarray) -> np.ndarray:
    """Square roots of the shares of pixels per colour, uint8 [..., h, w, C] to [..., LEVELS^C].

    The Euclidean distance between square roots is the Hellinger distance (times √2).
    """
    *axes, height, width, channels = images.shape
    steps = images.reshape(-1, height * width, channels).astype(np.int32) * LEVELS // 256
    colour = steps @ LEVELS ** np.arange(channels)
    counts = np.stack([np.bincount(row, minlength=LEVELS**channels) for row in colour])
    return np.sqrt(counts / (height * width)).reshape(*axes, -1)


def templates(histogram: np.ndarray, room: np.ndarray) -> np.ndarray:
    """Mean histogram of each region, [3, bins] from [T, bins] and int [T]; inf if not visited."""
    shown = [histogram[room == region] for region in range(3)]
    absent = np.full(histogram.shape[1], np.inf)
    return np.stack([x.mean(0) if len(x) else absent for x in shown])


def nearest_room(histogram: np.ndarray, template: np.ndarray) -> np.ndarray:
    """The region whose template is nearest: int [T] from [T, bins] and [3, bins]."""
    distance = ((histogram[:, None] - template[None]) ** 2).sum(-1)
    return smoothed(distance.argmin(1), RUN)


def smoothed(labels: np.ndarray, width: int) -> np.ndarray:
    """The most frequent of the ``width`` (odd) labels around each; ties go to the lowest.

    The ends are repeated. int [T] to the same.
    """
    padded = np.pad(labels, width // 2, mode="edge")
    around = np.lib.stride_tricks.sliding_window_view(padded, width)
    return (around[..., None] == np.arange(3)).sum(1).argmax(1)


def held_out_rooms(histogram: np.ndarray, room: np.ndarray) -> np.ndarray:
    """Label true frames by templates of the others, int [T]: stretches of ``FOLD`` frames are held
    out, first the even ones together, then the odd ones."""
    fold = np.arange(len(room)) // FOLD % 2
    labels = np.zeros(len(room), int)
    for held in (0, 1):
        template = templates(histogram[fold != held], room[fold != held])
        labels[fold == held] = nearest_room(histogram, template)[fold == held]
    return labels


def kind(rooms: np.ndarray) -> int:
    """Kind of a sequence of regions, int [T].

    0 stays in its room, 1 enters the hallway, 2 goes through the hallway into a room.
    """
    hallway = np.flatnonzero(rooms == HALLWAY)
    if not len(hallway):
        return 0
    return 2 if (rooms[hallway[0] :] != HALLWAY).any() else 1


def kinds_so_far(rooms: np.ndarray) -> np.ndarray:
    """``kind`` of every prefix of a sequence: int [T] to int [T].

    k_t = kind(rooms_0 … rooms_t): 1 from the first hallway frame on, 2 from the first room after.
    """
    entered = np.cumsum(rooms == HALLWAY) > 0
    return entered.astype(int) + (np.cumsum(entered & (rooms != HALLWAY)) > 0)
