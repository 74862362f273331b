"""Model sizes: what `--size` sets. Parameters counted on Navigate with strides (1, 4)."""

from dataclasses import replace

from agents import AgentConfig
from configs.schema import Size

# name: (|h|, hidden and embedding units, |z|, first convolution's channels, imagination starts)
SIZES: dict[Size, tuple[int, int, int, int, int]] = {
    "debug": (16, 16, 4, 2, 32),
    "xs": (64, 64, 8, 4, 128),
    "s": (128, 128, 16, 8, 256),
    "m": (512, 512, 32, 32, 1024),
    "l": (1024, 1024, 64, 64, 2048),
}


def resize(agent: AgentConfig, size: Size) -> AgentConfig:
    """The agent's settings with the widths of ``size``."""
    deter, hidden, stoch, depth, starts = SIZES[size]
    model = replace(
        agent.model, deter=deter, hidden=hidden, embed=hidden, stoch=stoch, conv_depth=depth
    )
    behaviour = replace(agent.behaviour, hidden=hidden, starts=starts)
    return replace(agent, model=model, behaviour=behaviour)
