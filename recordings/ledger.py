"""What an import has done: a line per source in `STORE/ledger.jsonl`, all of it in `import.json`.

A line is written after the source's last chunk; from then on the source counts as done. A line
without its end was cut off by a kill: it is dropped, and the source is read again.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from common import UserError, dump_json, read_json
from common.errors import named_in_errors
from replay.atomic import write_text

LEDGER, SUMMARY = "ledger.jsonl", "import.json"


@dataclass(frozen=True)
class Entry:
    """One finished source."""

    name: str
    episodes: dict[str, int]  # in each split, up to and including this source
    kept: int = 0  # episodes of this source
    frames: int = 0  # of this source
    skipped: list[tuple[str, str]] = field(default_factory=list)  # (what, why)
    notes: list[tuple[str, str]] = field(default_factory=list)  # (what, what was changed)
    drawn: dict[str, int] = field(default_factory=dict)  # videos without a named split, so far
    held_out: list[str] = field(default_factory=list)  # videos of this source that are held out
    stamp: list[int] = field(default_factory=list)  # bytes and last change of its files, if known
    interval: float | None = None  # median seconds between its frames, if stored one by one


class Ledger:
    """The entries under one store, read on opening."""

    def __init__(self, root: Path) -> None:
        self.path = root / LEDGER
        self.entries: list[Entry] = []
        text = self.path.read_bytes() if self.path.exists() else b""
        whole = text[: text.rfind(b"\n") + 1]
        if len(whole) < len(text):
            os.truncate(self.path, len(whole))
        for line in whole.splitlines():
            self.entries.append(self._entry(line))

    @property
    def done(self) -> set[str]:
        """Names of the sources that need not be read."""
        return {entry.name for entry in self.entries}

    @property
    def episodes(self) -> dict[str, int]:
        """Episodes stored so far, by split."""
        return dict(self.entries[-1].episodes) if self.entries else {}

    @property
    def drawn(self) -> dict[str, int]:
        """Whole videos drawn so far for each split."""
        return dict(self.entries[-1].drawn) if self.entries else {}

    def latest(self) -> list[Entry]:
        """The last entry of each source, in the order in which they were first read."""
        return list({entry.name: entry for entry in self.entries}.values())

    def add(self, entry: Entry) -> None:
        """Append a line, which is on disk on return."""
        with named_in_errors(self.path), open(self.path, "ab") as file:
            file.write(dump_json(asdict(entry)).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self.entries.append(entry)

    def _entry(self, line: bytes) -> Entry:
        try:
            values = json.loads(line)
            for key in ("skipped", "notes"):
                values[key] = [(what, why) for what, why in values[key]]
            return Entry(**values)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise UserError(
                f"{self.path}: expected the lines that an import wrote, received {error}; import "
                f"into another directory"
            ) from error


def read_summary(root: Path) -> dict[str, Any] | None:
    """Read a store's `import.json`; None if there is none, UserError if it cannot be read."""
    path = root / SUMMARY
    if not path.exists():
        return None
    try:
        summary = read_json(path)
    except UserError as error:
        raise UserError(f"{error}, or import into another directory") from error
    if not isinstance(summary, dict):
        raise UserError(
            f"{path}: expected what an import wrote, received {str(summary)[:40]}; import into "
            "another directory"
        )
    match summary:
        case {"options": {"look": {"fit": "stretch"} as look}}:
            look["fit"] = "squeeze"  # its name in earlier imports was "stretch"
    return summary


def write_summary(root: Path, summary: Mapping[str, Any]) -> None:
    """Write `import.json` atomically."""
    write_text(root / SUMMARY, dump_json(summary, indent=1) + "\n")
