"""What a tracker is told, by one that is called like them; and by wandb itself, offline."""

import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from common import UserError
from configs import parse_train
from training import read_metrics
from training.logger import RunLogger
from training.loop import train
from training.trackers import Remote, name_of, open_trackers

FRAMES = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.full((3, 16, 16, 3), 100, np.uint8)


class Module:
    """Stands for `wandb` or `trackio`: notes what it is called with."""

    def __init__(self) -> None:
        self.__name__ = "wandb"
        self.begun: list[dict[str, Any]] = []
        self.logged: list[tuple[int, dict[str, Any]]] = []
        self.ended = 0

    def init(self, **told: Any) -> Any:
        self.begun.append(told)
        return SimpleNamespace(log=self.log, finish=self.finish)

    def log(self, values: dict[str, Any], step: int) -> None:
        self.logged.append((step, values))

    def finish(self) -> None:
        self.ended += 1

    def Video(self, path: str, format: str) -> Any:
        with Image.open(path) as image:
            return format, image.n_frames  # type: ignore[attr-defined]


def test_it_is_told_settings_numbers_and_videos_once(tmp_path: Path) -> None:
    module = Module()
    remote = Remote(module, tmp_path / "my run", {"batch": 3}, {"dir": "x"})
    with RunLogger(tmp_path / "my run", settings={"batch": 3}, trackers=[remote]) as logger:
        logger.scalars(10, {"eval/return": np.float32(2.5)})
        logger.video(20, "episode", FRAMES, fps=10)
    assert module.logged == [(10, {"eval/return": 2.5}), (20, {"episode": ("gif", 3)})]
    (begun,) = module.begun
    assert begun["config"] == {"batch": 3} and begun["dir"] == "x" and begun["resume"] == "allow"
    assert begun["name"].startswith("my run-") and module.ended == 1


def test_a_run_that_goes_on_keeps_its_name_and_others_have_their_own(tmp_path: Path) -> None:
    for place in ("a", "b"):
        (tmp_path / place / "seed_0").mkdir(parents=True)
    first, other = (name_of(tmp_path / place / "seed_0") for place in ("a", "b"))
    assert first == name_of(tmp_path / "a" / "seed_0") and first != other


def test_all_are_closed_though_one_fails(tmp_path: Path) -> None:
    module = Module()
    broken = SimpleNamespace(close=lambda: 1 / 0)
    logger = RunLogger(tmp_path, trackers=[Remote(module, tmp_path, {}, {}), broken])
    with pytest.raises(ZeroDivisionError):
        logger.close()
    assert module.ended == 1


def test_one_that_is_not_installed_is_told(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(__import__("sys").modules, "trackio", None)
    with pytest.raises(UserError, match=r"track: expected trackio, .*clockwork-world-model\[tr"):
        open_trackers(["trackio"], tmp_path, {})


def test_one_that_is_not_installed_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "trackio", None)
    flags = ["--env", "pure:pendulum", "--track", "trackio", "--logdir", str(tmp_path / "run")]
    with pytest.raises(UserError, match="track: expected trackio"):
        train(parse_train(flags, False, "float32"), pytest.fail)
    assert not (tmp_path / "run").exists()


def test_one_that_fails_is_told_of_once_and_the_run_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route")

    module = Module()
    module.log = module.finish = fail  # type: ignore[method-assign]
    with RunLogger(tmp_path, trackers=[Remote(module, tmp_path, {}, {})]) as logger:
        for step in (10, 20):
            logger.scalars(step, {"a": 1})
        logger.video(20, "episode", FRAMES, fps=10)
    assert [row["step"] for row in read_metrics(tmp_path)] == [10, 20]
    assert capsys.readouterr().err.count("wandb failed (ConnectionError: no route") == 1


def test_wandb_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an account and a network: the extra alone is needed."""
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    run = tmp_path / "run"
    with RunLogger(run, settings={"a": 1}, trackers=open_trackers(["wandb"], run, {"a": 1})) as log:
        log.scalars(1, {"eval/return": 1.0})
        log.video(2, "episode", FRAMES, fps=10)
    (written,) = (run / "wandb").glob("offline-run-*/run-*.wandb")
    assert name_of(run) in written.name
    assert list(written.parent.glob("files/media/videos/*.gif"))
    deadline = time.monotonic() + 20  # a process of wandb's own writes it
    while os.path.getsize(written) < 500 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert os.path.getsize(written) >= 500
