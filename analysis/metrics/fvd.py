"""Fréchet video distance: how far apart two sets of videos are in a network's features.

Unterthiner et al. 2018. No package includes the network (I3D). The file in common use is
`i3d_torchscript.pt`, the TensorFlow-Hub I3D as a TorchScript archive: running it requires PyTorch,
and AN ARCHIVE CAN RUN CODE: use only a file from a source you trust. It is loaded only if the user
names it (--fvd-torchscript). Without it, no distance is computed under any name.
"""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from common import UserError

Features = Callable[[np.ndarray], np.ndarray]
"""Maps videos, uint8 [n, T, h, w, 3], to features [n, D], float."""

SHORTEST = 10
"""Minimum number of frames: with fewer, I3D's pooling leaves nothing."""


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Squared Fréchet distance between two Gaussians with the moments of two sets of features.

    d = |μa - μb|² + tr(Σa + Σb - 2 (Σa^½ Σb Σa^½)^½)      Dowson and Landau 1982

    Args:
      a, b: [n, D], n at least 2 (for n below D the covariances are singular and the distance is
        biased upwards: compare only sets of the same size).
    Raises:
      UserError: if a set has fewer rows, or the features differ in width.
    """
    a, b = (np.asarray(x, np.float64) for x in (a, b))
    if min(len(a), len(b)) < 2 or a.shape[1] != b.shape[1]:
        raise UserError(
            f"fvd: expected two sets of 2 or more videos with features of one width, received "
            f"{a.shape} and {b.shape}; raise --videos"
        )
    gap, (a, b) = a.mean(0) - b.mean(0), (_factor(x) for x in (a, b))
    cross = np.linalg.svd(b @ a.T, compute_uv=False).sum()
    return float(gap @ gap + np.square(a).sum() + np.square(b).sum() - 2 * cross)


def _factor(x: np.ndarray) -> np.ndarray:
    """R with Σ = Rᵀ R, [min(n, D), D]; then (Σa^½ Σb Σa^½)^½ has the singular values of Rb Raᵀ."""
    return np.asarray(np.linalg.qr((x - x.mean(0)) / (len(x) - 1) ** 0.5, mode="r"))


def load_torchscript(path: Path) -> Features:
    """Load the TorchScript I3D at ``path``, on a GPU if PyTorch has one.

    The archive can run code when it is loaded and used.

    Raises:
      UserError: if the file is missing, or PyTorch is not installed or cannot read the file.
    """
    if not Path(path).is_file():
        raise UserError(f"fvd: expected a TorchScript file, received {path}; check the path")
    try:
        torch = import_module("torch")  # not a dependency of this project
    except ImportError as error:
        raise UserError(
            "fvd: expected PyTorch to be installed, for --fvd-torchscript runs in it, received "
            f"{error}; pip install torch, or leave that flag out"
        ) from error
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        network = torch.jit.load(str(path), map_location=device).eval()
    except RuntimeError as error:
        raise UserError(
            f"fvd: expected a TorchScript archive, received {path}: {str(error).splitlines()[0]}; "
            "a plain state of weights is none"
        ) from error
    return lambda videos: _run(torch, network, device, videos)


def _run(torch: Any, network: Any, device: str, videos: np.ndarray) -> np.ndarray:
    """One batch: [n, T, h, w, 3] uint8 to [n, 400]; the archive does the resizing and rescaling."""
    with torch.no_grad():
        x = torch.from_numpy(np.ascontiguousarray(videos.transpose(0, 4, 1, 2, 3)))
        x = x.to(device).float()
        return np.asarray(network(x, rescale=True, resize=True, return_features=True).cpu())


def video_features(features: Features, videos: np.ndarray, batch: int = 4) -> np.ndarray:
    """Features of all videos, computed in batches; a single channel is repeated.

    Args:
      videos: uint8 [V, T, h, w, C], T at least ``SHORTEST``.
    Raises:
      UserError: if the videos are shorter, or have neither 1 nor 3 channels.
    """
    length, channels = videos.shape[1], videos.shape[-1]
    if length < SHORTEST or channels not in (1, 3):
        raise UserError(
            f"fvd: expected videos of {SHORTEST} frames or more and 1 or 3 channels, received "
            f"{length} and {channels}; raise --horizon, or leave out --fvd-torchscript"
        )
    if channels == 1:
        videos = np.broadcast_to(videos, (*videos.shape[:-1], 3))
    return np.concatenate([features(videos[i : i + batch]) for i in range(0, len(videos), batch)])
