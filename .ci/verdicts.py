"""Shows that no learning test hangs on the draws or the rounding of one machine.

Every test marked `learning`, slow ones too, for ten seeds, compiled at XLA's levels 0 and 3, for
this CPU's own instructions and for AVX2's, which round as another machine does. Prints for each
test how many seeds passed at each setting, and the least margin. To be run whenever such a test
changes.

Usage: python .ci/verdicts.py [pytest's arguments, such as tests/agents/test_probes.py -k Commit]
       SEEDS=0,1 SETTINGS=0:own,3:avx2 python .ci/verdicts.py    for a part
"""

import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
SEEDS = os.environ.get("SEEDS", "0,1,2,3,4,5,6,7,8,9")
SETTINGS = os.environ.get("SETTINGS", "0:own,3:own,0:avx2,3:avx2").split(",")


class Verdict(NamedTuple):
    """Of one test with one seed at one setting."""

    test: str
    passed: bool
    margin: float


def environment(setting: str) -> dict[str, str]:
    """What makes XLA compile by a setting such as `3:avx2`; probes name their level themselves."""
    level, isa = setting.split(":")
    flags = f"--xla_backend_optimization_level={level}" + " --xla_cpu_max_isa=AVX2" * (
        isa == "avx2"
    )
    return os.environ | {"XLA_FLAGS": flags, "PROBES_XLA_LEVEL": level}


def run(setting: str, args: list[str]) -> list[Verdict]:
    """Runs the learning tests of all seeds in one process, which compiles each program once."""
    with tempfile.TemporaryDirectory(prefix="verdicts-") as folder:
        path = Path(folder) / "junit.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-m", "learning"]
        command += ["--seeds", SEEDS, "--junitxml", str(path), "-o", "junit_family=xunit1", *args]
        done = subprocess.run(command, cwd=ROOT, env=environment(setting))
        if done.returncode > 1:  # 1: some failed, which the table tells
            raise SystemExit(f"pytest could not run at {setting}: exit code {done.returncode}")
        return [verdict(case) for case in ElementTree.parse(path).getroot().iter("testcase")]


def verdict(case: ElementTree.Element) -> Verdict:
    """One case of pytest's report; a margin that was never noted is none."""
    file = case.get("classname", "").rpartition(".")[2]
    name, _, ids = case.get("name", "").rstrip("]").partition("[")
    kept = "-".join(part for part in ids.split("-") if not part.startswith("seed"))
    passed = case.find("failure") is None and case.find("error") is None
    noted = [
        float(found.get("value", "nan"))
        for found in case.iter("property")
        if found.get("name") == "margin"
    ]
    return Verdict(f"{file}::{name}" + f"[{kept}]" * bool(kept), passed, min(noted, default=0.0))


def table(found: dict[str, dict[str, list[Verdict]]]) -> str:
    """Markdown: a row per test, a column per setting; passed/tried and the least margin."""
    lines = ["| test | " + " | ".join(SETTINGS) + " |", "|---" * (1 + len(SETTINGS)) + "|"]
    for test, by_setting in sorted(found.items()):
        cells = []
        for setting in SETTINGS:
            tried = by_setting[setting]
            least = min((v.margin for v in tried), default=0.0)
            cells.append(f"{sum(v.passed for v in tried)}/{len(tried)}, {least:.2f}")
        lines.append(f"| {test} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> int:
    """Prints the table after every setting; fails if any seed failed."""
    found: dict[str, dict[str, list[Verdict]]] = defaultdict(lambda: defaultdict(list))
    for setting in SETTINGS:
        for one in run(setting, sys.argv[1:]):
            found[one.test][setting].append(one)
        print(f"\nafter {setting}:\n{table(found)}\n", flush=True)
    wrong = [v for tests in found.values() for tried in tests.values() for v in tried]
    return 0 if wrong and all(v.passed for v in wrong) else 1


if __name__ == "__main__":
    sys.exit(main())
