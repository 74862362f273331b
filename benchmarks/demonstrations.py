"""Demonstrations of Navigate sparse in the builtin world: walks of its scripted player.

  python -m benchmarks.demonstrations STORE --walks 150 --length 1000

Every record holds what the agent of `--env minerl_navigate --env.dense False` would see, the
player's action in the agent's own actions, and the reward: 100 where a goal is touched, after which
the next one lies 64 blocks on. Killed and run again with the
same length and seed, it goes on. Then, for instance,
`train_agent.py --env minerl_navigate --env.dense False --recordings STORE --video-ratio 0.5`.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from configs.data import DataConfig
from configs.presets import resolve
from envs.navigate.videos import NavigateVideos
from envs.registry import NAVIGATE
from recordings.data import demonstration, fill, open_train
from replay import first_steps


def make(store: Path, walks: int, length: int, seed: int) -> str:
    """Fills the store; returns how often a goal was touched, in one line."""
    preset = resolve("auto", NAVIGATE, "auto", False, "float32")
    made = NavigateVideos(replace(preset.env, backend="builtin", dense=False), length)
    fill(store, lambda index: demonstration(made, preset.agent.actions, index, seed), walks)
    with open_train(DataConfig(name=str(store))) as done:
        each = [first_steps(done, 1, length, skip=i)["factor/goals"][0, -1] for i in range(walks)]
    return f"{store}: {walks} walks of {length:,} steps, {sum(each)} goals touched"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("store", type=Path)
    parser.add_argument("--walks", type=int, default=150)
    parser.add_argument("--length", type=int, default=1_000, help="the agent's steps of each")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if min(args.walks, args.length) < 1:
        parser.error(f"expected 1 walk and step or more, received {args.walks}, {args.length}")
    print(make(args.store, args.walks, args.length, args.seed))


if __name__ == "__main__":
    main()
