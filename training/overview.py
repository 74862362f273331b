"""Overview of the interface between an environment and the agent, as rows: what is observed and
how, what is left out and why, the actions, the limits, the preset and why; for videos, what is
read. Printed when a run starts, stored in `spaces.json`, shown in the report.
"""

from collections.abc import Mapping
from typing import Any

import gymnasium

from agents.factors import factors
from configs.presets import of_environment
from configs.schema import TrainConfig
from envs.own import own_limit
from envs.spaces import chosen
from envs.wrappers import CanonicalObservation

Row = tuple[str, str]


def overview(env: gymnasium.Env[Any, Any], config: TrainConfig) -> tuple[Row, ...]:
    """Rows for an environment as the agent sees it (`envs.make_agent_env`)."""
    assert isinstance(env, CanonicalObservation)
    canonical = env.canonical
    decoded = chosen(canonical.parts, config.env.predict)
    rows = [
        (f"sees {name}", part.described + "; not decoded" * (name not in decoded))
        for name, (_, part) in canonical.parts.items()
    ]
    rows += [(f"leaves out {name}", why) for name, why in canonical.left_out.items()]
    rows += [("does", _actions(env.action_space)), ("limits", _limits(env, config))]
    why = "for this environment" if config.preset == of_environment(config.env.name) else "as asked"
    return (*rows, ("preset", f"{config.preset}, {why}; size {config.size}"))


def video_overview(shapes: Mapping[str, tuple[int, ...]], fitted: str) -> tuple[Row, ...]:
    """Rows for what a model sees of a data set, and how its images were fitted."""
    rows = []
    for name, shape in shapes.items():
        if len(shape) == 3:
            height, width, channels = shape
            rows.append(
                (f"sees {name}", f"picture, {height} x {width} pixels, channels: {channels}")
            )
        else:
            rows.append((f"sees {name}", f"vector, numbers: {shape[0]}"))
    return (*rows, ("images", fitted))


def lines(rows: tuple[Row, ...]) -> str:
    """The rows as text, one per line."""
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join(f"  {name:<{width}}  {text}" for name, text in rows)


def _actions(space: gymnasium.Space[Any]) -> str:
    """The numbers and choices that an action consists of."""
    parts = list(factors(space))
    numbers = sum(part.size for part in parts if not part.discrete)
    choices = [part.size for part in parts if part.discrete]
    said = [f"{numbers} number{'s' * (numbers > 1)}"] * (numbers > 0)
    if choices:
        sizes = ", ".join(map(str, choices)) if len(set(choices)) > 1 else str(choices[0])
        said.append(f"{len(choices)} choice{'s' * (len(choices) > 1)} of {sizes}")
    return " and ".join(said) or "nothing"


def _limits(env: gymnasium.Env[Any, Any], config: TrainConfig) -> str:
    """The maximum length of episodes, and how long an action is held."""
    frames = config.env.time_limit or own_limit(env)
    said = f"episodes of at most {frames:,} frames" if frames else "episodes without a known limit"
    held = config.env.action_repeat
    if held > 1:
        said += f", each action held for {held}"
    return f"{said}; evaluations cut short after {config.eval_steps:,} steps"
