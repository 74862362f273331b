"""Shows that no learning test hangs on the draws or the rounding of one machine.

Every test marked `learning`, slow ones too, for ten seeds, compiled at XLA's levels 0 and 3, for
this CPU's own instructions and for AVX2's, which round as another machine does. A setting is one
process, in which the seeds of a probe learn side by side in one program. Prints for each test how
many seeds passed at each setting, and the least margin. To be run whenever such a test changes.

Usage: python .ci/verdicts.py [pytest's arguments, such as tests/agents/test_probes.py -k Commit]
       SEEDS=0,1 SETTINGS=0:own,3:avx2 python .ci/verdicts.py    for a part
"""

import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
SEEDS = os.environ.get("SEEDS", "0,1,2,3,4,5,6,7,8,9")
SETTINGS = os.environ.get("SETTINGS", "0:own,3:own,0:avx2,3:avx2").split(",")


class Verdict(NamedTuple):
    """Of one test at one setting."""

    test: str
    margins: list[float]  # of each seed, the least of those noted; above 0 where it passed
    passed: bool  # all of them, and whatever else is asserted


def environment(setting: str) -> dict[str, str]:
    """What makes XLA compile by a setting such as `3:avx2`."""
    level, isa = setting.split(":")
    flags = f"--xla_backend_optimization_level={level}" + " --xla_cpu_max_isa=AVX2" * (
        isa == "avx2"
    )
    return os.environ | {"XLA_FLAGS": flags}


def run(setting: str, args: list[str]) -> list[Verdict]:
    """Runs the learning tests in one process, which compiles each program once."""
    with tempfile.TemporaryDirectory(prefix="verdicts-") as folder:
        path = Path(folder) / "junit.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-m", "learning"]
        command += ["--seeds", SEEDS, "--junitxml", str(path), "-o", "junit_family=xunit1", *args]
        done = subprocess.run(command, cwd=ROOT, env=environment(setting))
        if done.returncode > 1:  # 1: some failed, which the table tells
            raise SystemExit(f"pytest could not run at {setting}: exit code {done.returncode}")
        return [verdict(case) for case in ElementTree.parse(path).getroot().iter("testcase")]


def verdict(case: ElementTree.Element) -> Verdict:
    """One case of pytest's report; where no margins were noted, no seed passed."""
    file = case.get("classname", "").rpartition(".")[2]
    noted = [
        [float(share) for share in found.get("value", "").strip("[]").split(",")]
        for found in case.iter("property")
        if found.get("name") == "margins"
    ]
    passed = case.find("failure") is None and case.find("error") is None
    least = [min(shares) for shares in zip(*noted, strict=True)]
    return Verdict(f"{file}::{case.get('name', '')}", least, passed and bool(least))


def table(found: dict[str, dict[str, Verdict]]) -> str:
    """Markdown: a row per test, a column per setting; seeds passed and the least margin."""
    lines = ["| test | " + " | ".join(SETTINGS) + " |", "|---" * (1 + len(SETTINGS)) + "|"]
    for test, by_setting in sorted(found.items()):
        cells = [cell(by_setting.get(setting)) for setting in SETTINGS]
        lines.append(f"| {test} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cell(one: Verdict | None) -> str:
    """Such as `10/10, 0.13`."""
    if one is None or not one.margins:
        return "–" if one is None else "failed"
    return f"{sum(x > 0 for x in one.margins)}/{len(one.margins)}, {min(one.margins):.2f}"


def main() -> int:
    """Prints the table after every setting, and what it cost; fails if any seed failed."""
    found: dict[str, dict[str, Verdict]] = defaultdict(dict)
    for setting in SETTINGS:
        began, spent = time.monotonic(), os.times()
        for one in run(setting, sys.argv[1:]):
            found[one.test][setting] = one
        now = os.times()
        cpu = now.children_user + now.children_system - spent.children_user - spent.children_system
        cost = f"{time.monotonic() - began:.0f} s, {cpu:.0f} s of processor time"
        print(f"\nafter {setting} ({cost}):\n{table(found)}\n", flush=True)
    verdicts = [one for by_setting in found.values() for one in by_setting.values()]
    return 0 if verdicts and all(one.passed for one in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
