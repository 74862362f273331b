"""Does a run's memory grow? Resident memory of a small run while it trains, and after resumes.

  python -m benchmarks.resident --minutes 20 --resumes 3

Starts `train_agent.py` on a pure environment, reads the memory of its process from /proc every few
seconds, stops it by SIGTERM, and runs the same command again, each time for a fifth as long. A leak
would show in anonymous memory; files are mapped files, those of the replay among them, which the
kernel drops when it needs memory. Growth is the slope of a line through the second half of a part's
readings, as the first half includes what compilation and the first updates allocate. Linux only.
Writes its table to benchmarks/results.
"""

import argparse
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common import RunFailed, UserError
from common.entry import enter
from training import read_metrics

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results" / "resident.md"
EVERY = 5.0  # seconds between readings
FLAGS = ["--env", "pure:pendulum", "--size", "debug", "--prefill", "400", "--steps", "100000000"]
FLAGS += ["--batch", "4", "--length", "16", "--eval-every", "2000", "--video-every", "2000"]
FLAGS += ["--eval-episodes", "2", "--save-every", "1000", "--log-every", "200"]
FLAGS += ["--replay.capacity-steps", "20000"]


class Reading(NamedTuple):
    """Resident memory at one moment."""

    seconds: float
    anonymous: float  # MiB
    files: float  # MiB


class Part(NamedTuple):
    """One run of the command."""

    name: str
    first: int  # steps at its start
    last: int  # steps at its end
    readings: list[Reading]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=20.0, help="of the first part")
    parser.add_argument("--resumes", type=int, default=3)
    args = parser.parse_args()
    if not args.minutes > 0:
        raise UserError(f"minutes: expected more than 0, received {args.minutes:g}")
    with tempfile.TemporaryDirectory() as folder:
        logdir = Path(folder) / "run"
        parts = [measure("start", logdir, 60 * args.minutes)]
        for number in range(args.resumes):
            parts.append(measure(f"resume {number + 1}", logdir, 12 * args.minutes))
    text = report(parts)
    print(text)
    RESULTS.write_text(text, encoding="utf-8")


def measure(name: str, logdir: Path, seconds: float) -> Part:
    """Run the command for ``seconds`` from its first update on, and stop it.

    Raises:
      RunFailed: if it ended by itself.
    """
    log, readings = logdir / "metrics.jsonl", list[Reading]()
    first = steps(log)
    command = [sys.executable, "train_agent.py", *FLAGS, "--logdir", str(logdir)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        while steps(log) <= first and process.poll() is None:
            time.sleep(1.0)
        began = time.monotonic()
        while time.monotonic() - began < seconds and process.poll() is None:
            readings.append(read(process.pid, time.monotonic() - began))
            time.sleep(EVERY)
        ended = process.poll()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
    if ended is not None:
        raise RunFailed(
            f"{name}: expected a run that goes on until it is stopped, received exit code {ended} "
            f"after {len(readings)} readings; run the same by hand: python "
            + " ".join([*command[1:-1], "LOGDIR"])
        )
    print(f"{name}: {len(readings)} readings, {steps(log):,} steps", flush=True)
    return Part(name, first, steps(log), readings)


def steps(log: Path) -> int:
    """Steps at the last row of metrics with an update; 0 before the first."""
    rows = read_metrics(log) if log.exists() else []
    return max((row["step"] for row in rows if "loss/total" in row), default=0)


def read(pid: int, seconds: float) -> Reading:
    """Read the resident memory of the process."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    kib = {name: int(size) for name, size in re.findall(r"(Rss\w+):\s*(\d+) kB", status)}
    return Reading(seconds, kib["RssAnon"] / 1024, (kib["RssFile"] + kib["RssShmem"]) / 1024)


def report(parts: list[Part]) -> str:
    """The table."""
    lines = [
        "# Resident memory of a run",
        "",
        f"`python -m benchmarks.resident`: `train_agent.py {' '.join(FLAGS)}`.",
        f"{platform.machine()}, {os.cpu_count()} cores, shared with others.",
        "",
        "| part | minutes | steps | anonymous at first, MiB | in the middle | at the end | "
        "growth in the second half, MiB per 1 000 steps | files at the end |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for part in parts:
        half = part.readings[len(part.readings) // 2 :]
        times = np.array([r.seconds for r in half])
        slope = np.polyfit(times, [r.anonymous for r in half], 1)[0]
        all_seconds = part.readings[-1].seconds
        per_step = slope * all_seconds / max(1, part.last - part.first) * 1000
        lines.append(
            f"| {part.name} | {all_seconds / 60:.1f} | {part.first:,} to {part.last:,} | "
            f"{part.readings[0].anonymous:.0f} | {half[0].anonymous:.0f} | "
            f"{half[-1].anonymous:.0f} | {per_step:+.3f} | {half[-1].files:.0f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    enter(main)
