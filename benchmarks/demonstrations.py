"""Demonstrations of Navigate sparse in the builtin world: walks of its scripted player.

  python -m benchmarks.demonstrations STORE --walks 150 --length 1000

`recordings/demonstrations.py` describes their contents. If it is interrupted, running it again with
the same length and seed resumes it. To train on the demonstrations, use, for instance,
`train_agent.py --env minerl_navigate --env.options dense False --recordings STORE
--recordings-share 0.5`.
"""

import argparse
from pathlib import Path

from common.entry import enter
from common.images import SIZES
from configs.presets import resolve
from envs.config import NAVIGATE
from recordings.demonstrations import make_demonstrations


def main() -> None:
    """Command line."""
    size = resolve("auto", NAVIGATE, "auto", False, "float32").env.image_size
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("store", type=Path)
    parser.add_argument("--walks", type=int, default=150)
    parser.add_argument("--length", type=int, default=1_000, help="the agent's steps of each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--image-size", type=int, default=size, choices=SIZES, help="the agent's --env.image-size"
    )
    args = parser.parse_args()
    if min(args.walks, args.length) < 1:
        parser.error(f"expected 1 walk and step or more, received {args.walks}, {args.length}")
    print(make_demonstrations(args.store, args.walks, args.length, args.seed, args.image_size))


if __name__ == "__main__":
    enter(main)
