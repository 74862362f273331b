"""Arms of the trial and its tuning grid, as flags of `train_agent.py`. docs/protocol.md."""

from typing import NamedTuple

from benchmarks.trial.tasks import Task

DISCOUNT, LAM, NOISE = 0.99, 0.95, 0.75  # per environment step, as in the general preset


class Setting(NamedTuple):
    """One point of the tuning grid, which is the same for every arm; in environment steps."""

    horizon: int
    entropy: float

    @property
    def name(self) -> str:
        """Its name in file names."""
        return f"h{self.horizon}-e{self.entropy:g}"


GRID = (Setting(16, 0.3), Setting(32, 0.3))


class Arm(NamedTuple):
    """One arm: its letter, and the number of steps of its clock, plan or held action."""

    letter: str
    steps: int

    @property
    def name(self) -> str:
        """Its name in tables."""
        return self.letter if self.letter in "AB" else f"{self.letter}{self.steps}"

    @property
    def held(self) -> int:
        """Frames per step of the agent."""
        return self.steps if self.letter == "C" else 1

    @property
    def stride(self) -> int:
        """Steps per tick of the top level."""
        return self.steps if self.letter in "EF" else 1


TUNED = (Arm("A", 1), Arm("B", 1), Arm("C", 4), Arm("D", 4), Arm("E", 4), Arm("F", 4))
ARMS = (*TUNED, Arm("E", 2), Arm("E", 8))


def tuned_as(arm: Arm) -> Arm:
    """The arm whose tuned setting this arm uses: each letter is tuned once, at its first stride."""
    return next(other for other in TUNED if other.letter == arm.letter)


def flags(arm: Arm, setting: Setting, task: Task) -> list[str]:
    """Flags that define this arm on a task, in addition to the task's own flags."""
    held = arm.held
    strides = {"E": ("1", str(arm.steps)), "F": ("1", str(arm.steps)), "B": ("1", "1")}
    numbers = {
        "--horizon": max(1, setting.horizon // held),
        "--agent.model.half-life": task.half_life / held,
        "--agent.behaviour.entropy-target": setting.entropy,
        "--agent.behaviour.discount": DISCOUNT**held,
        "--agent.behaviour.lam": LAM**held,
        "--agent.noise-correlation": NOISE**held,
        "--env.action-repeat": held,
        "--steps": task.frames // held,
        "--updates-per-step": task.updates * held / task.frames,
    }
    if arm.letter == "D":
        numbers["--agent.plan"] = arm.steps
    if task.memory and arm.letter != "F":
        numbers["--agent.recent-decoder"] = 1.0
    extra = ["--agent.newest", "False"] if arm.letter == "F" else []
    given = [text for flag, value in numbers.items() for text in (flag, f"{value:.8g}")]
    return ["--strides", *strides.get(arm.letter, ("1",)), *given, *extra]
