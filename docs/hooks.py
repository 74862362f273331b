"""Tables of the site that are made of the code: settings and logged numbers.

`<!-- settings: TrainConfig -->` in a page becomes the settings of that class, `<!-- first: … -->`
the ten that matter, `<!-- numbers -->` what runs log. Called by MkDocs (`mkdocs.yml`).
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from configs.presets import resolve
from configs.settings import AGENT_FIRST, VIDEO_FIRST, Setting, settings, shown
from configs.video_presets import resolve_video
from training.numbers import NUMBERS

AGENT = resolve("general", None, "auto", False, "float32")
VIDEO = resolve_video("cwvae", "orbiting_ball", "auto", "auto", False, "float32")
CONFIGS = {"TrainConfig": (AGENT, AGENT_FIRST), "PretrainConfig": (VIDEO, VIDEO_FIRST)}
"""As on a CPU, in an environment without a preset of its own; the video model's default."""


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page with its tables."""
    return re.sub(r"<!-- (\w+)(?:: (\w+))? -->", lambda found: table(*found.groups()), markdown)


def table(what: str, name: str | None) -> str:
    """One of the tables, as Markdown."""
    if what == "numbers":
        return "\n".join(numbers())
    config, first = CONFIGS[name or ""]
    known = list(settings(config))
    if what == "first":
        by_name = {one.name: one for one in known}
        return "\n".join(rows(by_name[name] for name in first))
    assert what == "settings", what
    return "\n".join(grouped(known))


def grouped(known: Sequence[Setting]) -> Iterator[str]:
    """A table for each part of the settings."""
    parts: dict[str, list[Setting]] = {}
    for one in known:
        parts.setdefault(one.name.rpartition(".")[0], []).append(one)
    for part, inside in parts.items():
        yield f"\n### {part or 'The run'}\n"
        yield from rows(inside)


def rows(inside: Iterable[Setting]) -> Iterator[str]:
    """Flag, default and docstring."""
    yield "| setting | default | |"
    yield "|---|---|---|"
    for one in inside:
        flags = "<br>".join(f"`{flag}`" for flag in one.flags)
        text = one.text.replace("|", "\\|").replace("<", "&lt;").replace("``", "`")
        yield f"| {flags} | {shown(one.default) or ' '} | {text} |"


def numbers() -> Iterator[str]:
    """What runs log."""
    yield "| drawn as | names | |"
    yield "|---|---|---|"
    for one in NUMBERS:
        names = one.names.replace("|", "\\|")
        yield f"| {one.category}: {one.chart} | `{names}` | {one.text} |"
