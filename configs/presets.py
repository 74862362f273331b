"""Resolve a preset, a size and a device to settings. One file per environment or data set."""

import difflib
from dataclasses import replace
from typing import Literal

from common import UserError
from configs import dmc, general, minerl_navigate
from configs.schema import TrainConfig
from configs.sizes import AGENT_SIZES, AgentSize, resize

PRESETS = {
    "dmc": dmc.preset,
    "dmc_pixels": dmc.pixels,
    "general": general.preset,
    "minerl_navigate": minerl_navigate.preset,
}
OF_ENVIRONMENT = {"dmc:": "dmc", "minerl_navigate": "minerl_navigate"}
"""Presets by name of an environment or a family of them; all others use the general preset."""
SIZE_ON_CPU: dict[str, AgentSize] = {"dmc_pixels": "s"}
"""Default model size on a CPU, by preset; xs for all others."""


def resolve(
    preset: str,
    env: str | None,
    size: str,
    accelerator: bool,
    dtype: Literal["float32", "bfloat16"],
) -> TrainConfig:
    """Settings before any flag overrides them.

    Args:
      preset: a name, or `auto` for the environment's own.
      env: environment's name; None for the default one.
      size: debug, xs, s, m, l, or `auto`: m on an accelerator; on a CPU, xs or the preset's entry
        in `SIZE_ON_CPU`.
      accelerator: whether there is an accelerator.
      dtype: precision of matrix products on the device.
    Raises:
      UserError: on an unknown preset or size.
    """
    base = TrainConfig()
    name = env or base.env.name
    chosen = of_environment(name) if preset == "auto" else preset
    if chosen not in PRESETS:
        raise UserError(unknown("preset", chosen, ["auto", *PRESETS]))
    if size not in ("auto", *AGENT_SIZES):
        raise UserError(unknown("size", size, ["auto", *AGENT_SIZES]))
    on_this: AgentSize = "m" if accelerator else SIZE_ON_CPU.get(chosen, "xs")
    picked: AgentSize = on_this if size == "auto" else size  # type: ignore[assignment]
    base = replace(base, preset=chosen, size=picked, env=replace(base.env, name=name))
    agent = resize(base.agent, picked)
    agent = replace(agent, model=replace(agent.model, dtype=dtype))
    return PRESETS[chosen](replace(base, agent=agent), accelerator)


def of_environment(name: str) -> str:
    """The preset for an environment, by its name."""
    family = f"{name.partition(':')[0]}:"
    return OF_ENVIRONMENT.get(name) or OF_ENVIRONMENT.get(family, "general")


def unknown(what: str, received: str, known: list[str]) -> str:
    """The error message for an unknown name."""
    close = difflib.get_close_matches(received, known, 1)
    hint = f"; did you mean {close[0]!r}?" if close else f"; set --{what} to one of them"
    return f"{what}: expected one of {', '.join(known)}, received {received!r}{hint}"
