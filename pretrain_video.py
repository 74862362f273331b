"""Train a world model on video, without an environment.

  python pretrain_video.py --data orbiting_ball

Uses the same update, store, logs and checkpoints as `train_agent.py`. Read next:
`training/loop.py`, the loop; `worldmodel/pretraining.py`, the loss;
`configs/video_presets.py`, the paper's settings.
"""

import sys

from common.entry import enter
from common.signals import importing

with importing():
    from configs.sizes import larger
    from configs.video_presets import parse_pretrain
    from training.build_video import kept_video_settings
    from training.commands import command, tensorboard
    from training.config_io import holds_run
    from training.device import (
        choose_device,
        enable_compilation_cache,
        in_float32,
        keep_freed_memory,
    )
    from training.hosts import join
    from training.loop import train
    from training.video_source import VideoSource


@in_float32
def main() -> None:
    """Command line."""
    enable_compilation_cache(None)
    keep_freed_memory()
    args = join(sys.argv[1:])
    device = choose_device()
    config = parse_pretrain(args, device.kind != "cpu", device.dtype, kept_video_settings)
    print(device.line)
    agents = config.preset == "agent"
    to, source = ("m", config.data.env) if agents else ("paper", config.like)
    hint = "" if holds_run(config.logdir) else larger(config.size, to, f"--size {to}")
    print(
        f"preset {config.preset} with the hyperparameters of {source}, strides "
        f"{config.model.strides}, size {config.size}, {config.steps:,} updates of {config.batch} "
        f"clips of {config.length} frames{hint}"
    )
    if train(config, VideoSource):
        print(f"evaluate: {command('evaluate_video.py', '--run', config.logdir)}")
        print(f"analyse:  {command('analyse_video.py', '--run', config.logdir)}")
        print(f"curves:   {tensorboard(config.logdir)}")


if __name__ == "__main__":
    enter(main)
