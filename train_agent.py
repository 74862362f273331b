"""Train an agent in an environment, or evaluate a trained one.

  python train_agent.py --env minerl_navigate
  python train_agent.py --env pure:pendulum --seeds 0 1 2 3 4
  python train_agent.py --eval RUN --episodes 20

Read next: `training/loop.py`, the loop; `agents/dreamer.py`, what it learns;
`configs/schema.py`, all settings.
"""

import sys

from common.entry import enter
from common.signals import importing

with importing():
    from analysis.agent.analyse import write_report
    from analysis.agent.evaluate import EvalConfig, evaluate
    from analysis.imagine import write_imagined
    from configs import parse_train
    from configs.cli import parse, take_seeds
    from configs.sizes import larger
    from envs import describe_backend, said_again
    from training.agent_source import AgentSource
    from training.build import kept_settings
    from training.commands import command, tensorboard
    from training.config_io import holds_run, seeds_in
    from training.device import (
        choose_device,
        enable_compilation_cache,
        in_float32,
        keep_freed_memory,
    )
    from training.hosts import alone, join, leave_others
    from training.loop import train
    from training.seeds import train_seeds


@in_float32
def main() -> None:
    """Command line."""
    enable_compilation_cache(None)
    keep_freed_memory()
    args = join(sys.argv[1:])
    if any(arg.partition("=")[0] == "--eval" for arg in args):
        alone("eval")
        evaluate(parse(EvalConfig, args))
        return
    device = choose_device()
    seeds, args = take_seeds(args)
    config = parse_train(args, device.kind != "cpu", device.dtype, kept_settings)
    print(f"{device.line}\n{describe_backend(config.env)}")
    new = not holds_run(config.logdir) and not seeds_in(config.logdir)
    hint = larger(config.size, "m", "--size m --steps 1000000") if new else ""
    print(f"size {config.size}, {config.steps:,} steps{hint}")
    if seeds:
        alone("seeds")
        ended = train_seeds(config, seeds)
    else:
        ended = [config.logdir] if train(config, AgentSource) and leave_others() else []
    for run in ended:
        write_imagined(run, config.env.name)
        if config.report:
            write_report(run, config.env)
        again = ("--eval", run, *said_again(config.env), "--episodes", 20)
        print(f"evaluate: {command('train_agent.py', *again)}")
    if len(ended) > 1:
        print(f"compare:  {command('compare_runs.py', config.logdir)}")
    if ended:
        print(f"curves:   {tensorboard(config.logdir)}")


if __name__ == "__main__":
    enter(main)
