"""An episode as a video in the report, with action, reward, value and KL above each frame.

Read next: `trace.py`, which computes value and KL; `training/labels.py`, the words for actions.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from agents.driver import Arrival
from analysis.agent.episode import EpisodeInspection
from analysis.pages import report
from training.build import Built
from training.labels import episode_texts
from training.loop import FPS, thinned
from training.picture import bar_limits, pictures
from training.video import Film, encode_mp4, labelled, upscale

MOST_SHOWN = 500  # frames
ENLARGED = 4  # factor on the size of pixels


def film_figure(arrivals: Sequence[Arrival], one: EpisodeInspection, built: Built) -> str:
    """The episode as a video, with the text of each step above its frame."""
    obs = {name: np.stack([a.obs[name][0] for a in arrivals]) for name in arrivals[0].obs}
    action, reward = (np.stack([getattr(a, x)[0] for a in arrivals]) for x in ("action", "reward"))
    done = episode_texts(action, reward, built.codec)
    texts = [[*a, *b] for a, b in zip(done, believed_texts(one.trace, len(done)), strict=True)]
    film = thinned(Film(pictures(obs, bar_limits(obs)), texts), MOST_SHOWN)
    frames = labelled(film._replace(frames=upscale(film.frames, ENLARGED)))
    caption = (
        "The episode. Above each frame: the action that led to it and its reward, the critic's "
        "value, and each level's KL at its latest tick, level 1 first."
    )
    return report.video(encode_mp4(frames, 2 * FPS), caption)


def believed_texts(trace: Any, length: int) -> list[list[str]]:
    """Two lines of text per record: the value, and the KL of every level at its latest tick."""
    series = [held(trace.time, trace.value, length)]
    series += [held(level.time, level.kl, length) for level in trace.levels]
    texts = []
    for value, *kl in zip(*series, strict=True):
        levels = " | ".join("–" if np.isnan(x) else f"{x:.2f}" for x in kl)
        texts.append([f"value {'–' if np.isnan(value) else f'{value:.4g}'}", f"KL {levels}"])
    return texts


def held(time: np.ndarray, value: np.ndarray, length: int) -> np.ndarray:
    """[length] the latest known value at every step; nan before the first."""
    known = np.isfinite(value)
    time, value = np.asarray(time)[known], np.asarray(value)[known]
    at = np.searchsorted(time, np.arange(length), side="right") - 1
    return (
        np.where(at >= 0, value[np.maximum(at, 0)], np.nan)
        if len(time)
        else np.full(length, np.nan)
    )
