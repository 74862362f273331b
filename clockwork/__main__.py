"""All commands by one: `clockwork train --env pure:pendulum` is `python train_agent.py --env …`.

`evaluate` and `analyse` look into the run that they are given: an agent's, or a video model's.
"""

import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

from common import UserError
from common.entry import enter
from common.signals import importing

with importing():
    from training.build_video import is_video_run
    from training.commands import COMMAND, NAMES

USAGE = """usage: clockwork COMMAND [options]     clockwork COMMAND --help     clockwork --version

  train      an agent in an environment        clockwork train --env minerl_navigate
             several seeds as one program      clockwork train --env pure:pendulum --seeds 0 1 2
  pretrain   a world model on video            clockwork pretrain --data moving_digits
  evaluate   what a run has come to            clockwork evaluate --run RUN
  imagine    what it imagines, as a video      clockwork imagine --run RUN --output out.mp4
  analyse    what each clock holds, a report   clockwork analyse --run RUN
  import     data of others into a store       clockwork import videos FOLDER STORE"""

MODULES = {name: script.removesuffix(".py") for script, name in NAMES.items()}
BY_KIND = {  # of a run: an agent's, a video model's
    "evaluate": ("train_agent", "evaluate_video"),
    "analyse": ("analyse_agent", "analyse_video"),
}


def main() -> None:
    """Command line."""
    name, *args = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        print(USAGE)
        return
    if name == "--version":
        print(f"{COMMAND} {version('clockwork-world-model')}")
        return
    if name == "import":
        sys.exit(import_module("recordings.__main__").main(args))
    module, args = chosen(name, args)
    sys.argv = [f"{COMMAND} {name}", *args]
    import_module(module).main()


def chosen(name: str, args: Sequence[str]) -> tuple[str, list[str]]:
    """The module that does it, and its arguments.

    Raises:
      UserError: for a command that there is not, or one that looks into a run and is given none.
    """
    if name not in BY_KIND:
        if name in MODULES:
            return MODULES[name], list(args)
        known = [*MODULES, "import"]
        near = "".join(f"; did you mean {close}?" for close in get_close_matches(name, known, 1))
        raise UserError(f"command: expected one of {', '.join(known)}, received {name!r}{near}")
    agent, video = BY_KIND[name]
    if "--help" in args or "-h" in args:
        return (video if name == "evaluate" else agent), list(args)
    flags = [arg.partition("=")[0] for arg in args]
    if "--run" not in flags:
        raise UserError(f"{name}: expected --run RUN, the directory of a run, received none")
    at = flags.index("--run")
    run = args[at].partition("=")[2] or "".join(args[at + 1 : at + 2])
    if is_video_run(Path(run)):
        return video, list(args)
    eval_flag = "--eval" if name == "evaluate" else "--run"
    return agent, [*args[:at], args[at].replace("--run", eval_flag, 1), *args[at + 1 :]]


def run() -> None:
    """What `clockwork` runs."""
    enter(main)


if __name__ == "__main__":
    run()
