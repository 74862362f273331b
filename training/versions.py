"""Provenance of a run: versions of the libraries, the commit of this code, the device."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from training.device import choose_device

PACKAGES = (
    "clockwork-world-model",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "gymnasium",
    "numpy",
    "dm-control",
    "gymnax",
    "minerl",
    "navix",
)


def versions() -> dict[str, str | None]:
    """Versions by name, including "git" (the commit) and "device"; None if not installed."""
    return {
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "git": git_commit(Path(__file__).parents[1]),
        "system": platform.platform(),
        "device": choose_device().name,
    }


def git_commit(root: Path) -> str | None:
    """The commit that `root` is at, with "+changes" if files differ; None outside a checkout."""
    if not (root / ".git").exists():
        return None
    commit, changes = _git(root, "rev-parse", "HEAD"), _git(root, "status", "--porcelain")
    return commit and commit + ("+changes" if changes else "")


def _git(root: Path, *arguments: str) -> str | None:
    """Git's output; None if git is missing, slow or fails (e.g. before a first commit)."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
