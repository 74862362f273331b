"""`evaluate_video.py` as a user runs it: one run, several, longer futures, and its mistakes."""

import contextlib
import io
import json

import numpy as np
import pytest
from PIL import Image
from processes import run_here
from video_runs import make_run

from analysis.metrics.protocols import PROTOCOLS
from analysis.video.evaluate import EvaluateVideoConfig, Results, headline
from analysis.video.predictions import Trial
from configs.data import DataConfig

pytestmark = pytest.mark.usefixtures("unchecked")

SMALL = [
    "--data.image-size",
    "32",
    "--size",
    "debug",
    "--context",
    "8",
    "--length",
    "12",
    "--batch",
    "2",
]
SMALL += ["--data.episodes", "2", "--data.length", "20"]
SMALL += ["--data.test-episodes", "3", "--data.test-length", "20"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluate")
    data = ["--data", "moving_digits", "--data.folder", folder / "data"]
    return {
        "cwvae": make_run(folder / "cwvae", *SMALL, "--strides", 1, 2, 4, *data),
        "rssm": make_run(folder / "rssm", *SMALL, "--preset", "rssm", *data),
        "slow": make_run(folder / "slow", *SMALL, "--strides", 1, 6, "--context", 12, *data),
        "faster": make_run(folder / "faster", *SMALL, "--preset", "rssm", "--data.speed", 2, *data),
    }


@pytest.fixture(scope="module")
def compared(runs, tmp_path_factory):
    """Two runs compared: (folder of the results, what was printed)."""
    output = tmp_path_factory.mktemp("results")
    args = ["--run", runs["cwvae"], "--run", runs["rssm"], "--context", 8, "--samples", 2]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        command(*args, "--output", output)
    return output, printed.getvalue()


def command(*args):
    run_here("evaluate_video.py", *args)


def test_the_table_says_what_was_done_and_what_was_not(compared):
    folder, printed = compared
    text = (folder / "cwvae.md").read_text()
    assert text.strip() in printed
    for words in (
        "3 held-out videos, 8 frames seen, 12 predicted",
        "range 2",
        "LPIPS is not computed: no weights were given",
        "no weights of I3D were given",
        "evaluate_video.py --run",
    ):
        assert words in text
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")]
    assert rows == ["", "---", "blank", "mean frame", "random frame", "cwvae", "rssm"]
    assert "FVD" not in text and "mean rank" in text and "best of 2" in text


def test_the_json_holds_curves_settings_and_versions(compared, runs):
    results = json.loads((compared[0] / "cwvae.json").read_text())
    assert results["protocol"] == "cwvae" and results["data"]["name"] == "moving_digits"
    assert (results["videos"], results["context"], results["horizon"]) == (3, 8, 12)
    assert results["samples"] == 2 and results["versions"]["device"]
    lines = {line["name"]: line for line in results["lines"]}
    model = lines["cwvae"]
    assert model["run"] == str(runs["cwvae"]) and model["updates"] == 7
    assert model["strides"] == [1, 2, 4] and model["parameters"] > 1000
    for line in lines.values():
        assert list(line["scores"]) == ["ssim", "psnr"] and "fvd" not in line
        for score in line["scores"].values():
            mean, best = score["mean"], score["best"]
            assert len(mean["curve"]) == len(best["curve"]) == 12
            assert best["value"] >= mean["value"] - 1e-6 and mean["half_95"] > 0
    assert sorted(results["mean_rank"]) == ["cwvae", "rssm"]
    assert sum(results["mean_rank"].values()) == pytest.approx(3)
    # two digits on black: what the blank line is there to show
    assert lines["blank"]["scores"]["ssim"]["mean"]["value"] > 0.5


def test_the_page_says_how_many_videos_are_too_short():
    videos = np.zeros((3, 20, 4, 4, 3), np.uint8)
    trial = Trial(videos, "image", 8, 1, PROTOCOLS["cwvae"], None, None, 0, 8)
    config = EvaluateVideoConfig()
    [said] = {*headline(config, trial, Results([], {}, DataConfig(), 2))} - {
        *headline(config, trial, Results([], {}, DataConfig(), 0))
    }
    assert said == "Left out, as they have fewer frames: 2 of the held-out videos (--horizon)."


def test_curves_and_stills_are_pictures(compared):
    for name in ("cwvae.png", "stills.png"):
        with Image.open(compared[0] / name) as image:
            assert min(image.size) > 200


def test_the_same_command_gives_the_same_numbers(compared, runs, tmp_path):
    args = ["--run", runs["rssm"], "--context", 8, "--samples", 2, "--output", tmp_path]
    command(*args)
    again = json.loads((tmp_path / "cwvae.json").read_text())
    before = json.loads((compared[0] / "cwvae.json").read_text())
    assert again["lines"][-1]["scores"] == before["lines"][-1]["scores"]
    assert again["lines"][:3] == before["lines"][:3] and again["mean_rank"] == {}


def test_generated_videos_grow_with_the_horizon(runs, tmp_path, capsys):
    args = ["--run", runs["cwvae"], "--context", 8, "--horizon", 30, "--videos", 4]
    command(*args, "--protocol", "standard", "--levels", "True", "--output", tmp_path)
    assert "generating 4 held-out videos of 38 frames" in capsys.readouterr().out
    results = json.loads((tmp_path / "standard.json").read_text())
    assert (results["videos"], results["horizon"], results["protocol"]) == (4, 30, "standard")
    assert np.isfinite(results["lines"][-1]["scores"]["psnr"]["mean"]["curve"]).all()
    views = {line["name"]: line for line in results["lines"] if not line["reference"]}
    assert list(views) == ["cwvae", *(f"cwvae, level {n} blind" for n in (1, 2, 3))]
    assert [line.get("blind_level") for line in views.values()] == [None, 1, 2, 3]
    curves = {str(line["scores"]["psnr"]["mean"]["curve"]) for line in views.values()}
    assert len(curves) == 4 and results["mean_rank"] == {}
    for line in views.values():
        usable = line["usable_horizon"]["psnr"]
        assert usable["horizon"] == 30 and usable["frames"] == min(usable["by_reference"].values())
        assert set(usable["by_reference"]) == {"blank", "mean frame", "random frame"}


def test_each_model_may_see_whole_blocks_of_the_context(runs, tmp_path):
    both = ["--run", runs["cwvae"], "--run", runs["slow"], "--context", 10]
    command(*both, "--fit-context", "True", "--output", tmp_path)
    results = json.loads((tmp_path / "cwvae.json").read_text())
    seen = {line["name"]: line["context"] for line in results["lines"] if "context" in line}
    assert seen == {"cwvae": 8, "slow": 6} and results["horizon"] == 10
    assert "slow sees the last 6 of them." in (tmp_path / "cwvae.md").read_text()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([], ["--run RUN"]),
        (["--run", "nowhere"], ["nowhere"]),
        (["--run", "{cwvae}", "--run", "{cwvae}"], ["different directories"]),
        (["--run", "{cwvae}", "--samples", "0"], ["samples", "1 or more"]),
        (["--run", "{cwvae}", "--protocol", "ssim"], ["--protocol", "standard"]),
        (["--run", "{cwvae}", "--context", "10"], ["top stride 4", "--context 8 or 12", "--fit"]),
        (["--run", "{cwvae}", "--run", "{faster}", "--context", "8"], ["data.speed", "2.0"]),
        (["--run", "{cwvae}", "--lpips-weights", "w.npz", "--context", "8"], [".npz", "w.npz"]),
        (["--run", "{cwvae}", "--fvd-torchscript", "i.pt", "--context", "8"], ["i.pt", "path"]),
    ],
)
def test_a_mistake_is_one_line(args, words, runs, capsys):
    with pytest.raises(SystemExit) as stop:
        command(*[arg.format(**runs) for arg in args])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ")
    for word in words:
        assert word in line
    assert not any((run / "evaluation").exists() for run in runs.values())
