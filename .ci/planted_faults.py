"""Shows that every gate can fail: plants one fault per gate in a copy of the tree.

Each gate must first pass on the clean copy, so that a gate which always fails does not
look good; then the fault is planted, and the gate must fail and name the fault.

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

HOUSE = ("pytest", "-q", "-n", "0", "tests/test_house.py")

COUNTED = "python -m benchmarks.run --count --only act --against benchmarks/results/counts.json"
COUNTS = tuple(COUNTED.split())
REFERENCES = ("pytest", "-q", "-n", "0", "tests/test_references.py")
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
        "def planted(n):\n    return n\n",
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
        HOUSE,
        "worldmodel/planted.py",
        "def planted() -> None:\n    import agents.returns\n",
        "planted.py imports agents.returns",
    ),
    Fault(
        "a floor above",
        HOUSE,
        "configs/planted.py",
        "import training.build\n",
        "configs/planted.py imports training.build",
    ),
    Fault(
        "a script imported",
        HOUSE,
        "tests/planted.py",
        "import train_agent\n",
        "tests/planted.py imports",
    ),
    Fault(
        "a codec asked which it is",
        HOUSE,
        "analysis/planted.py",
        "def planted(config):\n    return config.codec == 'latent'\n",
        "analysis/planted.py:2: config.codec == 'latent'",
    ),
    Fault("pickle", HOUSE, "replay/planted.py", "import pickle\n", "replay/planted.py"),
    Fault(
        "package not listed",
        HOUSE,
        "worldmodel/planted/__init__.py",
        '"""Planted."""\n',
        "worldmodel.planted",
    ),
    Fault(
        "code names what is not there",
        REFERENCES,
        "worldmodel/planted.py",
        NAMES,
        "planted.py:2 names elsewhere.py\n"
        "planted.py:2 names section Nowhere\n"
        "planted.py:2 names adr-999\n"
        "planted.py:2 names agent.keep_plans\n"
        "planted.py:2 names clock.tick_masques\n"
        "planted.py:3 names agent.keep-plans",
    ),
    Fault(
        "a document names what is not there",
        REFERENCES,
        "README.md",
        "\n`python nowhere.py` runs `worldmodel/clock.py: model_loss`.\n",
        "README.md names nowhere.py\nREADME.md names worldmodel/clock.py: model_loss",
    ),
    Fault(
        "wrong number",
        ("pytest", "-q", "-n", "0", "tests/worldmodel/test_clock.py", "-k", "lead_in or segments"),
        "worldmodel/clock.py",
        "return strides[-1] if",
        "FAILED tests/worldmodel/test_clock.py::test_lead_in",
        old="return strides[-1] - 1 if",
    ),
    Fault(
        "warning in a test",
        ("pytest", "-q", "-n", "0", "tests/test_strictness.py"),
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


def plant(fault: Fault, tree: Path) -> bytes | None:
    """Plants `fault`; returns what the file held before, or None where there was none."""
    path = tree / fault.path
    path.parent.mkdir(exist_ok=True)
    before = path.read_bytes() if path.exists() else None
    text = "" if before is None else before.decode()
    if fault.old:
        if text.count(fault.old) != 1:
            raise ValueError(
                f"expected {fault.old!r} once in {fault.path}, received {text.count(fault.old)}; "
                f"update the fault {fault.name!r} in .ci/planted_faults.py"
            )
        text = text.replace(fault.old, fault.text)
    else:
        text += fault.text
    path.write_text(text)
    return before


def remove(fault: Fault, tree: Path, before: bytes | None) -> None:
    """Takes the fault away again."""
    if before is None:
        (tree / fault.path).unlink()
        if not any((tree / fault.path).parent.iterdir()):
            (tree / fault.path).parent.rmdir()
    else:
        (tree / fault.path).write_bytes(before)


def check_fault(fault: Fault, tree: Path) -> str:
    """Returns "" if the gate fails because of the fault, or what was wrong."""
    before = plant(fault, tree)
    passed, output = run_gate(fault.gate, tree)
    remove(fault, tree, before)
    if passed:
        return "the gate passed with the fault in it"
    unsaid = [line for line in fault.sign.splitlines() if line not in output]
    if unsaid:
        return f"the gate failed without naming {unsaid}:\n{output[-2000:]}"
    return ""


def check_gate(gate: tuple[str, ...]) -> int:
    """Runs a gate on a clean copy of the tree, then plants its faults in turn; returns how many of
    these were not seen."""
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="planted-") as folder:
        tree = Path(folder)
        copy_tree(tree)
        passed, output = run_gate(gate, tree)
        if not passed:
            print(f"{' '.join(gate)}: fails on the clean tree:\n{output[-2000:]}", flush=True)
            return 1
        for fault in (fault for fault in FAULTS if fault.gate == gate):
            start = time.monotonic()
            problem = check_fault(fault, tree)
            wrong += bool(problem)
            verdict = f"NOT SEEN: {problem}" if problem else "seen"
            print(f"{fault.name:18} {verdict} ({time.monotonic() - start:.1f} s)", flush=True)
    return wrong


def main() -> int:
    """Checks the gates, two at a time; returns the exit code."""
    with ThreadPoolExecutor(2) as pool:
        return int(any(list(pool.map(check_gate, dict.fromkeys(fault.gate for fault in FAULTS)))))


if __name__ == "__main__":
    sys.exit(main())
