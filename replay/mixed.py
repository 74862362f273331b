"""Batches from two stores: an agent's own episodes, and recordings of the same world."""

from typing import Any

import numpy as np

from replay.recorded import check_alike, with_width
from replay.sampler import SequenceSampler


class MixedSampler:
    """Draws the rows of two samplers as one batch, those of the first sampler first.

    Args:
      own: sampler of the agent's replay.
      video: sampler of another store with the same observations. If the store has actions, they and
        its rewards are kept; in plain video both are unknown (`action_mask` 0).
      marked: whether the last float of an action in the agent's replay marks plans.
    Raises:
      UserError: as for `check_alike`.
    """

    def __init__(self, own: SequenceSampler, video: SequenceSampler, marked: bool = False) -> None:
        self._own, self._video, self._marked = own, video, marked
        check_alike(own.fields, video.fields, marked)

    def sample(self) -> dict[str, Any]:
        """Draw a batch, as in `SequenceSampler.sample`."""
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
