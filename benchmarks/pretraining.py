"""Does a world model pretrained on video of the same world help the agent? Navigate Dense, builtin.

  python benchmarks/pretraining.py --output runs/pretraining

Pretrains the agent's model on walks of the scripted follower, with unknown actions. Then trains
agents without it, with it, and with it while video is kept in the batches, for the same seeds and
environment steps. Every run is one of `pretrain_video.py` or `train_agent.py`, resumed if it was
stopped, and refused if it was made with other flags. Writes
benchmarks/results/pretraining.{md,png}.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import matplotlib

from configs.spelling import whole

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from agents.statistics import plus_minus
from benchmarks.kept import claim
from common import null_as_nan
from common.entry import enter
from training import read_metrics
from training.device import choose_device

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
KEPT = "with, and kept"
ARMS = ("without", "with", KEPT)
SHARE = 0.25  # of each batch that remains video, in the third arm
Runs = dict[str, dict[int, Path]]


def run(script: list[str], logdir: Path, places: list[str]) -> None:
    """Run one of our scripts to its end, unless that was done before; ``places``: flags that say
    where it finds what it reads."""
    if not (logdir / "evaluation.json").exists():
        command = [*script, *places]
        print("$ python " + " ".join(command), flush=True)
        subprocess.run([sys.executable, *command, "--logdir", str(logdir)], check=True, cwd=ROOT)


def train(output: Path, steps: int, updates: int, seeds: list[int], arms: list[str]) -> Runs:
    """Train every run; return their directories by arm and seed.

    Raises:
      UserError: if a run there was made with other flags; nothing has been run by then.
    """
    video, data = output / "video", ["--data.folder", str(output / "data")]
    learn = ["pretrain_video.py", "--preset", "agent", "--data", "navigate", "--video-every", "0"]
    commands = {video: [*learn, "--steps", str(updates)]}
    places, start = {video: data}, ["--init-from", str(video)]
    runs: Runs = {arm: {} for arm in arms}
    for seed in seeds:
        for arm in arms:
            path = runs[arm][seed] = output / f"{arm.replace(', ', '-')}-seed{seed}"
            commands[path] = agent(arm, steps, seed)
            places[path] = [] if arm == "without" else start
    for path, command in commands.items():
        claim(command, path)
    for path, command in commands.items():
        run(command, path, places[path])
    return runs


def agent(arm: str, steps: int, seed: int) -> list[str]:
    """One agent's command, without its directory and that of the video model."""
    kept = ["--recordings-share", str(SHARE)] if arm == KEPT else []
    return [
        *("train_agent.py", "--env", "minerl_navigate", "--env.backend", "builtin"),
        *("--seed", str(seed), "--steps", str(steps), "--video-every", "0"),
        *("--eval-every", str(steps // 3), *kept),
    ]


def curve(path: Path) -> tuple[list[int], list[float]]:
    """Steps and greedy returns of a run's evaluations."""
    rows = [row for row in read_metrics(path / "metrics.jsonl") if "eval/return" in row]
    return [row["step"] for row in rows], [row["eval/return"] for row in rows]


def draw(runs: Mapping[str, Mapping[int, Path]], path: Path) -> None:
    """Greedy return over environment steps, one line per run."""
    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    for colour, (arm, done) in zip(("C0", "C1", "C2"), runs.items(), strict=False):
        for index, one in enumerate(done.values()):
            axes.plot(*curve(one), color=colour, marker="o", label=arm if index == 0 else None)
    axes.set(xlabel="environment steps of 4 frames", ylabel="greedy return")
    axes.legend(title="pretrained model", fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def page(runs: Runs, steps: int, updates: int) -> str:
    """All results as Markdown."""
    seeds = list(next(iter(runs.values())))
    lines = [
        "# Pretraining on video, then Navigate Dense",
        "",
        f"    python benchmarks/pretraining.py --steps {steps} --updates {updates} --seeds "
        + " ".join(map(str, seeds))
        + " --arms "
        + " ".join(repr(arm) if " " in arm else arm for arm in runs),
        "",
        f"{choose_device().name}. Builtin back end, preset `minerl_navigate`; {updates:,} updates "
        f"on walks of the scripted follower, actions unknown, then an agent for {steps:,} steps of "
        "4 frames. Greedy return, mean over 8 episodes in the same worlds ± half a 95% interval.",
        "",
        "| world model | " + " | ".join(f"seed {seed}" for seed in seeds) + " | mean |",
        "|---" * (len(seeds) + 2) + "|",
    ]
    for arm, done in runs.items():
        texts = [(path / "evaluation.json").read_text() for path in done.values()]
        values = [null_as_nan(json.loads(text)) for text in texts]
        cells = [plus_minus(v["return"], v.get("return_95"), 1) for v in values]
        mean = np.mean([v["return"] for v in values])
        lines.append(f"| {arm} pretraining | {' | '.join(cells)} | {mean:.1f} |")
    return "\n".join([*lines, "", "![curves](pretraining.png)", ""])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("runs/pretraining"))
    parser.add_argument("--steps", type=whole, default=16_000, help="environment steps per agent")
    parser.add_argument("--updates", type=whole, default=2_000, help="of the pretraining")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS)
    args = parser.parse_args()
    output = args.output.resolve()
    runs = train(output, args.steps, args.updates, args.seeds, args.arms)
    text = page(runs, args.steps, args.updates)
    (RESULTS / "pretraining.md").write_text(text)
    draw(runs, RESULTS / "pretraining.png")
    print(text)


if __name__ == "__main__":
    enter(main)
