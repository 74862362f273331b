"""Train a world model on video, without an environment.

  python pretrain_video.py --data moving_digits --preset cwvae

The same update, store, logs and checkpoints as `train_agent.py`. Read next:
`training/video_run.py`, the loop; `worldmodel/pretraining.py`, the loss;
`configs/video_presets.py`, the paper's settings.
"""

import sys

from configs.cli import fail
from configs.video_presets import parse_pretrain
from training.device import choose_device, enable_compilation_cache, keep_freed_memory
from training.video_run import train


def main() -> None:
    """Command line."""
    try:
        enable_compilation_cache(None)
        keep_freed_memory()
        device = choose_device()
        config = parse_pretrain(sys.argv[1:], device.kind != "cpu", device.dtype)
        print(device.line)
        print(
            f"preset {config.preset} like {config.like}, strides {config.model.strides}, size "
            f"{config.size}, {config.steps:,} updates of {config.batch} clips of {config.length} "
            "frames; more: --size paper"
        )
        train(config)
    except ValueError as error:
        fail(str(error))


if __name__ == "__main__":
    main()
