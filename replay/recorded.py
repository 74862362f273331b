"""Recordings used next to an agent's own data: a check that they match what the model reads, and
the conversion of their actions to the width that it reads."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from common import UserError
from replay.chunk import Field


def check_alike(own: Mapping[str, Field], recorded: Mapping[str, Field], marked: bool) -> None:
    """Check that sequences of two stores can be rows of one batch.

    Args:
      own: fields of an agent's replay.
      recorded: fields of the recordings.
      marked: as for `with_width`.
    Raises:
      UserError: if the stores differ in their observations or in the width of their actions.
    """
    seen, found = (
        {k.removeprefix("obs/"): x.shape for k, x in fields.items() if k.startswith("obs/")}
        for fields in (own, recorded)
    )
    if seen != found:
        raise UserError(
            f"recordings: expected the observations of the environment, {seen}, received {found}; "
            "give recordings of the same world, as its agent sees it, and images of one size: "
            "--env.image-size, and an import's --size"
        )
    check_width(_width(recorded), _width(own), marked)


def check_width(received: int, width: int, marked: bool) -> None:
    """Raise UserError unless `with_width` can convert actions from ``received`` to ``width``
    floats."""
    if received and width and received != width and not (marked and received == width - 1):
        unmarked = f", or {width - 1} without the mark of plans" if marked else ""
        raise UserError(
            f"data: expected actions of {width} floats{unmarked}, received {received}; give data "
            "of the same environment"
        )


def _width(fields: Mapping[str, Field]) -> int:
    return fields["action"].shape[0] if "action" in fields else 0


def with_width(batch: dict[str, Any], width: int, marked: bool) -> dict[str, Any]:
    """Convert a sampled batch (`SequenceSampler.sample`) to actions of `width` floats.

    If the store has no actions, they are unknown (`action_mask` 0). If it has no mark of plans, one
    is added: nothing is known about plans in recordings, so each action counts as planned anew.

    Args:
      width: floats of an action as the model reads it, including its mark.
      marked: whether the last of them marks plans (`agents.codec.Codec.join`).
    Raises:
      UserError: if the store's actions have another width.
    """
    action = batch["action"]
    received = action.shape[-1]
    check_width(received, width, marked)
    if received == width:
        return batch
    if not received or not width:
        unknown = np.zeros((*action.shape[:-1], width), np.float32)
        return {**batch, "action": unknown, "action_mask": np.zeros_like(batch["mask"])}
    marks = (batch["action_mask"] * ~batch["is_first"])[..., None]
    return {**batch, "action": np.concatenate([action, marks], axis=-1, dtype=np.float32)}
