"""Tasks of the trial, and the returns that normalise their scores. docs/protocol.md."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from configs.schema import WINDOWS

EVALUATIONS = 12  # per run, evenly spaced
SIZE = ("--preset", "general", "--size", "xs", "--agent.novelty", "0")
STARTS = 16  # episodes of an evaluation, always from the same starts


@dataclass(frozen=True)
class Task:
    """One task, the same for every arm."""

    env: str
    frames: int  # an evaluation follows each twelfth, which is whole rounds in every arm
    updates: int
    random: float  # return of random actions, of 64 episodes; fixed before the first test run
    good: float  # return of a good agent, fixed before the first test run
    length: int = 32  # environment steps per sequence
    batch: int = 8  # sequences per update
    envs: int = 5
    prefill: int = 1_000  # frames
    half_life: float = 4.0  # of the gates, frames
    memory: bool = False

    @property
    def name(self) -> str:
        """Its name in file names."""
        return self.env.replace(":", "-")

    def command(self, held: int, stride: int = 1) -> list[str]:
        """Flags of `train_agent.py` shared by all arms, for steps of ``held`` frames and a clock of
        ``stride`` steps. Sequences of fewer than ``WINDOWS`` windows are lengthened
        (`TrainConfig.sequence`), so there are fewer of them: an update reads as many frames."""
        whole = max(self.length, WINDOWS * stride)
        every = self.frames // held // EVALUATIONS
        numbers = {
            "--length": max(8, self.length // held),
            "--batch": self.batch * self.length // whole,
            "--env.num-envs": self.envs,
            "--prefill": self.prefill // held,
            "--eval-every": every,
            "--log-every": every,
            "--save-every": every,
            "--video-every": 0,
        }
        given = [text for flag, value in numbers.items() for text in (flag, str(value))]
        shared = [*SIZE, "--eval-episodes", str(STARTS), "--keep", "1", "--report", "False"]
        return ["--env", self.env, *shared, *given]

    def normalised(self, score: np.ndarray) -> np.ndarray:
        """Normalise scores: 0 for random actions, 1 for a good agent."""
        return (score - self.random) / (self.good - self.random)


TUNING = (
    Task("pure:pendulum", 12_000, 2_000, random=-1245.0, good=-150.0),
    Task("pure:cartpole_swingup", 12_000, 2_000, random=37.0, good=850.0),
)
MEMORY: dict[str, Any] = {"memory": True, "half_life": 32.0}
TEST = (
    Task("pure:cartpole_swingup_sparse", 20_160, 2_000, random=0.0, good=800.0),
    Task("pure:reacher", 12_000, 1_200, random=54.0, good=950.0),
    Task("gymnax:Acrobot-v1", 20_160, 2_000, random=-492.0, good=-80.0),
    Task("gymnax:CartPole-v1", 12_000, 1_200, random=24.0, good=500.0),
    Task("navix:Navix-MemoryS7-v0", 20_160, 1_500, random=0.16, good=0.95, length=64, **MEMORY),
    Task("navix:Navix-MemoryS11-v0", 20_160, 1_500, random=0.27, good=0.95, length=64, **MEMORY),
    Task(
        "pure:two_rooms_door",
        *(48_000, 2_400),
        random=0.0,
        good=95.0,
        length=192,
        batch=4,
        envs=20,
        prefill=3_840,
        **MEMORY,
    ),
)
