"""One trial of a case: something is done at random, and what must hold after it is checked.

A trial holds if every check that its case requires was made and passed. A check that was not made
is a loss like one that failed, so that nothing is called safe without being checked.
"""

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random


class Lost(Exception):
    """A check that failed."""


class Checks:
    """The checks made in one trial, by name."""

    def __init__(self) -> None:
        self.made: set[str] = set()
        self.story: list[str] = []

    def tell(self, what: str) -> None:
        """Note what was done, for the line of a loss."""
        self.story.append(what)

    def __call__(self, name: str, holds: bool, found: object) -> None:
        """Note a check; ``found`` is what was seen, for the line of a loss.

        Raises:
          Lost: if it does not hold.
        """
        self.made.add(name)
        if not holds:
            raise Lost(f"{name}: {found}")


@dataclass(frozen=True)
class Case:
    """A case that is tried.

    Args:
      name: as shown in the table.
      holds: what must hold after it, as shown in the table.
      must: the checks without which a trial has shown nothing.
      run: runs one trial in a separate folder, which exists and is empty.
      times: trials per round; cheap cases are tried more often.
      chained: whether a trial goes on in the directory that the one before it has left, so that
        its seed alone does not repeat it.
    """

    name: str
    holds: str
    must: frozenset[str]
    run: Callable[[Random, Path, Checks], None]
    times: int = 1
    chained: bool = False


@dataclass
class Tally:
    """Trials of one case."""

    tried: int = 0
    lost: list[str] = field(default_factory=list)

    @property
    def held(self) -> int:
        """Number of trials in which everything was checked, and held."""
        return self.tried - len(self.lost)


def attempt(case: Case, seed: str, place: Path, tally: Tally) -> None:
    """Run one trial; a loss is noted with its seed, which repeats it unless trials are
    chained."""
    checks, reason = Checks(), ""
    place.mkdir(parents=True)
    try:
        case.run(Random(seed), place, checks)
    except Lost as lost:
        reason = str(lost)
    except Exception as error:  # noqa: BLE001  any exception is a loss, and is reported
        at = traceback.extract_tb(error.__traceback__)[-1]
        said = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        reason = f"{said} ({Path(at.filename).name}:{at.lineno})"
    missing = sorted(case.must - checks.made)
    if missing and not reason:
        reason = f"not checked: {', '.join(missing)}"
    tally.tried += 1
    if reason:
        tally.lost.append(f"{case.name} {seed}: {'; '.join([*checks.story, reason])}")
