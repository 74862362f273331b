"""Your own videos: import a folder of them, and train a world model on it.

    python examples/own_videos.py my_videos
    clockwork pretrain --data my_videos/store --strides 1 4 --context 8 --length 24
    clockwork imagine RUN --output next.mp4 --video my_videos/videos/0.mp4

The first command writes a few example videos and imports them. `clockwork import videos` does the
same import from the shell, and `clockwork pretrain --data FOLDER` imports automatically.
"""

import sys
from pathlib import Path

import numpy as np

from configs.data import DataConfig
from recordings.data import open_train
from recordings.importers.images import Look
from recordings.importers.video_folder import VideoFolder
from recordings.run import ImportConfig, run_import
from training import write_video


def disc(seed: int, frames: int = 40, size: int = 48) -> np.ndarray:
    """A disc that circles around the centre: uint8 [T, H, W, 3]."""
    angle = seed + np.arange(frames) / 6
    centre = size / 2 + size / 4 * np.stack([np.cos(angle), np.sin(angle)], -1)
    y, x = np.mgrid[:size, :size]
    inside = (x - centre[:, :1, None]) ** 2 + (y - centre[:, 1:, None]) ** 2 < 40
    return np.repeat(255 * inside[..., None].astype(np.uint8), 3, -1)


def main(folder: Path) -> None:
    """Writes videos, imports them and prints what the store contains."""
    videos, store = folder / "videos", folder / "store"
    videos.mkdir(parents=True, exist_ok=True)
    for seed in range(10):
        write_video(videos / f"{seed}.mp4", disc(seed), fps=10)
    source = VideoFolder(videos, Look(size=32, fit="crop"))
    imported = run_import("videos", source, store, ImportConfig())  # resumes if interrupted
    print(f"episodes {imported.episodes}, held out {imported.held_out}")
    with open_train(DataConfig(name=str(store))) as opened:
        print(f"{opened.steps} frames to train on, {opened.fields['obs/image'].shape} each")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
