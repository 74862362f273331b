"""The tasks with their bars, and the arms."""

from typing import Any, NamedTuple

from configs import TrainConfig, parse_train
from training.config_io import settings_of


class Task(NamedTuple):
    """An environment, by the flags that name it alone, and what a trained agent should reach."""

    flags: tuple[str, ...]
    bar: float
    of: str = "return"  # or "success", the share of episodes
    ppo: bool = True  # whether stable-baselines3's PPO can act in it


def _gym(name: str, bar: float, *options: str) -> Task:
    return Task(("--env", f"gym:{name}", *options), bar)


TASKS = {
    "gym:CartPole-v1": _gym("CartPole-v1", 475),
    "gym:FrozenLake-v1": _gym("FrozenLake-v1", 0.9, "--env.options", "is_slippery", "False"),
    "gym:Acrobot-v1": _gym("Acrobot-v1", -100),
    "gym:MountainCarContinuous-v0": _gym("MountainCarContinuous-v0", 90),
    "gym:LunarLander-v3": _gym("LunarLander-v3", 200),
    "gym:Pendulum-v1": _gym("Pendulum-v1", -200),
    "gym:MiniGrid-Empty-5x5-v0": _gym("MiniGrid-Empty-5x5-v0", 0.9),
    "gym:MiniGrid-DoorKey-5x5-v0": _gym("MiniGrid-DoorKey-5x5-v0", 0.9),
    "gym:MiniGrid-MemoryS7-v0": _gym("MiniGrid-MemoryS7-v0", 0.9),
    "dmc:cartpole_swingup": Task(("--env", "dmc:cartpole_swingup", "--steps", "50000"), 500),
    "minerl_navigate": Task(  # its actions are a Dict, which PPO does not take
        ("--env", "minerl_navigate", "--env.backend", "builtin"), 0.5, "success", ppo=False
    ),
}
"""Tasks by the name given to `--tasks`. FrozenLake is solved at 1, of which 0.9 is asked."""
ARMS = {"ours": (), "flat": ("--strides", "1"), "ppo": ()}
"""Flags of `train_agent.py` on top of a task's; `ppo` reads only the environment and the steps."""


def flags(task: str, arm: str) -> list[str]:
    """Flags of `train_agent.py`, without seed and directory."""
    return [*TASKS[task].flags, *ARMS[arm]]


def settings(task: str, arm: str) -> dict[str, Any]:
    """All settings that an arm has today on a CPU, by dotted name; of PPO, those that it reads."""
    return of_arm(arm, parse_train(flags(task, arm), False, "float32"))


def of_arm(arm: str, config: TrainConfig) -> dict[str, Any]:
    """Of a run's settings those that make its results, and not seed, directories and report."""
    found = settings_of(config)
    if arm == "ppo":
        return {name: found[name] for name in found if name == "steps" or name.startswith("env.")}
    return {name: found[name] for name in found if name not in {"seed", "logdir", "report"}}
