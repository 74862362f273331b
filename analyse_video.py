"""Report what each level of a trained world model stores.

  python analyse_video.py --run RUN [--run RUN2 …]

Writes one self-contained HTML file, and its numbers as JSON beside it: KL per level (CW-VAE Table
1), over the speed of the data if runs differ in it (Figure 8); what predictions still know of the
digits or the rooms (Figure 5a, 5b); and per run, the priors' entropy over the horizon (TALD Figure
10) and what is lost when each level in turn is left blind (CW-VAE Figure 7, TALD Figure 11). Read
next: `analysis/video/inspection.py`, what a blind level is; `findings.py` beside it, what is
analysed for which data.
"""

import sys

from common.entry import enter
from common.signals import importing

with importing():
    from analysis.video.analyse import analyse
    from analysis.video.findings import AnalyseVideoConfig
    from configs.cli import Help, parse
    from training.commands import this_command
    from training.device import enable_compilation_cache, in_float32


EXAMPLES = """Examples:
  {program} --run RUN
  {program} --run RUN --run RUN2"""


@in_float32
def main() -> None:
    """Command line."""
    enable_compilation_cache(None)
    config = parse(AnalyseVideoConfig, sys.argv[1:], about=Help(examples=EXAMPLES))
    analyse(config, this_command())


if __name__ == "__main__":
    enter(main)
