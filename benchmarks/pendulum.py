"""Pendulum-v1 from state: strides (1, 4) re-planning every step, beside (1) and open-loop chunks.

  python benchmarks/pendulum.py --output runs/pendulum

Every run is `train_agent.py` itself, one after another, resumed where it was stopped; then each is
evaluated over 16 episodes with the greedy policy. Writes benchmarks/results/pendulum.{md,png}.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from worldmodel.runs import read_metrics
from worldmodel.runs.device import choose_device

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
SETTINGS = {
    "strides 1 4, r = 1": ["--strides", "1", "4", "--replan", "1"],
    "strides 1": ["--strides", "1", "--replan", "1", "--horizon", "15"],
    "strides 1 4, r = K = 4": ["--strides", "1", "4", "--replan", "4"],
}
EPISODES = 16


def flags(steps: int, seed: int) -> list[str]:
    """The command of one run, without its setting and directory."""
    every = max(steps // 5, 1)
    return [
        *("--env", "gym:Pendulum-v1", "--seed", str(seed), "--steps", str(steps)),
        *("--eval-every", str(every), "--eval-episodes", str(EPISODES), "--video-every", "0"),
    ]


def train(name: str, steps: int, seed: int, output: Path) -> Path:
    """Runs one setting to its end, unless it has got there before; returns its directory."""
    run = output / f"{name.replace(' ', '').replace('=', '').replace(',', '-')}-seed{seed}"
    if not (run / "evaluation.json").exists():
        command = [sys.executable, str(ROOT / "train_agent.py"), *flags(steps, seed)]
        subprocess.run([*command, *SETTINGS[name], "--logdir", str(run)], check=True, cwd=ROOT)
    return run


def curve(run: Path) -> tuple[list[int], list[float]]:
    """Steps and evaluation returns of a run."""
    rows = [row for row in read_metrics(run / "metrics.jsonl") if "eval/return" in row]
    return [row["step"] for row in rows], [row["eval/return"] for row in rows]


def cost(run: Path) -> float:
    """Median seconds per update of a run."""
    rows = read_metrics(run / "metrics.jsonl")
    speeds = [row["speed/updates_per_s"] for row in rows if row.get("speed/updates_per_s", 0) > 0]
    return 1 / float(np.median(speeds))


def row(name: str, runs: dict[int, Path], seeds: list[int]) -> str:
    """One line of the table; runs not done yet are dashes."""
    last = {s: json.loads((r / "evaluation.json").read_text())["return"] for s, r in runs.items()}
    cells = [f"{last[seed]:.0f}" if seed in last else "–" for seed in seeds]
    seconds = cost(next(iter(runs.values())))
    return f"| {name} | {' | '.join(cells)} | {np.mean(list(last.values())):.0f} | {seconds:.2f} |"


def report(runs: dict[str, dict[int, Path]], steps: int, seeds: list[int]) -> None:
    """Table and figure of the runs that are done."""
    lines = [f"| setting | {' | '.join(f'seed {s}' for s in seeds)} | mean | s per update |"]
    lines.append("|---" * (len(seeds) + 3) + "|")
    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    for colour, (name, done) in zip(("C0", "C1", "C2"), runs.items(), strict=True):
        if not done:
            continue
        lines.append(row(name, done, seeds))
        for index, run in enumerate(done.values()):
            axes.plot(*curve(run), color=colour, label=name if index == 0 else None)
    axes.axhline(-250, color="grey", lw=0.8, ls="--")
    axes.set(xlabel="environment steps", ylabel=f"greedy return, {EPISODES} episodes")
    axes.legend(fontsize=8)
    figure.savefig(RESULTS / "pendulum.png", dpi=110)
    plt.close(figure)
    text = f"""# Pendulum-v1 from state

    python benchmarks/pendulum.py --steps {steps}

Greedy evaluation return over {EPISODES} episodes (the same for all) at the end of {steps:,}
environment steps and {int((steps - 1000) * 0.21):,} updates of 16 sequences of 64 steps, per seed.
{choose_device().name}. The optimum is near -150.

"""
    text += "\n".join(lines) + "\n\n![curves](pendulum.png)\n"
    (RESULTS / "pendulum.md").write_text(text)
    print(text)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("runs/pendulum"))
    parser.add_argument("--steps", type=int, default=20_000, help="environment steps per run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    args = parser.parse_args()
    output = args.output.resolve()
    runs: dict[str, dict[int, Path]] = {name: {} for name in SETTINGS}
    for name in SETTINGS:
        for seed in args.seeds:
            runs[name][seed] = train(name, args.steps, seed, output)
            report(runs, args.steps, args.seeds)


if __name__ == "__main__":
    main()
