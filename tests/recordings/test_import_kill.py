"""SIGKILL at any moment of an import; the same command again ends in the same store."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recordings.__main__ import main
from recordings.episode import video_columns
from recordings.importers import stores
from recordings.ledger import read_summary

ROOT = str(Path(__file__).parents[2])
OPTIONS = ["--test-fraction", "0.4", "--chunk-steps", "4", "--max-frames", "20"]

# Runs the command and kills itself at the n-th call of a function of `os`.
FUSE = """
import os, signal, sys
name, count = sys.argv[1], int(sys.argv[2])
real = getattr(os, name)
def fused(*arguments, **options):
    global count
    count -= 1
    if count == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments, **options)
from recordings.__main__ import main
setattr(os, name, fused)
sys.exit(main(sys.argv[3:]))
"""


@pytest.fixture(scope="module")
def videos(tmp_path_factory, files):
    """Videos of one chunk to six, and one whose first pieces are taken back when its end is bad."""
    root = tmp_path_factory.mktemp("videos")
    for tag, steps in enumerate((3, 12, 24, 9, 5)):
        files.video(root / f"{tag}.mp4", files.frames(tag, steps))
    files.truncate(files.video(root / "2-bad.avi", files.frames(7, 90), "mpeg4"))
    return root


@pytest.fixture(scope="module")
def whole(videos, tmp_path_factory):
    """The store of an import that nothing interrupted, and its summary."""
    store = tmp_path_factory.mktemp("whole") / "store"
    assert main(["videos", str(videos), str(store), *OPTIONS]) == 0
    return store


def killed(videos, store, *fuse, after=None):
    """Runs the import in a process that dies: by a fuse, or so many seconds after it begins."""
    program = ["-c", FUSE, *map(str, fuse)] if fuse else ["-m", "recordings"]
    command = [sys.executable, *program, "videos", str(videos), str(store), *OPTIONS]
    environment = os.environ | {"PYTHONPATH": ROOT}
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        if after is not None:
            lock = store / "import.lock"  # which says who imports
            while process.poll() is None and not (
                lock.exists() and lock.read_text() == f"{process.pid}\n"
            ):
                time.sleep(0.002)
            time.sleep(after)
            process.send_signal(signal.SIGKILL)
    return process.returncode


def finish(videos, store, whole, files):
    """The same command again, to the end."""
    assert main(["videos", str(videos), str(store), *OPTIONS]) == 0
    files.same(store, whole)
    assert sum(len(files.episodes(store / split)) for split in ("train", "test")) == 6
    summaries = [json.loads((place / "import.json").read_text()) for place in (store, whole)]
    assert summaries[0] == summaries[1]
    left = {path.name for path in store.rglob("*") if path.name.startswith(".tmp")}
    assert not left and {path.name for path in store.iterdir()} == {
        *("train", "test", "import.json", "import.lock", "ledger.jsonl")
    }


@pytest.mark.parametrize(
    ("name", "count"),
    [("fsync", n) for n in (1, 4, 16)]
    + [("replace", n) for n in (2, 17)]
    + [("unlink", 1)]
    + [pytest.param("fsync", n, marks=pytest.mark.slow) for n in (2, 7, 11, 21)]
    + [pytest.param("replace", n, marks=pytest.mark.slow) for n in (1, 9)],
)
def test_kill_at_every_kind_of_write(tmp_path, videos, whole, files, name, count):
    """Also in the middle of taking a bad video's pieces back (unlink)."""
    assert killed(videos, tmp_path / "store", name, count) == -signal.SIGKILL
    finish(videos, tmp_path / "store", whole, files)


def test_kill_again_and_again_at_random(tmp_path, videos, whole, files):
    """First the early moments, which leave something to kill."""
    store, draw, landed = tmp_path / "store", random.Random(7), 0
    for moment in sorted(draw.uniform(0, 0.1) for _ in range(3)):
        code, summary = killed(videos, store, after=moment), read_summary(store) or {}
        landed += code == -signal.SIGKILL and not summary.get("complete")
    assert landed >= 2
    finish(videos, store, whole, files)


def test_killed_while_cleaning_up_after_a_kill(tmp_path, videos, whole, files):
    assert killed(videos, tmp_path / "store", "fsync", 14) == -signal.SIGKILL
    assert killed(videos, tmp_path / "store", "unlink", 1) == -signal.SIGKILL
    finish(videos, tmp_path / "store", whole, files)


def test_ctrl_c_leaves_no_half_episode(tmp_path, videos, whole, files, monkeypatch, capsys):
    """Stopped between two files of an episode; what is there is whole, and the rest follows."""
    real, calls = stores.append_video, 0

    def interrupted(store, video):
        nonlocal calls
        calls += 1
        if calls < 3:
            return real(store, video)
        columns = video_columns(video)
        for t in range(6):
            store.append(0, {key: x[t] for key, x in columns.items()}, last=False)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stores, "append_video", interrupted)
        with pytest.raises(KeyboardInterrupt):
            main(["videos", str(videos), str(tmp_path / "store"), *OPTIONS])
    assert "run the same command to resume" in capsys.readouterr().err
    for split in ("train", "test"):
        files.episodes(tmp_path / "store" / split)
    finish(videos, tmp_path / "store", whole, files)
