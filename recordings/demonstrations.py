"""Demonstrations of Navigate sparse in the builtin world: walks of its scripted player.

Every record contains what the agent of `--env minerl_navigate --env.options dense False` would see,
the player's action in the agent's action space, and the reward: 100 when a goal is touched, after
which the next goal is 64 blocks away.
"""

from pathlib import Path

from common.images import SIZE
from configs.data import DataConfig
from envs.config import NAVIGATE
from recordings.data import fill, open_train, resized
from recordings.generators.navigate import NavigateWalks
from replay import first_steps


def make_demonstrations(
    store: Path, walks: int, length: int, seed: int, image_size: int = SIZE
) -> str:
    """Fill a store with walks of ``length`` of the agent's steps; an unfinished store is resumed.

    Args:
      image_size: the agent's image size.
    Returns:
      One line: the size of the store, and how often a goal was touched.
    """
    made = NavigateWalks(length, NAVIGATE, actions=True, dense=False)
    fill(store, lambda index: resized(made.video(index, seed), image_size), walks)
    with open_train(DataConfig(name=str(store), image_size=image_size)) as done:
        each = [first_steps(done, 1, length, skip=i)["factor/goals"][0, -1] for i in range(walks)]
    return f"{store}: {walks} walks of {length:,} steps, {sum(each)} goals touched"
