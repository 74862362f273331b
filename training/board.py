"""What TensorBoard shows of a run beside its curves: a layout (returns first, under *Custom
Scalars*), the settings as text and as hyper-parameters, and what each number is.

Read next: `numbers.py`, the layout.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboardX.summary import custom_scalars, hparams, text

from training.numbers import NUMBERS, number

COMPARED = ("eval/return", "eval/success", "eval/loss/model")
"""Numbers beside the hyper-parameters."""
OF_AGENTS = ("returns", "imagination", "behaviour")
"""Categories that a model of video has no numbers of."""


def described(settings: Mapping[str, Any]) -> Iterator[Summary]:
    """Everything that is written once, at the beginning.

    Args:
      settings: by dotted name, as JSON has them.
    """
    yield custom_scalars(layout(acts="env.name" in settings))
    cells = {name: written(value).replace("|", "\\|") for name, value in settings.items()}
    rows = [f"| {name} | {value} |" for name, value in cells.items()]
    yield text("settings", "\n".join(["| setting | value |", "|---|---|", *rows]))
    plain = {name: plain_value(value) for name, value in settings.items()}
    yield from hparams(plain, dict.fromkeys(COMPARED, 0.0))


def layout(acts: bool) -> dict[str, dict[str, list[Any]]]:
    """Charts by category, as `custom_scalars` takes them, of an agent or of a model of video."""
    found: dict[str, dict[str, list[Any]]] = {}
    for one in NUMBERS:
        if acts or one.category not in OF_AGENTS:
            found.setdefault(one.category, {})[one.chart] = ["Multiline", [f"^({one.names})$"]]
    return found


def plain_value(value: Any) -> Any:
    """A setting as a hyper-parameter can be: a number, a truth value or a string."""
    return value if isinstance(value, bool | int | float) else written(value)


def written(value: Any) -> str:
    """As text that a file can hold: a path may have bytes that are no characters."""
    return str(value).encode("utf-8", "backslashreplace").decode("utf-8")


def meaning(name: str) -> SummaryMetadata | None:
    """What TensorBoard says of a number where it is pointed at."""
    known = number(name)
    return None if known is None else SummaryMetadata(summary_description=known.text)
