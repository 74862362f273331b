"""Settings of the environment and of the wrappers between it and the agent.

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
    """Environment: minerl_navigate, gym:ID (gym:CartPole-v1), dmc:DOMAIN_TASK (dmc:walker_walk),
    pure:NAME (pure:cartpole_swingup), gymnax:NAME (gymnax:CartPole-v1), navix:NAME
    (navix:Navix-MemoryS7-v0), or your own: FILE.py:Class or package.module:Class."""
    backend: Backend = "auto"
    """Navigate only: builtin, minerl, or auto (minerl if it is installed or its Python is given,
    else builtin)."""
    minerl_python: Annotated[MayChange[str | None], Before(None)] = None
    """Navigate only: path of a Python with minerl 0.4.4 or 1.0 installed, or of a script that
    passes its arguments to one (docs/minerl.md). None: the Python that runs this command."""
    num_envs: Count = 4
    """Environments stepped together."""
    workers: Annotated[MayChange[Workers | None], Before("sync")] = None
    """sync: step environments one after another in this process; async: each in its own process,
    where one that raises, dies or hangs is restarted; ray: the same on other machines
    (docs/scaling.md). None: async where a step takes 2 ms or more."""
    step_timeout: Annotated[MayChange[Positive], Before(300.0)] = 300.0
    """Async, ray and MineRL only: seconds that a step or a reset may take before the environment
    counts as hung."""
    action_repeat: Count = 1
    """Frames for which each action is held; their rewards are summed."""
    keys: Annotated[tuple[str, ...], Before(())] = ()
    """Observations to read, by name or pattern (`camera.*`); none given: all."""
    predict: Annotated[tuple[str, ...], Before(())] = ()
    """Of the observations read, those that the world model decodes, by name or pattern; none given:
    all."""
    image_size: ImageSize = SIZE
    """Pixels along each edge of an image: 32, 48, 64, 80, 96, 112 or 128."""
    image_fit: Annotated[Fit, Before("squeeze")] = FIT
    """How non-square images become square: squeezed whole (squeeze), padded with black bars (pad),
    or cropped to the middle square (crop)."""
    pixels: bool = False
    """dmc: and gym: only: observe the rendered image instead of the state."""
    time_limit: Count | None = None
    """Frames until an episode is truncated; None: the environment's own limit."""
    options: dict[str, str] = field(default_factory=dict)
    """Keyword options of the environment, such as `map_name 8x8`, which override those of the
    preset; 3, 0.5, True and None are parsed as Python values. Navigate's: `envs/options.py`."""
