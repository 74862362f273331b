"""Show what a trained model imagines: real context, then a decoded future at the top clock.

  python imagine.py --run RUN

Writes a video (true above imagined; a red edge marks frames never seen) and, beside it, an npz with
the agent's predictions per tick. Read next: `worldmodel/openloop.py`.
"""

import sys

from common.entry import enter
from common.signals import importing

with importing():
    from analysis.imagine import ImagineConfig, imagine
    from configs.cli import Help, parse
    from training.device import enable_compilation_cache, in_float32


EXAMPLES = """Examples:
  {program} --run RUN
  {program} --run RUN --output out.gif --actions policy    imagine under the actor's actions
  {program} --run RUN --output out.mp4 --video my.mp4      continue your own video (video run)"""


@in_float32
def main() -> None:
    """Command line."""
    enable_compilation_cache(None)
    config = parse(ImagineConfig, sys.argv[1:], about=Help(examples=EXAMPLES))
    imagine(config)


if __name__ == "__main__":
    enter(main)
