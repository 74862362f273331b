"""The suite's tasks: how each is run, and published results on it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """One group of rows in the table."""

    flags: tuple[str, ...]  # of `train_agent.py`, on top of the environment's preset
    published: str = ""  # results of others, with their source
    pure: bool = False  # whole runs are compiled, all seeds in one program


DREAMER = "DreamerV3, published mean over 5 seeds at 100 000 frames: "


def overridden(*flags: str) -> tuple[str, ...]:
    """Flags with their values, without those that are given again later."""
    found: dict[str, tuple[str, ...]] = {}
    name = ""
    for word in flags:
        if word.startswith("--"):
            name = word
            found[name] = ()
        found[name] = (*found[name], word)
    return tuple(word for words in found.values() for word in words)


def _pure(name: str, steps: int, length: int, *more: str, published: str = "") -> Task:
    """Rounds of 5 environments and one small update, so that five seeds take minutes on a CPU."""
    size = ("--size", "xs", "--batch", "8", "--length", str(length), "--steps", str(steps))
    rounds = ("--env.num-envs", "5", "--updates-per-step", "0.2", "--eval-episodes", "16")
    flags = overridden("--env", f"pure:{name}", *size, *rounds, *more)
    return Task(flags, published, pure=True)


def _gym(name: str, *more: str) -> Task:
    """A task with the general preset: only the environment is specified."""
    return Task(("--env", f"gym:{name}", *more))


def _dmc(name: str, score: int, *more: str) -> Task:
    """100 000 frames of DeepMind Control: 50 000 steps of two frames."""
    flags = ("--env", f"dmc:{name}", "--steps", "50000", *more)
    return Task(flags, f"{DREAMER}{score}" if score else "")


# cells that retain their contents, and a cue that is worth encoding (adr 10),
# also in the window's sum (adr 18)
MEMORY = (
    *("--env.num-envs", "20", "--updates-per-step", "0.1"),
    *("--agent.model.half-life", "32", "--agent.model.vector-std", "0.3"),
    *("--agent.recent-decoder", "1"),
)
SPARSE = ("--env", "minerl_navigate", "--env.backend", "builtin", "--env.options", "dense", "False")
TASKS = {
    "pure:pendulum": _pure("pendulum", 12_000, 32),
    "pure:cartpole_swingup": _pure(
        "cartpole_swingup", 12_000, 32, published=f"{DREAMER}528 (dm_control)"
    ),
    "pure:two_rooms": _pure("two_rooms", 40_000, 128, *MEMORY),
    "pure:two_rooms_door": _pure(  # an episode of random actions per environment: the door opens
        *("two_rooms_door", 80_000, 192, *MEMORY),
        *("--updates-per-step", "0.05", "--prefill", "3840"),
    ),
    "gym:Pendulum-v1": Task(("--env", "gym:Pendulum-v1", "--steps", "12000")),
    "gym:CartPole-v1": _gym("CartPole-v1"),
    "gym:FrozenLake-v1": _gym("FrozenLake-v1", "--env.options", "is_slippery", "False"),
    "gym:Acrobot-v1": _gym("Acrobot-v1"),
    "gym:MountainCarContinuous-v0": _gym("MountainCarContinuous-v0"),
    "gym:LunarLander-v3": _gym("LunarLander-v3"),
    "gym:MiniGrid-Empty-5x5-v0": _gym("MiniGrid-Empty-5x5-v0"),
    "gym:MiniGrid-DoorKey-5x5-v0": _gym("MiniGrid-DoorKey-5x5-v0"),
    "gym:MiniGrid-MemoryS7-v0": _gym("MiniGrid-MemoryS7-v0"),
    "dmc:cartpole_swingup": _dmc("cartpole_swingup", 528),
    "dmc:ball_in_cup_catch": _dmc("ball_in_cup_catch", 730),
    "dmc:walker_walk": _dmc("walker_walk", 475),
    "dmc:cheetah_run": _dmc("cheetah_run", 283),
    "dmc:reacher_easy": _dmc("reacher_easy", 693),
    "dmc:finger_spin": _dmc("finger_spin", 766),
    "dmc:walker_walk:pixels": _dmc("walker_walk", 0, "--preset", "dmc_pixels"),
    "dmc:cartpole_swingup:pixels": _dmc("cartpole_swingup", 0, "--preset", "dmc_pixels"),
    "navigate:dense": Task(("--env", "minerl_navigate", "--env.backend", "builtin")),
    "navigate:sparse": Task(SPARSE),
    "navigate:sparse:near": Task(  # random walks occasionally reach a goal 16 blocks away
        (*SPARSE, "goal_distance", "16", "--env.time-limit", "1500")
    ),
}
"""Tasks by the name given to `--tasks`."""
