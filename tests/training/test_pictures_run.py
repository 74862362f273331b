"""An agent of pictures that are neither square nor of 64 pixels, which alone it decodes, to its
report: what `test_commands.py` shows of another, and of video `test_pretrain_video.py` at 32."""

import contextlib
import io
import json
from typing import Any

import av
import numpy as np
import pytest
from processes import run_here

from analysis.imagine import ImagineConfig, imagine, write_imagined
from common import EnvironmentFailed
from training import read_metrics
from training.build import load_run
from training.spaces import read_spaces
from training.video import LINE

pytestmark = pytest.mark.slow

WALK = '''
import os

import gymnasium
import numpy as np
from gymnasium import spaces


class Walk(gymnasium.Env):
    """A bright column moves; an episode is twelve steps long."""

    now = 0
    observation_space = spaces.Dict(
        {
            "camera": spaces.Box(0, 255, (24, 40, 3), np.uint8),
            "speed": spaces.Box(-1, 1, (2,), np.float32),
            "mission": spaces.Text(9),
        }
    )
    action_space = spaces.Discrete(3)

    def __init__(self):
        if Walk.now and "ALONE" in os.environ:
            raise OSError("the port is taken")
        Walk.now += 1

    def close(self):
        Walk.now -= 1

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time, self.place = 0, int(self.np_random.integers(40))
        return self.seen(0), {}

    def step(self, action):
        self.time, self.place = self.time + 1, (self.place + int(action) - 1) % 40
        return self.seen(int(action) - 1), float(self.place < 20), False, self.time == 12, {}

    def seen(self, speed):
        camera = np.zeros((24, 40, 3), np.uint8)
        camera[:, self.place] = 255
        return {"camera": camera, "speed": np.full(2, speed, np.float32), "mission": "walk"}
'''


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, str]:
    """Such a run, and what its command printed."""
    folder = tmp_path_factory.mktemp("walk")
    (folder / "walk.py").write_text(WALK)
    flags = ["--env", f"{folder / 'walk.py'}:Walk", "--size", "debug", "--strides", "1,2"]
    flags += ["--env.image-size", "32", "--env.image-fit", "pad", "--env.predict", "cam*"]
    flags += ["--env.num-envs", "2", "--batch", "2", "--length", "16", "--steps", "60"]
    flags += ["--prefill", "40", "--eval-every", "0", "--eval-episodes", "1", "--log-every", "10"]
    flags += ["--video-every", "50", "--logdir", str(folder / "run")]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        run_here("train_agent.py", *flags)
    return folder / "run", printed.getvalue()


def test_it_is_said_at_the_start_and_in_the_report(walked):
    run, printed = walked[0], " ".join(walked[1].split())
    said = "picture, 24 x 40 pixels, channels: 3, padded to a square with black bars, resized to 32"
    assert f"sees camera {said}" in printed
    assert "sees speed vector, numbers: 2; not decoded" in printed
    assert said in (run / "report.html").read_text()
    assert read_spaces(run).shapes == {"camera": (32, 32, 3), "speed": (2,)}
    settings = json.loads((run / "config.json").read_text())["env"]
    assert (settings["image_size"], settings["image_fit"]) == (32, "pad")
    assert settings["predict"] == ["cam*"]


def test_only_what_is_predicted_is_learned_and_drawn(walked):
    run, _ = walked
    rows = read_metrics(run / "metrics.jsonl")
    names = set().union(*rows)
    assert "nll/camera" in names and "nll/speed" not in names
    built, params, _ = load_run(run, acts=False)
    assert set(params["model"]["decoder"]["parts"]) == {"camera"}
    assert set(params["model"]["encoder"]["parts"]) == {"camera", "speed"}
    assert built.agent.newest.mlp.output.kernel.shape[-1] == 16 * 16 * 3
    labels = {"episode.mp4": 2 * LINE, "imagined.mp4": LINE}
    for name, height in (("episode.mp4", 4 * 32), ("imagined.mp4", 2 * 2 * 32)):
        height += labels[name]
        with av.open(str(run / name)) as video:
            assert next(video.decode(video=0)).height == height


def test_its_run_is_read_by_itself(walked, tmp_path):
    run, _ = walked
    output = tmp_path / "out.gif"
    env = json.loads((run / "config.json").read_text())["env"]["name"]
    imagine(ImagineConfig(run=run, output=output, context=4, ticks=2, worlds=2, env=env))
    assert output.stat().st_size > 0
    assert np.isfinite(np.load(output.with_suffix(".npz"))["value"]).all()


def test_of_an_environment_of_which_one_can_be_open_one_is_imagined(
    walked, tmp_path, monkeypatch, capsys
):
    run, _ = walked
    monkeypatch.setenv("ALONE", "1")
    env = json.loads((run / "config.json").read_text())["env"]["name"]
    imagine(ImagineConfig(run=run, output=tmp_path / "out.gif", context=4, ticks=2, env=env))
    assert "trying again with one environment" in capsys.readouterr().out
    assert np.load(tmp_path / "out.npz")["value"].shape == (1, 3)
    monkeypatch.setattr("analysis.imagine.load_run", refuse)
    write_imagined(run, env)
    assert capsys.readouterr().out == "no imagined video: the game is not running\n"


def refuse(*_: Any) -> None:
    raise EnvironmentFailed("the game is not running")
