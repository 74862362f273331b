"""Reliability of runs, stores, checkpoints and imports under random kills, damage and faults.

    python -m benchmarks.reliability --minutes 60 > benchmarks/results/reliability.md

Rounds of all cases are repeated until the time is over: the real commands are killed (SIGKILL,
SIGTERM, SIGINT) at random moments and restarted; checkpoints, stores, settings and data sets are
damaged at random; environments go wrong. A trial holds if all checks that its case requires were
made and passed (`trial.py`); every other trial is lost, and is reported with its seed. With
`--again 'CASE SEED'`, that trial alone is made again: for runs that are killed, the same signal at
the same moment, but in a new directory, since the trials before it, which had left theirs, are not
made again. Read next: `kills.py`, `mutations.py`, `faults.py`.
"""

import argparse
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from benchmarks.reliability import faults, kills, mutations
from benchmarks.reliability.trial import Case, Tally, attempt
from common import UserError
from common.entry import enter
from training.device import choose_device, enable_compilation_cache

CASES = (*mutations.CASES, *faults.CASES, *kills.CASES)


def run(cases: Sequence[Case], seconds: float, seed: int, place: Path) -> dict[str, Tally]:
    """Run trials of every case in turn until the time is over, at least one round."""
    began, tallies = time.monotonic(), {case.name: Tally() for case in cases}
    number = 0
    while number == 0 or time.monotonic() - began < seconds:
        for case in cases:
            for again in range(case.times):
                if number and time.monotonic() - began >= seconds:
                    break
                try_one(case, f"{seed}.{number}.{again}", place, tallies[case.name])
        number += 1
    return tallies


def try_one(case: Case, seed: str, place: Path, tally: Tally) -> None:
    """Run one trial, in a folder that is removed after it."""
    before = len(tally.lost)
    attempt(case, seed, place / "trial", tally)
    shutil.rmtree(place / "trial")
    for line in tally.lost[before:]:
        print(f"lost: {line}", file=sys.stderr, flush=True)


def chosen(again: str) -> tuple[Case, str]:
    """The case and the seed that ``--again`` names.

    Raises:
      UserError: if there is no such case.
    """
    name, _, seed = again.rpartition(" ")
    cases = {case.name: case for case in CASES}
    if name not in cases:
        raise UserError(
            f"again: expected 'CASE SEED' as in the line of a loss, with a case of "
            f"{', '.join(cases)}, received {again!r}"
        )
    return cases[name], seed


def table(cases: Sequence[Case], tallies: dict[str, Tally]) -> str:
    """A table of trials tried, held and lost by case, and every loss below it."""
    rows = ["| case | what holds | tried | held | lost |", "|---|---|---|---|---|"]
    for case in cases:
        tally = tallies[case.name]
        numbers = f"{tally.tried:,} | {tally.held:,} | {len(tally.lost):,}"
        rows.append(f"| {case.name} | {case.holds} | {numbers} |")
    lost = [f"- {line}" for tally in tallies.values() for line in tally.lost]
    return "\n".join([*rows, *(["", "Lost:", "", *lost] if lost else [])])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reliability", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--again", help="'CASE SEED' of a line of a loss: that trial alone")
    args = parser.parse_args()
    enable_compilation_cache(None)
    with tempfile.TemporaryDirectory(prefix="reliability-") as folder:
        if args.again:
            case, seed = chosen(args.again)
            if case.chained:
                print(f"{case.name}: in a new directory, not in that of the trials before {seed}")
            tally = Tally()
            try_one(case, seed, Path(folder), tally)
            print("held" if tally.held else "lost")
            return
        began, load = time.monotonic(), os.getloadavg()[0]
        tallies = run(CASES, 60 * args.minutes, args.seed, Path(folder))
    minutes = (time.monotonic() - began) / 60
    print(f"""# Reliability

    python -m benchmarks.reliability --minutes {args.minutes:g} --seed {args.seed}

Ended {datetime.now():%Y-%m-%d %H:%M} after {minutes:.0f} minutes; {choose_device().name}, \
{platform.machine()}, {os.cpu_count()} cores,
shared with other work (load average {load:.1f} when it started, {os.getloadavg()[0]:.1f} when it \
ended), {platform.system()}, Python {platform.python_version()}.

{table(CASES, tallies)}""")


if __name__ == "__main__":
    enter(main)
