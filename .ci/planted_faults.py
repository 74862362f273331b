"""Shows that every gate can fail: plants its faults in a copy of the tree.

Each gate must first pass on the clean copy, so that a gate which always fails does not
look good; then all its faults are planted, and the gate must fail and name every one.

Usage: python .ci/planted_faults.py
"""

import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]


class Fault(NamedTuple):
    """`text` is appended to `path` or replaces `old`; `gate` fails and says the lines of `sign`."""

    name: str
    gate: tuple[str, ...]
    path: str
    text: str
    sign: str
    old: str = ""


COMPLEX = "\n\ndef planted(n: int) -> int:\n" + "".join(
    f"    if n == {i}:\n        return {i * i}\n" for i in range(12)
)

RULES = ("tests/test_house.py", "tests/test_references.py", "tests/test_strictness.py")
TESTS = ("pytest", "-q", "-n", "0", *RULES, "tests/worldmodel/test_clock.py::test_lead_in")

COUNTED = "python -m benchmarks.run --count --only act --against benchmarks/results/counts.json"
COUNTS = tuple(COUNTED.split())
NAMES = '''
"""`elsewhere.py`, docs/design.md, Nowhere, adr-999, `agent.keep_plans`, `clock.tick_masques`."""
raise ValueError("planted: give --agent.keep-plans")
'''

FAULTS = (
    Fault("lint", ("ruff", "check", "."), "worldmodel/planted.py", "import os\n", "F401"),
    Fault("complexity", ("ruff", "check", "."), "worldmodel/planted.py", COMPLEX, "C901"),
    Fault(
        "blind except",
        ("ruff", "check", "."),
        "worldmodel/planted.py",
        "try:\n    print()\nexcept Exception:\n    pass\n",
        "BLE001",
    ),
    Fault(
        "format",
        ("ruff", "format", "--check", "."),
        "worldmodel/planted.py",
        "x = {  'a':1 }\n",
        "worldmodel/planted.py",
    ),
    Fault(
        "docs",
        ("mkdocs", "build", "--strict"),
        "docs/index.md",
        "\n[planted](planted.md)\n",
        "planted.md",
    ),
    Fault(
        "types",
        ("mypy",),
        "worldmodel/planted.py",
        "def planted(n: int) -> str:\n    return n\n",
        "Incompatible return value",
    ),
    Fault(
        "missing types",
        ("mypy",),
        "worldmodel/planted.py",
        "def untyped(n):\n    return n\n",
        "missing a type annotation",
    ),
    Fault(
        "counts",
        COUNTS,
        "benchmarks/run.py",
        'STATE = "--env pure:pendulum --size s ',
        "over 10% from benchmarks/results/counts.json: act/1 environment",
        old='STATE = "--env pure:pendulum --size xs ',
    ),
    Fault(
        "import direction",
        TESTS,
        "worldmodel/planted.py",
        "def planted() -> None:\n    import agents.returns\n",
        "worldmodel/planted.py imports agents.returns",
    ),
    Fault(
        "a floor above",
        TESTS,
        "configs/planted.py",
        "import training.build\n",
        "configs/planted.py imports training.build",
    ),
    Fault(
        "a script imported",
        TESTS,
        "tests/planted.py",
        "import train_agent\n",
        "tests/planted.py imports",
    ),
    Fault(
        "a codec asked which it is",
        TESTS,
        "analysis/planted.py",
        "def planted(config):\n    return config.codec == 'latent'\n",
        "analysis/planted.py:2: config.codec == 'latent'",
    ),
    Fault("pickle", TESTS, "replay/planted.py", "import pickle\n", "replay/planted.py"),
    Fault(
        "package not listed",
        TESTS,
        "envs/planted/__init__.py",
        '"""Planted."""\n',
        "envs.planted",
    ),
    Fault(
        "code names what is not there",
        TESTS,
        "agents/planted.py",
        NAMES,
        "agents/planted.py:2 names elsewhere.py\n"
        "agents/planted.py:2 names section Nowhere\n"
        "agents/planted.py:2 names adr-999\n"
        "agents/planted.py:2 names agent.keep_plans\n"
        "agents/planted.py:2 names clock.tick_masques\n"
        "agents/planted.py:3 names agent.keep-plans",
    ),
    Fault(
        "a document names what is not there",
        TESTS,
        "README.md",
        "\n`python nowhere.py` runs `worldmodel/clock.py: model_loss`.\n",
        "README.md names nowhere.py\nREADME.md names worldmodel/clock.py: model_loss",
    ),
    Fault(
        "wrong number",
        TESTS,
        "worldmodel/clock.py",
        "return strides[-1] if",
        "FAILED tests/worldmodel/test_clock.py::test_lead_in",
        old="return strides[-1] - 1 if",
    ),
    Fault(
        "warning in a test",
        TESTS,
        "tests/test_strictness.py",
        "\n\ndef test_planted() -> None:\n    warnings.warn('planted', UserWarning)\n",
        "UserWarning: planted",
    ),
)


def copy_tree(target: Path) -> None:
    """Copies what git tracks, and what is new and not ignored, to `target`."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(None, listing.stdout.split("\0")):
        source = ROOT / name
        if source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)


def run_gate(gate: tuple[str, ...], tree: Path) -> tuple[bool, str]:
    """Runs one gate in `tree`; returns whether it passed, and what it printed."""
    done = subprocess.run(gate, cwd=tree, capture_output=True, text=True)
    return done.returncode == 0, done.stdout + done.stderr


def plant(fault: Fault, tree: Path) -> None:
    """Plants `fault`."""
    path = tree / fault.path
    path.parent.mkdir(exist_ok=True)
    text = path.read_text() if path.exists() else ""
    if not fault.old:
        path.write_text(text + fault.text)
        return
    if text.count(fault.old) != 1:
        raise ValueError(
            f"expected {fault.old!r} once in {fault.path}, received {text.count(fault.old)}; "
            f"update the fault {fault.name!r} in .ci/planted_faults.py"
        )
    path.write_text(text.replace(fault.old, fault.text))


def check_gate(gate: tuple[str, ...]) -> bool:
    """Runs a gate on a clean copy of the tree, then with all its faults planted; returns whether it
    passed the first and named each of these."""
    start = time.monotonic()
    faults = [fault for fault in FAULTS if fault.gate == gate]
    with tempfile.TemporaryDirectory(prefix="planted-") as folder:
        tree = Path(folder)
        copy_tree(tree)
        passed, output = run_gate(gate, tree)
        if not passed:
            print(f"{' '.join(gate)}: fails on the clean tree:\n{output[-2000:]}", flush=True)
            return False
        for fault in faults:
            plant(fault, tree)
        passed, output = run_gate(gate, tree)
    unseen = [f for f in faults if passed or any(s not in output for s in f.sign.splitlines())]
    for fault in faults:
        print(f"{fault.name:35} {'NOT SEEN' if fault in unseen else 'seen'}", flush=True)
    told = f"; with the faults in it, it said:\n{output[-8000:]}" if unseen else ""
    print(f"{' '.join(gate)}: {time.monotonic() - start:.1f} s{told}", flush=True)
    return not unseen


def main() -> int:
    """Checks the gates, two at a time; returns the exit code."""
    with ThreadPoolExecutor(2) as pool:
        gates = dict.fromkeys(fault.gate for fault in FAULTS)
        return int(not all(list(pool.map(check_gate, gates))))


if __name__ == "__main__":
    sys.exit(main())
