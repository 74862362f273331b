"""What an import kept, held out, left out and changed, and why, as lines for people.

`import.json` in the store has all of it; what has one reason is one line here.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from recordings.ledger import SUMMARY
from recordings.run import Imported

SHOWN = 30  # lines of what was left out or changed
NAMED = 3  # names of one line


def lines(imported: Imported, store: Path) -> list[str]:
    """A paragraph each of what is in the store, what is held out, left out and changed."""
    splits = ", ".join(f"{split} {count:,}" for split, count in imported.episodes.items())
    total = sum(imported.episodes.values())
    said = [f"{store}: {total:,} episodes ({splits or 'none'}), {imported.frames:,} frames"]
    kept = [
        f"{key.removeprefix('obs/')} {what}" for key, what in imported.fields.items() if _told(key)
    ]
    said += [f"kept per frame: {', '.join(kept)}"] * bool(kept)
    held_out = imported.held_out
    said += [f"held out {len(held_out):,}: {_names(held_out)}"] * bool(held_out)
    for title, pairs in (("left out", imported.skipped), ("changed", imported.notes)):
        if pairs:
            said += [f"{title} {len(pairs):,}:", *_by_reason(pairs, store / SUMMARY)]
    return [_printable(line) for line in said]


def _told(field: str) -> bool:
    """Fields that are a data set's own; the others every store has."""
    return field == "action" or field.startswith(("obs/", "factor/"))


def _by_reason(pairs: Sequence[tuple[str, str]], path: Path) -> Iterator[str]:
    """What was left out or changed, a line per reason, in their order."""
    reasons: dict[str, list[str]] = {}
    for what, why in pairs:
        reasons.setdefault(why, []).append(what)
    for why, names in list(reasons.items())[:SHOWN]:
        yield f"  {_names(names)}: {why}"
    if len(reasons) > SHOWN:
        yield f"  ... all are in {path}"


def _names(names: Sequence[str]) -> str:
    """The first of them, and how many more there are."""
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _printable(text: str) -> str:
    """The text, with what a terminal cannot show written as escapes."""
    return text if text.isprintable() else ascii(text)[1:-1]
