r"""Run the trial of clocks (docs/protocol.md): one arm on one task at a time, seeds as one program.

  python -m benchmarks.trial --stage tune
  python -m benchmarks.trial --stage test --tasks pure:reacher --arms A E4
  python -m benchmarks.trial --stage cost
  python -m benchmarks.trial --stage chance
  python -m benchmarks.trial --stage report

Runs are kept under `--output`; the same command resumes them. Each run's result is written to
benchmarks/results/trial/ when the run ends, and a run with a result is not repeated. `--core 1`
pins the trial to core 1. `--minutes` limits the time during which new runs are started. `cost`
measures the processor time of the test runs' programs at one commit and on one processor, for the
table of equal processor time; `chance` what random actions earn, more exactly than the protocol.
"""

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.machine import processor
from benchmarks.trial.arms import ARMS, GRID, TUNED, Arm, Setting, flags, tuned_as
from benchmarks.trial.chance import Chance, chance
from benchmarks.trial.cost import Cost, cost
from benchmarks.trial.report import score, write_report
from benchmarks.trial.tasks import TEST, TUNING, Task
from common import UserError, dump_json, read_json
from common.entry import enter
from envs.pure import make_pure
from replay.atomic import write_text
from training.device import enable_compilation_cache, keep_freed_memory
from training.versions import git_commit, versions

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "trial"
TUNE_SEEDS, TEST_SEEDS = (0, 1), tuple(range(100, 110))
TIE = 0.01
STAGES = ("tune", "test", "cost", "chance", "report")
COSTS = RESULTS / "costs.json"
COST_SECONDS = 8.0
CHANCE = RESULTS / "chance.json"


class Cell(NamedTuple):
    """One arm on one task."""

    stage: str
    task: Task
    arm: Arm
    setting: Setting
    seeds: tuple[int, ...]

    @property
    def name(self) -> str:
        """Name of its directory and of its result."""
        return f"{self.stage}/{self.task.name}/{self.arm.name}-{self.setting.name}"

    @property
    def result(self) -> Path:
        """Path of its result."""
        return RESULTS / f"{self.name}.json"

    @property
    def command(self) -> list[str]:
        """Arguments of `train_agent.py`, without the run's directory."""
        own = flags(self.arm, self.setting, self.task)
        shared = self.task.command(self.arm.held, self.arm.stride)
        return [*shared, *own, "--seeds", *map(str, self.seeds)]

    def read(self) -> dict[str, Any] | None:
        """Its result; None if there is none.

        Raises:
          UserError: if the result is of another command.
        """
        if not self.result.is_file():
            return None
        found: dict[str, Any] = read_json(self.result)
        command = shlex.join(["python", "train_agent.py", *self.command])
        if today(found["command"]) != command:
            raise UserError(
                f"{self.result}: expected a result of {command}, received one of "
                f"{found['command']}; move it away"
            )
        return found


def today(command: str) -> str:
    """A tuning run's command as it would be given now: until 2026-11-29 the preset had another name
    and no novelty (docs/protocol.md, Departures)."""
    return command.replace(
        "--preset pure --size xs", "--preset general --size xs --agent.novelty 0"
    )


def tune_cells() -> Iterator[Cell]:
    """All cells of the tuning: every arm with every setting on the tuning tasks."""
    for setting in GRID:
        for task in TUNING:
            for arm in TUNED:
                yield Cell("tune", task, arm, setting, TUNE_SEEDS)


def trial_cells(tuned: dict[str, Setting]) -> Iterator[Cell]:
    """All cells of the test: every arm with its tuned setting on the test tasks."""
    for task in TEST:
        for arm in ARMS:
            yield Cell("test", task, arm, tuned[tuned_as(arm).name], TEST_SEEDS)


def run(cell: Cell, output: Path) -> bool:
    """Run one cell to its end; return whether it got there."""
    folder = output / cell.name
    command = [sys.executable, str(ROOT / "train_agent.py"), *cell.command]
    print(f"{cell.name}", flush=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.log").open("a") as log:
        done = subprocess.run([*command, "--logdir", str(folder)], stdout=log, stderr=log, cwd=ROOT)
    curves = folder / "curves.json"
    found = read_json(curves) if curves.is_file() else None
    if found is None or (done.returncode and not found["failed"]):
        print(f"  stopped with code {done.returncode}; see {folder}.log", flush=True)
        return False
    found |= {
        "arm": cell.arm.name,
        "setting": cell.setting._asdict(),
        "command": shlex.join(["python", "train_agent.py", *cell.command]),
        "load": os.getloadavg()[2],  # of the machine, mean over 15 minutes; it affects seconds
        "versions": versions(),
    }
    write_text(cell.result, dump_json(found, indent=1) + "\n")
    failed = f"; failed: seeds {', '.join(found['failed'])}" if found["failed"] else ""
    print(f"  {np.mean(score(cell.task, found, 'sampled')):.2f} sampled{failed}", flush=True)
    return True


def measure_cost(cell: Cell, path: Path = COSTS) -> None:
    """Measure what a cell's program costs, unless it is known for this commit and processor.

    Costs of others are dropped: programs differ, and take other numbers of products elsewhere.
    """
    by = {"git": commit().removesuffix("+changes"), "processor": processor()}
    known: dict[str, dict[str, Any]] = read_json(path) if path.is_file() else {}
    known = {
        env: {arm: one for arm, one in arms.items() if {**one, **by} == one}
        for env, arms in known.items()
    }
    own = known.setdefault(cell.task.env, {})
    if cell.arm.name in own:
        return
    with tempfile.TemporaryDirectory(prefix="clockwork-") as folder:
        found = cost(cell.command, Path(folder) / "run", COST_SECONDS)
    own[cell.arm.name] = found._asdict() | by
    write_text(path, dump_json(known, indent=1) + "\n")
    print(f"{cell.name}: {found.update:.3g} products an update", flush=True)


def choose() -> dict[str, Setting]:
    """Choose the setting of each arm from the tuning runs, and write it next to their results.

    Raises:
      UserError: if some tuning runs have not ended.
    """
    found = {cell: cell.read() for cell in tune_cells()}
    missing = [cell.name for cell, result in found.items() if result is None]
    if missing:
        raise UserError(
            f"tuning: expected results of all runs, received none of {missing[0]} and "
            f"{len(missing) - 1} others; end them with --stage tune"
        )
    scores: dict[str, dict[Setting, float]] = {arm.name: dict.fromkeys(GRID, 0.0) for arm in TUNED}
    for cell, result in found.items():
        assert result is not None
        last = score(cell.task, result, "sampled")
        share = np.mean(cell.task.normalised(last)) / len(TUNING)
        scores[cell.arm.name][cell.setting] += float(share)
    chosen = {arm: first_best(by_setting) for arm, by_setting in scores.items()}
    tree = {
        arm: {
            "setting": chosen[arm]._asdict(),
            "scores": {setting.name: x for setting, x in by_setting.items()},
        }
        for arm, by_setting in scores.items()
    }
    write_text(RESULTS / "tuned.json", dump_json(tree, indent=1) + "\n")
    return chosen


def first_best(scores: dict[Setting, float]) -> Setting:
    """The first setting whose score is within `TIE` of the best."""
    best = max(scores.values())
    return next(setting for setting, score in scores.items() if score >= best - TIE)


def tuned() -> dict[str, Setting]:
    """Load the settings that the tuning has chosen.

    Raises:
      UserError: if the tuning is not complete.
    """
    path = RESULTS / "tuned.json"
    if not path.is_file():
        raise UserError(f"{path}: expected the tuned settings, received none; use --stage tune")
    found: dict[str, Any] = read_json(path)
    return {arm: Setting(**entry["setting"]) for arm, entry in found.items()}


def commit() -> str:
    """The commit of this code.

    Raises:
      UserError: if it is not known: nobody could tell what a result is of.
    """
    found = git_commit(ROOT)
    if found is None:
        raise UserError(f"expected a Git checkout with a commit, received {ROOT}; run it from one")
    return found


def measure_chance() -> None:
    """Measure what random actions earn on the test tasks, and write it next to their results."""
    found = {task.env: chance(make_pure(task.env))._asdict() for task in TEST}
    write_text(CHANCE, dump_json(found, indent=1) + "\n")


def report() -> None:
    """Write the tables and figures of the results, costs and chances that there are."""
    found: dict[str, dict[str, Any]] = {}
    for cell in trial_cells(tuned()):
        if (result := cell.read()) is not None:
            found.setdefault(cell.task.env, {})[cell.arm.name] = result
    costs = {
        env: {arm: Cost(one["step"], one["update"], one["product"]) for arm, one in arms.items()}
        for env, arms in (read_json(COSTS) if COSTS.is_file() else {}).items()
    }
    known = read_json(CHANCE) if CHANCE.is_file() else {}
    write_report(RESULTS, found, costs, {env: Chance(**one) for env, one in known.items()})


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stage", choices=STAGES, required=True)
    envs, arms = [task.env for task in (*TUNING, *TEST)], [arm.name for arm in ARMS]
    parser.add_argument("--tasks", nargs="+", choices=envs, help="some of the stage's tasks")
    parser.add_argument("--arms", nargs="+", choices=arms, help="some of the arms, such as A E4")
    parser.add_argument("--output", type=Path, default=Path("runs/trial"))
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--core", type=int)
    args = parser.parse_args()
    if args.stage in ("report", "chance"):
        report() if args.stage == "report" else measure_chance()
        return
    commit()
    if args.core is not None:
        os.sched_setaffinity(0, {args.core})
    until = time.monotonic() + 60 * args.minutes
    cells = list(tune_cells() if args.stage == "tune" else trial_cells(tuned()))
    wanted = [
        cell
        for cell in cells
        if (not args.tasks or cell.task.env in args.tasks)
        and (not args.arms or cell.arm.name in args.arms)
        and (args.stage == "cost" or cell.read() is None)
    ]
    if args.stage == "cost":
        enable_compilation_cache(None)
        keep_freed_memory()
        for cell in wanted:
            measure_cost(cell)
        return
    print(f"{args.stage}: {len(wanted)} of {len(cells)} to run", flush=True)
    for cell in wanted:
        if time.monotonic() > until:
            break
        run(cell, args.output.resolve())
    if args.stage == "tune" and all(cell.result.is_file() for cell in cells):
        for arm, setting in choose().items():
            print(f"{arm}: {setting}")


if __name__ == "__main__":
    enter(main)
