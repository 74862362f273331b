"""All commands in one: `clockwork train --env pure:pendulum` is `python train_agent.py --env …`.

`evaluate` and `analyse` accept the runs of agents and of video models, and detect which one it is.
"""

import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
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

  train       train an agent                      clockwork train --env minerl_navigate
              several seeds in one program        clockwork train --env pure:pendulum --seeds 0 1 2
  pretrain    train a world model on video        clockwork pretrain --data orbiting_ball
  evaluate    evaluate a trained run              clockwork evaluate --run RUN
  imagine     write an imagined rollout as video  clockwork imagine --run RUN --output out.mp4
  analyse     inspect what each clock holds       clockwork analyse --run RUN
  report      compare runs in one report          clockwork report RUN1 RUN2
  import      import external data into a store   clockwork import videos FOLDER STORE
  completion  TAB completion of commands and      source <(clockwork completion bash)
              flags in bash, zsh or fish"""

LOOKING = ("evaluate", "analyse", "imagine")  # commands that accept a run without --run
MODULES = {name: script.removesuffix(".py") for script, name in NAMES.items()}
BY_KIND = {  # modules by kind of run: an agent's, a video model's
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
        sys.exit(import_module("recordings.__main__").main(args, f"{COMMAND} import"))
    if name == "completion":
        print(import_module("clockwork.completion").script(" ".join(args)))
        return
    if name in BY_KIND and {"-h", "--help"} & {*args}:
        show_both(name)
        return
    start(name, *chosen(name, args))


def start(name: str, module: str, args: Sequence[str]) -> None:
    """Run the script behind a command."""
    sys.argv = [f"{COMMAND} {name}", *args]
    import_module(module).main()


def show_both(name: str) -> None:
    """Show the help of a command for both kinds of runs."""
    for module, what in zip(BY_KIND[name], ("an agent", "a video model"), strict=True):
        print(f"=== for the run of {what}: {COMMAND} {name} RUN [options]")
        with suppress(SystemExit):
            start(name, module, ["--help", "--eval"] if module == "train_agent" else ["--help"])


def chosen(name: str, args: Sequence[str]) -> tuple[str, list[str]]:
    """The module that implements a command, and its arguments.

    Raises:
      UserError: for an unknown command, or one that requires a run and was given none.
    """
    if name in LOOKING:
        args = with_flags(args)
    if name not in BY_KIND:
        if name in MODULES:
            return MODULES[name], list(args)
        known = [*MODULES, "import", "completion"]
        near = "".join(f"; did you mean {close}?" for close in get_close_matches(name, known, 1))
        raise UserError(f"command: expected one of {', '.join(known)}, received {name!r}{near}")
    agent, video = BY_KIND[name]
    if name == "evaluate":  # as `train_agent.py` calls it
        args = [_renamed(arg, "--eval", "--run") for arg in args]
    flags = [arg.partition("=")[0] for arg in args]
    if "--run" not in flags:
        raise UserError(
            f"{name}: expected the directory of a run, received none; name it first: "
            f"{shlex.join([COMMAND, name, 'RUN', *args])}"
        )
    at = flags.index("--run")
    run = args[at].partition("=")[2] or "".join(args[at + 1 : at + 2])
    if is_video_run(Path(run)):
        return video, list(args)
    eval_flag = "--eval" if name == "evaluate" else "--run"
    return agent, [_renamed(arg, "--run", eval_flag) for arg in args]


def with_flags(args: Sequence[str]) -> list[str]:
    """Arguments with --run before each run that stands alone, after no flag without a value."""
    given: list[str] = []
    for before, arg in zip(["", *args], args, strict=False):
        value = before.startswith("--") and "=" not in before
        given += [arg] if value or arg.startswith("-") else ["--run", arg]
    return given


def _renamed(arg: str, old: str, new: str) -> str:
    flag, equals, value = arg.partition("=")
    return new + equals + value if flag == old else arg


def run() -> None:
    """Entry point of `clockwork`."""
    enter(main)


if __name__ == "__main__":
    run()
