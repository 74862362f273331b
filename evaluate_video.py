"""Evaluate how well, and for how long, world models predict video open loop from a few frames.

  python evaluate_video.py --run RUN [--run RUN2 …]

Writes a table (Markdown, JSON), curves over the prediction distance and stills (PNG), together with
the scores of uninformed predictions. Read next: `analysis/metrics/protocols.py`, what SSIM and PSNR
mean here; `analysis/video/predictions.py`, how predictions are computed.
"""

import sys

from common.entry import enter
from common.signals import importing

with importing():
    from analysis.video.evaluate import EvaluateVideoConfig, evaluate
    from configs.cli import Help, parse
    from training.commands import this_command
    from training.device import enable_compilation_cache, in_float32


EXAMPLES = """Examples:
  {program} --run RUN
  {program} --run RUN --run RUN2 --levels True"""


@in_float32
def main() -> None:
    """Command line."""
    enable_compilation_cache(None)
    config = parse(EvaluateVideoConfig, sys.argv[1:], about=Help(examples=EXAMPLES))
    evaluate(config, this_command())


if __name__ == "__main__":
    enter(main)
