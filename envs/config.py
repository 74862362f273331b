"""Which environment, and what stands between it and the agent: the settings.

Read next: `registry.py`, from a name to an environment; `vector.py`, what the agent steps.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro

from common import Before, Count, MayChange, Positive
from common.images import FIT, SIZE, Fit, ImageSize

Workers = Literal["sync", "async", "ray"]
Backend = Literal["auto", "builtin", "minerl"]
NAVIGATE = "minerl_navigate"


@dataclass(frozen=True)
class EnvConfig:
    """Which environment, and what stands between it and the agent."""

    name: Annotated[str, tyro.conf.arg(aliases=("--env",))] = NAVIGATE
    """minerl_navigate, gym:ID (gym:CartPole-v1), dmc:DOMAIN_TASK (dmc:walker_walk), pure:NAME
    (pure:cartpole_swingup), gymnax:NAME (gymnax:CartPole-v1), navix:NAME
    (navix:Navix-MemoryS7-v0), or your own: FILE.py:Class or package.module:Class."""
    backend: Backend = "auto"
    """Navigate only: auto (minerl where it is installed or its Python is given, else builtin),
    builtin or minerl."""
    minerl_python: Annotated[MayChange[str | None], Before(None)] = None
    """Navigate only: path of a Python, or of a script that hands its arguments to one, in which
    minerl 0.4.4 or 1.0 is installed (docs/minerl.md). None: this Python."""
    num_envs: Count = 4
    """Environments stepped together."""
    workers: Annotated[MayChange[Workers | None], Before("sync")] = None
    """sync: they step one after another in this process; async: each in one of its own, where one
    that raises, dies or hangs is started again; ray: the same on other machines (docs/scaling.md).
    None: async where a step takes 2 ms or more."""
    step_timeout: Annotated[MayChange[Positive], Before(300.0)] = 300.0
    """Async, ray and MineRL only: seconds that a step or a reset may take; what takes longer
    hangs."""
    action_repeat: Count = 1
    """Frames for which each action is held; their rewards are summed."""
    keys: Annotated[tuple[str, ...], Before(())] = ()
    """Observations that are read, by name or pattern (`camera.*`); none given: all."""
    predict: Annotated[tuple[str, ...], Before(())] = ()
    """Of those the ones that the world model decodes, by name or pattern; none given: all."""
    image_size: ImageSize = SIZE
    """Pixels along one edge of every image: 32, 48, 64, 80, 96, 112 or 128."""
    image_fit: Annotated[Fit, Before("squeeze")] = FIT
    """Images that are no square: the whole squeezed, the whole between black bars (pad), or their
    middle square (crop)."""
    pixels: bool = False
    """dmc: and gym: only: observe the picture that the environment draws instead of its state."""
    time_limit: Count | None = None
    """Frames until an episode is truncated; None: the environment's own limit."""
    options: dict[str, str] = field(default_factory=dict)
    """Keyword options of the environment, such as `map_name 8x8`, over those of the preset; 3, 0.5,
    True, None are read as such. Navigate's: `envs/options.py`."""
