"""The real commands, killed at random moments and restarted.

A run is killed repeatedly in one directory by SIGKILL, SIGTERM and SIGINT until it is complete;
after each signal its files are checked, and the next start must resume from them. Where a signal
came before the command said from where it resumes, it is started once more within the trial, until
it says so. So a trial depends on those before it in the same directory. An import is killed up to
three times and then left to finish: its stores must equal those of an uninterrupted import.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from benchmarks.reliability.mutations import scratch
from benchmarks.reliability.trial import Case, Checks, Lost
from configs import TrainConfig
from configs.video import PretrainConfig
from replay import ReplayConfig, ReplayStore, read_fields
from replay.atomic import TEMPORARY
from training.build import Built
from training.build_video import BuiltVideo
from training.checkpoint import CHECKPOINTS, UNFINISHED, restore_newest
from training.config_io import holds_run, load_config
from training.loop import EVALUATION
from training.metrics import METRICS, read_metrics
from training.spaces import read_spaces
from training.video import write_video

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 1500  # seconds after which a command counts as hung
SOON = 300  # seconds within which a signal must end it, even while it compiles on a busy machine
LATEST = 120  # seconds after which a signal is sent, even if its moment has not come
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)

AGENT = "--env gym:Pendulum-v1 --size debug --prefill 200 --updates-per-step 0.03 --batch 4 "
AGENT += "--length 16 --log-every 100 --save-every 200 --eval-every 1200 --eval-episodes 2 "
AGENT += "--video-every 1000 --report False --replay.chunk-steps 32 --steps 4000"
VIDEO = "--data moving_digits --size debug --strides 1 2 4 --context 8 --length 12 --batch 2 "
VIDEO += "--data.episodes 40 --data.length 40 --data.test-episodes 4 --data.test-length 30 "
VIDEO += "--log-every 10 --save-every 20 --eval-every 100 --video-every 100 --steps 600"
BEGUN = re.compile(r"(resuming|writing) .* at (?:step|update) ([\d,]+)")
STOPPED = re.compile(r"stopped at (?:step|update) ([\d,]+)")
"""Lines that the commands print (`training/loop.py`)."""
IMPORT = "--test-fraction 0.4 --chunk-steps 4 --max-frames 20"


class Process:
    """One of our commands, whose output is kept in files of a folder."""

    def __init__(self, place: Path, *args: object):
        self.out, self.err = place / "out", place / "err"
        level = "--xla_backend_optimization_level"
        flags = os.environ.get("XLA_FLAGS", "")
        flags = (
            flags if level in flags else f"{flags} {level}=0"
        )  # as in tests: compilation costs most
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, *map(str, args)],
                cwd=ROOT,
                stdout=out,
                stderr=err,
                env=os.environ | {"PYTHONUNBUFFERED": "1", "XLA_FLAGS": flags},
            )

    def wait(self, until: Callable[[], bool]) -> bool:
        """Wait for a condition or the command's end; return whether it is still running."""
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None and not until():
            if time.monotonic() > deadline:
                self.process.kill()
                raise Lost(f"still running after {PATIENCE} s: {self.said()}")
            time.sleep(0.003)
        return self.process.poll() is None

    def imports(self) -> bool:
        """Whether it has imported a library; True if that cannot be determined."""
        maps = Path(f"/proc/{self.process.pid}/maps")
        try:
            return "numpy" in maps.read_text()
        except OSError:
            return True

    def end(self, seconds: float) -> int:
        """Wait for its exit code; raise Lost if it is still running after ``seconds``."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise Lost(f"still running {seconds} s later: {self.said()}") from None

    def said(self) -> str:
        """The last lines that it printed."""
        return " | ".join(
            [*self.out.read_text().splitlines(), *self.err.read_text().splitlines()][-3:]
        )


def hit(
    process: Process,
    rng: Random,
    checks: Checks,
    moments: dict[str, Callable[[], bool]],
    done: Callable[[], bool],
) -> None:
    """End a command by a random signal at a random moment, if it has not ended before, and check
    how it ended.

    Args:
      moments: by name, whether the command has reached the moment to interrupt.
      done: whether it has done all its work, so that only the interpreter's own exit is left.
    """
    moment = rng.choice(["import", *moments, *moments])
    reached, latest = moments.get(moment, process.imports), time.monotonic() + LATEST
    process.wait(lambda: reached() or time.monotonic() > latest)
    delay = rng.uniform(0, 0.05 if moment == "save" else rng.choice([0.3, 8.0]))
    until = time.monotonic() + delay
    process.wait(lambda: time.monotonic() >= until)
    number, twice = rng.choice(SIGNALS), rng.random() < 0.2
    if process.process.poll() is None:
        process.process.send_signal(number)
    checks.tell(f"{number.name}{' twice' if twice else ''} at {moment} + {delay:.2f} s")
    if twice:
        time.sleep(rng.uniform(0.05, 0.5))
        process.process.send_signal(number)
    code = process.end(SOON)
    signalled = -number if number == signal.SIGKILL else 128 + number
    ending = twice or done()
    accepted = {0, signalled} | ({-number} if ending else set())  # while the interpreter exits
    checks("exit", code in accepted, f"code {code}: {process.said()}")
    err = process.err.read_text()
    checks("words", "Traceback" not in err and "error:" not in err, process.said())


class Run:
    """A run's directory through its kills; replaced once the run is complete or was lost."""

    def __init__(self, script: str, flags: str, config: type[Any], built: type[Any]):
        self.script, self.flags, self.config, self.built = script, flags, config, built
        self.number, self.over = 0, True

    def trial(self, rng: Random, place: Path, checks: Checks) -> None:
        """Start the command once, and send one signal."""
        if self.over:
            self.number, self.over, self.newest = self.number + 1, False, 0
            self.folder = scratch() / f"{self.script}-{self.number}"
        try:
            self._trial(rng, place, checks)
        except BaseException:
            self.over = True  # the next trial has a new directory
            raise

    def _trial(self, rng: Random, place: Path, checks: Checks) -> None:
        folder = self.folder
        more = ["--data.folder", folder / "data"] if self.config is PretrainConfig else []
        command = (self.script, *self.flags.split(), "--logdir", folder / "run", *more)
        saves = folder / "run" / CHECKPOINTS
        left = set(_saving(saves))
        moments = {
            "work": _growth(folder / "run" / METRICS),
            "save": lambda: bool(set(_saving(saves)) - left),
        }
        checks.tell(f"from checkpoint {self.newest}")
        process = Process(place, *command)
        hit(process, rng, checks, moments, (folder / "run" / EVALUATION).exists)
        begun = self._goes_on(checks, process)
        self._look(checks, STOPPED.search(process.out.read_text()))
        if not begun:
            self._start_again(place, command, checks)
        if (folder / "run" / EVALUATION).exists():
            again = Process(place, *command)
            code = again.end(PATIENCE)
            checks("end", code == 0 and "nothing to do" in again.out.read_text(), again.said())
            self.over = True

    def _start_again(self, place: Path, command: Sequence[object], checks: Checks) -> None:
        """Start the command once more, until it says from where it goes on or works without having
        said so, and kill it."""
        works = _growth(self.folder / "run" / METRICS)
        process = Process(place, *command)
        process.wait(lambda: works() or BEGUN.search(process.out.read_text()) is not None)
        process.process.kill()
        process.end(SOON)
        begun = self._goes_on(checks, process)
        checks("goes on", begun, f"no line says from where: {process.said()}")
        self._look(checks, None)

    def _goes_on(self, checks: Checks, process: Process) -> bool:
        """Check that a command goes on from the newest checkpoint; whether it has said from
        where."""
        begun = BEGUN.search(process.out.read_text())
        if begun is not None:
            at = int(begun[2].replace(",", ""))
            checks("goes on", at == self.newest, f"at {at}, the newest checkpoint {self.newest}")
        return begun is not None

    def _look(self, checks: Checks, stopped: re.Match[str] | None) -> None:
        """Check the checkpoint, the replay and the metrics that a signal has left."""
        run = self.folder / "run"
        found = 0
        if holds_run(run) and any(p.name.isdigit() for p in _inside(run / CHECKPOINTS)):
            found = restore_newest(run, self._template(run)).step
        checks("checkpoint", found >= self.newest, f"step {found} after {self.newest}")
        if stopped is not None:
            at = int(stopped[1].replace(",", ""))
            checks("checkpoint", found == at, f"step {found}, stopped at {at}")
        self.newest = found
        if self.config is TrainConfig:
            self._look_at_replay(checks, run / "replay", stopped is not None)
        log = run / METRICS
        whole = log.read_bytes().rpartition(b"\n")[0].splitlines() if log.exists() else []
        bad = [line for line in whole if b"NaN" in line or not isinstance(json.loads(line), dict)]
        rows = read_metrics(log) if log.exists() else []
        checks("metrics", not bad and len(rows) == len(whole), bad)

    def _look_at_replay(self, checks: Checks, folder: Path, stopped: bool) -> None:
        if not (folder / "store.json").exists():
            checks("replay", not self.newest, f"none beside the checkpoint of {self.newest}")
            return
        config = load_config(self.config, folder.parent)
        least = self.newest - (0 if stopped else config.replay.chunk_steps * config.env.num_envs)
        fields = read_fields(folder)
        with ReplayStore(folder, fields, ReplayConfig(), read_only=True) as store:
            aside = [name for name, _ in store.set_aside if not name.startswith(TEMPORARY)]
            checks("replay", not aside, f"damaged: {aside}")
            checks("replay", store.steps >= least, f"{store.steps} steps of {self.newest}")

    def _template(self, run: Path) -> Any:
        if not hasattr(self, "template"):
            self.template = self.built(load_config(self.config, run), read_spaces(run)).abstract()
        return self.template


def _saving(saves: Path) -> list[Path]:
    """Checkpoints that are being written, or were when their process was killed."""
    return list(saves.glob(f"*{UNFINISHED}"))


def _inside(folder: Path) -> Sequence[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


@cache
def videos() -> Path:
    """A folder of videos."""
    folder, rng = scratch() / "to_import", np.random.default_rng(0)
    for number in range(24):
        frames = rng.integers(0, 256, (10 + 3 * number, 16, 16, 3), np.uint8)
        write_video(folder / f"{number:02}.mp4", frames.repeat(4, 1).repeat(4, 2), 10)
    return folder


def import_into(store: Path, place: Path) -> Process:
    """Start the import."""
    return Process(place, "-m", "recordings", "videos", videos(), store, *IMPORT.split())


@cache
def imported() -> list[tuple[str, bytes]]:
    """The contents of an uninterrupted import's stores."""
    place = scratch() / "imported"
    place.mkdir()
    assert import_into(place / "store", place).end(PATIENCE) == 0
    return contents(place / "store")


def contents(store: Path) -> list[tuple[str, bytes]]:
    """Every chunk of an import's stores, by its name without its checksum."""
    paths = sorted(store.glob("*/chunks/*.npy"))
    names = [f"{path.parent.parent.name}/{path.name.rpartition('-')[0]}" for path in paths]
    return list(zip(names, [np.load(p, allow_pickle=False).tobytes() for p in paths], strict=True))


def import_killed(rng: Random, place: Path, checks: Checks) -> None:
    """Kill an import up to three times, then let it finish."""
    whole, store = imported(), place / "store"
    for _ in range(rng.randrange(1, 4)):
        grows = _growth(store / "ledger.jsonl")
        process = import_into(store, place)
        hit(process, rng, checks, {"work": grows}, partial(_imported_all, process))
    last = import_into(store, place)
    checks("ends", last.end(PATIENCE) == 0, last.said())
    checks("same", contents(store) == whole, "other chunks than those of an import in one go")
    left = [path.name for path in store.rglob(f"{TEMPORARY}*")]
    checks("same", not left, f"left behind: {left}")


def _imported_all(process: Process) -> bool:
    """Whether an import has printed its counts, which is the last thing that it does."""
    return " skipped" in process.out.read_text()


def _growth(path: Path) -> Callable[[], bool]:
    """A function that returns whether a file has grown since this call."""

    def size() -> int:
        return path.stat().st_size if path.exists() else 0

    before = size()
    return lambda: size() > before


AGENTS = Run("train_agent.py", AGENT, TrainConfig, Built)
VIDEOS = Run("pretrain_video.py", VIDEO, PretrainConfig, BuiltVideo)
LOOKED = frozenset({"exit", "words", "checkpoint", "metrics", "goes on"})

CASES = (
    Case(
        "agent's run killed",
        "no traceback; no checkpoint lost; of the replay at most a chunk per environment; goes on "
        "from its newest checkpoint",
        LOOKED | {"replay"},
        AGENTS.trial,
        chained=True,
    ),
    Case(
        "video model's run killed",
        "no traceback; no checkpoint lost; goes on from its newest checkpoint",
        LOOKED,
        VIDEOS.trial,
        chained=True,
    ),
    Case(
        "import killed",
        "no traceback; the same command ends in the stores of an import in one go",
        frozenset({"exit", "words", "ends", "same"}),
        import_killed,
    ),
)
