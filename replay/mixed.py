"""Batches of two stores: an agent's own episodes, and recordings of the same world."""

from typing import Any

import numpy as np

from replay.recorded import check_alike, with_width
from replay.sampler import SequenceSampler


class MixedSampler:
    """The rows of two samplers in one batch, the first one's first.

    Args:
      own: of the agent's replay.
      video: of another store with the same observations. Where it holds actions they are kept,
        and its rewards with them; in video alone both are unknown (`action_mask` 0).
      marked: whether the last float of an action in the agent's replay marks plans.
    Raises:
      UserError: as `check_alike`.
    """

    def __init__(self, own: SequenceSampler, video: SequenceSampler, marked: bool = False) -> None:
        self._own, self._video, self._marked = own, video, marked
        check_alike(own.fields, video.fields, marked)

    def sample(self) -> dict[str, Any]:
        """One batch, as `SequenceSampler.sample`."""
        own, video = self._own.sample(), self._video.sample()
        video = with_width(video, own["action"].shape[-1], self._marked)
        batch: dict[str, Any] = {k: np.concatenate([own[k], video[k]]) for k in own if k != "obs"}
        batch["obs"] = {k: np.concatenate([x, video["obs"][k]]) for k, x in own["obs"].items()}
        return batch

    def state(self) -> dict[str, Any]:
        """The state of the draws, for JSON."""
        return {"own": self._own.state(), "video": self._video.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state()`."""
        self._own.restore(state["own"])
        self._video.restore(state["video"])
