"""Labels above the frames of videos: step, reward, action in words, whether it is imagined.

Read next: `video.py`, which draws them.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from agents.actions import ActionCodec

MOST = 6  # numbers of an action that are shown, at most


def episode_texts(action: np.ndarray, reward: np.ndarray, codec: ActionCodec) -> list[list[str]]:
    """Two lines per record of an episode.

    Args:
      action: [T, A] flat, the action that led to the record; entries beyond the codec's are marks.
      reward: [T] received on arrival.
    """
    texts = []
    for step, (flat, gained) in enumerate(zip(action, reward, strict=True)):
        done = in_words(codec.decode(flat[: codec.width])) if step else "none yet"
        texts.append([f"step {step}   reward {gained:+.3g}", f"action {done}"])
    return texts


def imagined_texts(length: int, context: int) -> list[list[str]]:
    """One line per frame of a prediction whose first ``context`` frames were seen; short, since a
    video may be narrow."""
    seen = [[f"t = {t}, seen"] for t in range(min(context, length))]
    return seen + [[f"t = {t}, imagined +{t - context + 1}"] for t in range(context, length)]


def in_words(action: Any) -> str:
    """An action in readable form: numbers of a Box, classes, the nonzero entries of a Dict."""
    words = list(_words(action, ""))
    return ", ".join(words) or "nothing"


def _words(action: Any, name: str) -> Iterator[str]:
    if isinstance(action, dict | tuple):
        inside = action.items() if isinstance(action, dict) else enumerate(action)
        for key, part in inside:
            if np.any(np.asarray(part)) or isinstance(part, dict | tuple):
                yield from _words(part, str(key))
        return
    values = np.atleast_1d(action).ravel()
    if np.issubdtype(values.dtype, np.floating):
        said = " ".join(f"{x:+.2f}" for x in values[:MOST]) + " …" * (len(values) > MOST)
    else:
        said = " ".join(map(str, values[:MOST].tolist())) + " …" * (len(values) > MOST)
    yield name if name and said == "1" else f"{name} {said}".strip()
