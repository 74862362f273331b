"""What each clock of a trained agent stores, and what it imagines: one report to look at.

  python analyse_agent.py --run RUN

Writes one HTML file, pictures inside, and its numbers as JSON beside it: how the run learned, an
episode with the KL of every level, value and window rewards drawn under its frames, and what if:
futures imagined at the top clock from one moment of it under several abstract actions, decoded.
Read next: `analysis/agent/trace.py` and `analysis/agent/what_if.py`;
`analysis/agent/episode.py`, which puts them together.
"""

import sys

from common.entry import enter
from common.signals import importing

with importing():
    from analysis.agent.analyse import analyse
    from analysis.agent.episode import AnalyseAgentConfig
    from configs.cli import Help, parse
    from training.commands import this_command
    from training.device import enable_compilation_cache, in_float32


EXAMPLES = """Examples:
  {program} --run RUN
  {program} --run RUN --episodes 3 --start 100 --output look.html"""


@in_float32
def main() -> None:
    """Command line."""
    enable_compilation_cache(None)
    config = parse(AnalyseAgentConfig, sys.argv[1:], about=Help(examples=EXAMPLES))
    output = analyse(config, this_command())
    print(f"report: {output}\nnumbers: {output.with_suffix('.json')}")


if __name__ == "__main__":
    enter(main)
