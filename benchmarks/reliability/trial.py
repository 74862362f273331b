"""One trial of a case: something is done at random, and what must hold after it is looked at.

A trial holds if every check that its case asks for was made and held; one that was not made is a
loss like one that does not hold, so that nothing is called safe that nobody looked at.
"""

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random


class Lost(Exception):
    """What was checked and does not hold."""


class Checks:
    """Those of one trial, by name, as far as they were made."""

    def __init__(self) -> None:
        self.made: set[str] = set()
        self.story: list[str] = []

    def tell(self, what: str) -> None:
        """What was done, for the line of a loss."""
        self.story.append(what)

    def __call__(self, name: str, holds: bool, found: object) -> None:
        """Notes a check; ``found`` is what was seen, for the line of a loss.

        Raises:
          Lost: if it does not hold.
        """
        self.made.add(name)
        if not holds:
            raise Lost(f"{name}: {found}")


@dataclass(frozen=True)
class Case:
    """What is tried.

    Args:
      name: in the table.
      holds: what holds after it, in the table.
      must: the checks without which a trial has shown nothing.
      run: one trial, in a folder of its own that is there and empty.
      times: trials in each round; cheap ones are tried more often.
    """

    name: str
    holds: str
    must: frozenset[str]
    run: Callable[[Random, Path, Checks], None]
    times: int = 1


@dataclass
class Tally:
    """Trials of one case."""

    tried: int = 0
    lost: list[str] = field(default_factory=list)

    @property
    def held(self) -> int:
        """Trials of which everything was checked, and held."""
        return self.tried - len(self.lost)


def attempt(case: Case, seed: str, place: Path, tally: Tally) -> None:
    """One trial; what is lost is noted with its seed, by which it can be tried again."""
    checks, reason = Checks(), ""
    place.mkdir(parents=True)
    try:
        case.run(Random(seed), place, checks)
    except Lost as lost:
        reason = str(lost)
    except Exception as error:  # noqa: BLE001  whatever is raised is a loss, and is told
        at = traceback.extract_tb(error.__traceback__)[-1]
        said = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        reason = f"{said} ({Path(at.filename).name}:{at.lineno})"
    missing = sorted(case.must - checks.made)
    if missing and not reason:
        reason = f"not checked: {', '.join(missing)}"
    tally.tried += 1
    if reason:
        tally.lost.append(f"{case.name} {seed}: {'; '.join([*checks.story, reason])}")
