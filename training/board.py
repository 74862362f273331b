"""What TensorBoard shows besides a run's curves: a layout (returns first, under *Custom Scalars*),
the settings as text and as hyperparameters, and a description of each number.

Read next: `numbers.py`, the layout.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboardX.summary import custom_scalars, hparams, text

from training.numbers import NUMBERS, number

COMPARED = ("eval/return", "eval/success", "eval/loss/model")
"""Numbers shown beside the hyperparameters."""
OF_AGENTS = ("returns", "imagination", "behaviour")
"""Categories of numbers that video models do not log."""


def described(settings: Mapping[str, Any]) -> Iterator[Summary]:
    """Everything that is written once, at the start of a run.

    Args:
      settings: by dotted name, as JSON values.
    """
    yield custom_scalars(layout(acts="env.name" in settings))
    cells = {name: written(value).replace("|", "\\|") for name, value in settings.items()}
    rows = [f"| {name} | {value} |" for name, value in cells.items()]
    yield text("settings", "\n".join(["| setting | value |", "|---|---|", *rows]))
    plain = {name: plain_value(value) for name, value in settings.items()}
    yield from hparams(plain, dict.fromkeys(COMPARED, 0.0))


def layout(acts: bool) -> dict[str, dict[str, list[Any]]]:
    """Charts by category in the form of `custom_scalars`, for an agent or a video model."""
    found: dict[str, dict[str, list[Any]]] = {}
    for one in NUMBERS:
        if acts or one.category not in OF_AGENTS:
            found.setdefault(one.category, {})[one.chart] = ["Multiline", [f"^({one.names})$"]]
    return found


def plain_value(value: Any) -> Any:
    """A setting as a hyperparameter: a number, a boolean or a string."""
    return value if isinstance(value, bool | int | float) else written(value)


def written(value: Any) -> str:
    """A value as text that can be encoded: the bytes of a path need not be valid UTF-8."""
    return str(value).encode("utf-8", "backslashreplace").decode("utf-8")


def meaning(name: str) -> SummaryMetadata | None:
    """The description that TensorBoard shows of a number on hover."""
    known = number(name)
    return None if known is None else SummaryMetadata(summary_description=known.text)
