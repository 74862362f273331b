"""Model sizes: the widths that `--size` sets for agents and video models."""

from dataclasses import replace
from typing import Literal, NamedTuple, get_args

from agents import AgentConfig
from worldmodel import ClockworkConfig

AgentSize = Literal["debug", "xs", "s", "m", "l"]
Size = AgentSize | Literal["paper"]


class Widths(NamedTuple):
    """The widths that a size sets."""

    deter: int  # |h|
    hidden: int  # units of hidden layers
    embed: int  # units of the MLPs over frame embeddings
    stoch: int  # |z|
    conv_depth: int  # channels of the first convolution
    starts: int  # imagination starts per update


SIZES: dict[str, Widths] = {
    "debug": Widths(16, 16, 16, 4, 2, 32),
    "xs": Widths(64, 64, 64, 8, 4, 128),
    "s": Widths(128, 128, 128, 16, 8, 256),
    "m": Widths(512, 512, 512, 32, 32, 1024),
    "l": Widths(1024, 1024, 1024, 64, 64, 2048),
    "paper": Widths(200, 200, 1000, 20, 32, 0),  # CW-VAE appendix D and its code; no agent
}
AGENT_SIZES: tuple[str, ...] = get_args(AgentSize)


def larger(size: str, to: str, flags: str) -> str:
    """Suggestion to scale up from a size, for the first line of a new run; empty for models that
    are as wide as those of size ``to``, which ``flags`` select."""
    return f"; to scale up: {flags}" if SIZES[size].deter < SIZES[to].deter else ""


def resize_model(model: ClockworkConfig, size: str) -> ClockworkConfig:
    """Set the widths of a world model's settings to those of ``size``."""
    widths = SIZES[size]._asdict()
    del widths["starts"]
    return replace(model, **widths)


def resize(agent: AgentConfig, size: str) -> AgentConfig:
    """Set the widths of an agent's settings to those of ``size``, one of ``AGENT_SIZES``."""
    widths = SIZES[size]
    behaviour = replace(agent.behaviour, starts=widths.starts)
    return replace(agent, model=resize_model(agent.model, size), behaviour=behaviour)
