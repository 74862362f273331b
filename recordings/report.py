"""Human-readable report of what an import kept, held out, left out and changed, and why.

`import.json` in the store has all details; here, items with the same reason share a line.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from recordings.ledger import SUMMARY
from recordings.run import Imported

SHOWN = 30  # maximum number of lines on what was left out or changed
NAMED = 3  # maximum number of names per line
UNLIKE = 1.2  # ratio of frame rates from which they are reported


def lines(imported: Imported, store: Path) -> list[str]:
    """Lines on what is in the store, and what was held out, left out and changed."""
    splits = ", ".join(f"{split} {count:,}" for split, count in imported.episodes.items())
    total = sum(imported.episodes.values())
    said = [f"{store}: {total:,} episodes ({splits or 'none'}), {imported.frames:,} frames"]
    kept = [
        f"{key.removeprefix('obs/')} {what}" for key, what in imported.fields.items() if _told(key)
    ]
    said += [f"kept per frame: {', '.join(kept)}"] * bool(kept)
    held_out = imported.held_out
    said += [f"held out {len(held_out):,}: {_names(held_out)}"] * bool(held_out)
    slow, fast = imported.fps or (1.0, 1.0)
    if fast > UNLIKE * slow:
        said.append(
            f"from {slow:.3g} to {fast:.3g} frames per second, stored frame by frame: python -m "
            "recordings videos ... --fps stores them at one rate"
        )
    for title, pairs in (("left out", imported.skipped), ("changed", imported.notes)):
        if pairs:
            said += [f"{title} {len(pairs):,}:", *_by_reason(pairs, store / SUMMARY)]
    return [_printable(line) for line in [*said, *changed(imported, store)]]


def changed(imported: Imported, store: Path) -> list[str]:
    """A line on sources whose files have changed since, or vanished; none if none have."""
    if not imported.changed:
        return []
    names = _printable(_names(imported.changed))
    return [f"changed since the import, or gone: {names}; delete {store} to import again"]


def _told(field: str) -> bool:
    """Whether a field is specific to the data set; the others are in every store."""
    return field == "action" or field.startswith(("obs/", "factor/"))


def _by_reason(pairs: Sequence[tuple[str, str]], path: Path) -> Iterator[str]:
    """A line per reason for what was left out or changed, in order of appearance."""
    reasons: dict[str, list[str]] = {}
    for what, why in pairs:
        reasons.setdefault(why, []).append(what)
    for why, names in list(reasons.items())[:SHOWN]:
        yield f"  {_names(names)}: {why}"
    if len(reasons) > SHOWN:
        yield f"  ... all are in {path}"


def _names(names: Sequence[str]) -> str:
    """The first names, and the number of the others."""
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _printable(text: str) -> str:
    """The text, with unprintable characters escaped."""
    return text if text.isprintable() else ascii(text)[1:-1]
