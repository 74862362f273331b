"""Predictions in pixels: a ball that bounces and keeps its colour, 32 x 32, 300 frames predicted.

CW-VAE, RSSM and DLH are each trained by `pretrain_video.py` and resumed if they were stopped; runs
of other settings are refused. The ball's place is predictable for some 20 frames, its colour
forever. Both are read from the predicted frames: the colour is the palette's nearest in direction
to the sum of all pixels, the place is the centre of brightness. One seed each: the results are
illustrations, not a comparison of models.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from analysis.pages.stills import draw_stills
from analysis.probes.ball import colours
from analysis.probes.measures import centres
from analysis.video.frames import draw_frames, frames_at_once
from analysis.video.rollout import imagine_samples, usable_context
from benchmarks.kept import claim
from recordings.generators.seeded import PIXELS
from recordings.held_out import read_videos
from replay.atomic import write_text
from training.build_video import VideoRun, load_video_run, marks_plans, to_records
from training.device import choose_device

ROOT = Path(__file__).resolve().parents[2]
DATA = (
    *("--data", "moving_ball", "--data.change", "0", "--data.bounce-change", "False"),
    *("--data.image-size", "32", "--data.test-length", "336"),
)
# clips of four ticks of CW-VAE's top: if they end within a tick, it forgets (docs/adr/0030)
SIZES = ("--size", "s", "--batch", "6", "--length", "144", "--context", "36")
QUIET = ("--eval-every", "0", "--video-every", "0", "--log-every", "100", "--save-every", "200")
SYSTEMS = {
    "CW-VAE": ("--preset", "cwvae", "--strides", "1", "6", "36"),
    "RSSM": ("--preset", "rssm"),
    "DLH": ("--preset", "dlh"),
}
CONTEXT, HORIZON, VIDEOS = 36, 300, 64
SHOWN, VIDEOS_SHOWN = (1, 10, 50, 100, 300), 3  # frames after the context, videos in the picture
SPANS = ((1, 10), (41, 50), (91, 100), (291, 300))  # over which means are reported


def command(system: str, updates: int, seed: int) -> list[str]:
    """A run's command, without its directory."""
    size = [*SIZES, "--steps", str(updates), "--seed", str(seed)]
    size += ["--dlh.ramp", str(updates // 3)] if system == "DLH" else []
    return ["pretrain_video.py", *DATA, *SYSTEMS[system], *size, *QUIET]


def train(updates: Sequence[int], seed: int, output: Path) -> dict[str, Path]:
    """Train all runs to their end, and return their directories by system.

    Args:
      updates: of each of ``SYSTEMS``, in their order.
    Raises:
      UserError: if a run there is of other settings; none has begun by then.
    """
    counts = dict(zip(SYSTEMS, updates, strict=True))
    runs = {name: output / f"{name.lower()}-{n}-seed{seed}" for name, n in counts.items()}
    for name, run in runs.items():
        claim(command(name, counts[name], seed), run)
    for name, run in runs.items():
        if not (run / "evaluation.json").exists():
            script = command(name, counts[name], seed)
            print("$ python " + " ".join(script), flush=True)
            where = ["--logdir", str(run), "--data.folder", str(output / "data")]
            subprocess.run([sys.executable, *script, *where], check=True, cwd=ROOT)
    return runs


def predictions(run: VideoRun, steps: dict[str, Any], seed: int) -> np.ndarray:
    """Frames uint8 [V, H, 32, 32, 3] predicted open loop after the context."""
    records = to_records(steps, run.model.action_width, marks_plans(run.config))
    context = usable_context(run.model, CONTEXT)
    records = jax.tree.map(lambda x: x[:, CONTEXT - context :], records)

    @jax.jit
    def roll(key: Any) -> Any:
        features = imagine_samples(run.model, records, context, HORIZON, 1, key)[0]
        return draw_frames(lambda x: run.model.decode(x)["image"], features, frames_at_once())

    return np.asarray(roll(jax.random.key(seed)))


def places(frames: np.ndarray) -> np.ndarray:
    """Centre of brightness (row, column), [V, H, 2], in px of the 64 in which balls are drawn; the
    middle of the frame if all is black."""
    return (centres(frames) + 0.5) * PIXELS / frames.shape[2]


def knows(predicted: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per frame, means over videos: share of colours right, and error of places in px."""
    right = colours(predicted) == colours(true)
    off = np.linalg.norm(places(predicted) - places(true), axis=-1)
    return right.mean(0), off.mean(0)


def over(curve: np.ndarray, span: tuple[int, int]) -> float:
    """Mean over a span of frames, first and last included, counted from 1."""
    return float(curve[span[0] - 1 : span[1]].mean())


def row(name: str, right: np.ndarray, off: np.ndarray) -> str:
    """A row of the table."""
    shares = [f"{over(right, span):.2f}" for span in SPANS]
    return f"| {name} | {' | '.join(shares + [f'{over(off, span):.1f}' for span in SPANS])} |"


def compare(updates: Sequence[int], seed: int, output: Path, results: Path) -> None:
    """Train, evaluate, and write the page and its figure.

    Args:
      updates: of each of ``SYSTEMS``, in their order.
    """
    output = output.resolve()
    runs = {name: load_video_run(run) for name, run in train(updates, seed, output).items()}
    steps, _ = read_videos(next(iter(runs.values())).config.data, VIDEOS, CONTEXT, HORIZON)
    true = steps["obs"]["image"][:, CONTEXT:]
    last = np.repeat(steps["obs"]["image"][:, CONTEXT - 1 : CONTEXT], HORIZON, axis=1)
    middle = np.zeros_like(true[:, :, :1, :1])
    columns = np.array(SHOWN) - 1
    strips, lines = {"true": true[:VIDEOS_SHOWN, columns]}, []
    for name, run in runs.items():
        predicted = predictions(run, steps, seed)
        lines.append(row(f"{name}, {run.step:,} updates", *knows(predicted, true)))
        strips[name] = predicted[:VIDEOS_SHOWN, columns]
    lines.append(row("the last frame seen, for ever", *knows(last, true)))
    lines.append(row("the picture's middle", *knows(middle, true)))
    picture = results / "paper_pixels.png"
    draw_stills(picture, strips, np.array(SHOWN))
    write_text(results / "paper_pixels.md", page(lines, updates, seed))
    print(results / "paper_pixels.md")


def page(lines: Sequence[str], updates: Sequence[int], seed: int) -> str:
    """The page, as Markdown."""
    spans = [f"{first} to {last}" for first, last in SPANS]
    head = ["", *(f"colour, {s}" for s in spans), *(f"place, {s}" for s in spans)]
    given = " ".join(map(str, updates))
    return "\n".join(
        [
            "# A ball that keeps its colour, 32 x 32 pixels",
            "",
            f"    python -m benchmarks.paper --scale pixels --updates {given} --seed {seed}",
            "",
            f"{choose_device().name}; seed {seed}. {VIDEOS} held-out videos, {CONTEXT} frames "
            f"seen, {HORIZON} foreseen. Share of colours that are right (of eight), and how far "
            f"the ball is off, in px of {PIXELS}, over the frames named, counted from the context.",
            "",
            f"| {' | '.join(head)} |",
            "|---" * len(head) + "|",
            *lines,
            "",
            "![true, and foreseen](paper_pixels.png)",
            "",
            "The runs:",
            "",
            *(
                f"    python {' '.join(command(name, n, seed))}"
                for name, n in zip(SYSTEMS, updates, strict=True)
            ),
            "",
        ]
    )
