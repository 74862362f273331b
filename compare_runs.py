"""Compare runs of agents or of video models in one report.

  python compare_runs.py RUN1 RUN2 …

Runs that differ only in their seed form one arm, drawn with its interval over seeds; a directory of
`--seeds` stands for all of its runs. Read next: `analysis/arms.py`, what an arm is;
`analysis/comparison.py`, the report.
"""

import sys

from common.entry import enter
from common.signals import importing

with importing():
    from analysis.comparison import CompareConfig, compare
    from configs.cli import Help, parse
    from training.commands import this_command

EXAMPLES = """Examples:
  {program} runs/flat runs/clockwork
  {program} runs/a_seed0 runs/a_seed1 runs/b_seed0 runs/b_seed1 --output a_b.html"""


def main() -> None:
    """Command line."""
    config = parse(CompareConfig, sys.argv[1:], about=Help(examples=EXAMPLES))
    print(f"report: {compare(config, this_command())}")


if __name__ == "__main__":
    enter(main)
