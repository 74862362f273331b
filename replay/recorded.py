"""Recordings beside a model's own data: their actions, in the width that the model reads."""

from typing import Any

import numpy as np


def with_width(batch: dict[str, Any], width: int) -> dict[str, Any]:
    """A sampled batch (`SequenceSampler.sample`) whose actions have `width` floats.

    Actions that the store lacks are unknown (`action_mask` 0). Where the model's are wider by one
    float, that is the mark of plans (`agents.actions.ChunkCodec`): nothing is known of plans in
    recordings, so each action counts as planned anew.

    Raises:
      ValueError: if the store's actions are of another width.
    """
    action = batch["action"]
    received = action.shape[-1]
    if received == width:
        return batch
    if 0 < received == width - 1:
        marks = (batch["action_mask"] * ~batch["is_first"])[..., None]
        return {**batch, "action": np.concatenate([action, marks], axis=-1, dtype=np.float32)}
    if received and width:
        raise ValueError(
            f"data: expected actions of {width} floats, received {received}; give data of the "
            "same environment"
        )
    unknown = np.zeros((*action.shape[:-1], width), np.float32)
    return {**batch, "action": unknown, "action_mask": np.zeros_like(batch["mask"])}
