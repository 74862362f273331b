"""Test the claims of CW-VAE (Saxena, Ba and Hafner 2021, §3) against the papers' other systems.

  python -m benchmarks.paper --scale vectors                    frames that are vectors, five seeds
  python -m benchmarks.paper --scale vectors --stage report
  python -m benchmarks.paper --scale pixels --output runs/paper  a ball of 32 x 32 pixels
  python -m benchmarks.paper --scale cpu --output runs/paper    moving digits

On vectors, the results of each system are written to benchmarks/results/paper/ when it ends, and
existing results are not run again; then, or with `--stage report` alone, the page of all results is
written. On images, runs are kept under `--output` and resumed from there. Results and runs of other
settings than today's are refused, so that no page mixes the two.
"""

import argparse
from pathlib import Path

from benchmarks.paper import digits, pixels, vectors
from common.entry import enter
from configs.spelling import whole
from training.device import enable_compilation_cache

RESULTS = Path(__file__).resolve().parents[1] / "results"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scale", choices=("vectors", "pixels", *digits.SCALES), required=True)
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the page goes")
    parser.add_argument("--stage", choices=("run", "report"), default="run", help="of vectors")
    parser.add_argument("--cells", nargs="+", help="some of those of vectors, by name")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="starts nothing after")
    parser.add_argument("--output", type=Path, default=Path("runs/paper"), help="of images")
    parser.add_argument("--seed", type=whole, default=0, help="of images")
    parser.add_argument(
        "--updates",
        type=whole,
        nargs=len(pixels.SYSTEMS),
        default=(2_000,) * len(pixels.SYSTEMS),
        help="of pixels: " + ", ".join(pixels.SYSTEMS),
    )
    args = parser.parse_args()
    enable_compilation_cache(None)
    if args.scale == "pixels":
        pixels.compare(args.updates, args.seed, args.output, args.results)
        return
    if args.scale != "vectors":
        digits.compare(args.scale, args.seed, args.output, args.results)
        return
    if args.stage == "run":
        vectors.run_all(args.results, args.cells, args.minutes)
    vectors.report(args.results)


if __name__ == "__main__":
    enter(main)
