"""Report what each clock of a trained agent stores, and what the agent imagines.

  python analyse_agent.py --run RUN

Writes one self-contained HTML file, and its numbers as JSON beside it: learning curves; an episode
with the KL of every level, values and window rewards drawn below its frames; and a what-if section,
with decoded futures imagined at the top clock from one moment of the episode under several abstract
actions. Read next: `analysis/agent/trace.py` and `analysis/agent/what_if.py`;
`analysis/agent/episode.py`, which combines them.
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
