"""Recordings beside a model's own data: their actions, in the width that the model reads."""

from typing import Any

import numpy as np

from common import UserError


def with_width(batch: dict[str, Any], width: int, marked: bool) -> dict[str, Any]:
    """A sampled batch (`SequenceSampler.sample`) whose actions have `width` floats.

    Actions that the store lacks are unknown (`action_mask` 0). A mark of plans that the store lacks
    is added: nothing is known of plans in recordings, so each action counts as planned anew.

    Args:
      width: floats of an action as the model reads it, its mark among them.
      marked: whether the last of them marks plans (`agents.codec.Codec.join`).
    Raises:
      UserError: if the store's actions are of another width.
    """
    action = batch["action"]
    received = action.shape[-1]
    if received == width:
        return batch
    if not received or not width:
        unknown = np.zeros((*action.shape[:-1], width), np.float32)
        return {**batch, "action": unknown, "action_mask": np.zeros_like(batch["mask"])}
    if marked and received == width - 1:
        marks = (batch["action_mask"] * ~batch["is_first"])[..., None]
        return {**batch, "action": np.concatenate([action, marks], axis=-1, dtype=np.float32)}
    unmarked = f", or {width - 1} without the mark of plans" if marked else ""
    raise UserError(
        f"data: expected actions of {width} floats{unmarked}, received {received}; give data of "
        "the same environment"
    )
