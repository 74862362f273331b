"""`analyse_video.py` as a user runs it: digits at two speeds, rooms, and its mistakes."""

import contextlib
import io
import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from processes import run_here
from video_runs import make_run

from analysis.probes import digit_training
from analysis.probes.measures import COLOUR
from analysis.video.analyse import kl_lines
from analysis.video.findings import Sought, look_for_colours
from recordings.generators.orbiting_ball import OrbitingBall

pytestmark = pytest.mark.usefixtures("unchecked")

SMALL = [
    "--data.image-size",
    "32",
    "--size",
    "debug",
    "--context",
    "8",
    "--length",
    "10",
    "--batch",
    "2",
]
SMALL += ["--data.episodes", "1", "--data.length", "20"]
SMALL += ["--data.test-episodes", "2", "--data.test-length", "20"]
QUICK = ["--reader-steps", "2", "--samples", "1", "--shown", "1", "--window", "3"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("analyse")


def command(*args):
    """Runs it; returns what it printed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        run_here("analyse_video.py", *args)
    return printed.getvalue()


@pytest.fixture(scope="module")
def digits(folder):
    """Two runs at different speeds: (what was printed, the report, its numbers)."""
    data = ["--data", "moving_digits", "--data.folder", folder / "data", "--strides", 1, 4]
    runs = [make_run(folder / f"speed{x}", *SMALL, *data, "--data.speed", x) for x in (1, 2)]
    output = folder / "both.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digit_training, "TESTS", 100)
        printed = command("--run", runs[0], "--run", runs[1], "--output", output, *QUICK)
    return printed, output.read_text(), json.loads(output.with_suffix(".json").read_text())


def test_of_a_model_without_levels_no_kl_is_told():
    def found(*levels):
        model = SimpleNamespace(clocks=("every frame",) * len(levels))
        inspection = SimpleNamespace(kl=np.array([levels]))
        return SimpleNamespace(run=SimpleNamespace(model=model), inspection=inspection)

    lines = kl_lines({"none": found(), "two": found(12.5, 0.25)})
    assert lines == ["two: KL per level 12.5, 0.25 nats per sequence"]


def test_the_report_needs_nothing_beside_it(digits):
    _, page, _ = digits
    assert page.startswith("<!doctype html>") and page.rstrip().endswith("</html>")
    sources = re.findall(r'(?:src|href)="([^"]{0,40})', page)
    assert sources and all(x.startswith("data:image/png;base64,") for x in sources)
    for words in (
        "analyse_video.py --run",
        "KL per level, logarithmic.",
        "CW-VAE, Figure 8",
        "Entropy of the priors",
        "Each level left blind",
        "not set to zeros",
        "both digits right, share of videos",
        "usable frames by",
        "test accuracy",
        "below 97%",  # of a reader that learned twice
        "model.strides",
    ):
        assert words in page, words


def test_its_numbers_are_beside_it(digits):
    printed, _, numbers = digits
    assert list(numbers["runs"]) == ["speed1", "speed2"]
    for run, speed in zip(numbers["runs"].values(), (1.0, 2.0), strict=True):
        assert run["speed"] == speed and run["strides"] == [1, 4]
        assert len(run["kl"]) == 2 and all(x > 0 for x in run["kl"])
        assert [len(x) for x in run["prior_entropy"]] == [12, 12]
        for measure in ("PSNR, dB", "both digits right, share of videos"):
            by_blind = run["measures"][measure]
            assert list(by_blind) == ["all levels see", "level 1 blind", "level 2 blind"]
            assert all(len(x) == 12 for x in by_blind.values())
        assert set(run["references"]["both digits right, share of videos"]) == {
            "true frames",
            "any fixed pair",
        }
        usable = run["usable_horizon"]["both digits right, share of videos"]
        assert list(usable) == ["all levels see", "level 1 blind", "level 2 blind"]
        assert all(list(x["by_reference"]) == ["any fixed pair"] for x in usable.values())
        assert all(0 <= x["frames"] <= x["horizon"] == 12 for x in usable.values())
    assert "digit reader, test accuracy" in printed and "nats per sequence" in printed


@pytest.mark.slow
def test_the_colours_that_the_videos_have_are_the_chance():
    """Two colours of eight: who knows nothing is right in half; of true frames all are."""
    balls = [OrbitingBall(length=6).video(n, 0) for n in range(9)]
    picked = [b for b in balls if b.factors["colour"][0] in (0, 4)][:4]
    colour = np.stack([b.factors["colour"] for b in picked])
    assert len(np.unique(colour)) == 2
    images = np.stack([b.obs["image"] for b in picked])
    sought = Sought([], {}, [], [])
    look_for_colours(sought, colour, images)
    lines = sought.references[COLOUR]
    np.testing.assert_array_equal(lines["true frames"], np.ones(6))
    np.testing.assert_array_equal(lines["any fixed colour"], np.full(6, 0.5))
    said = sought.probes[0](np.arange(4), images[::-1])[COLOUR]
    np.testing.assert_array_equal(said, colour[::-1] == colour)


def test_rooms_are_looked_for_where_the_data_have_them(folder):
    data = ["--data", "hallways", "--data.folder", folder / "data", "--preset", "rssm"]
    run = make_run(folder / "maze", *SMALL, *data)
    printed = command("--run", run, *QUICK)
    page = (run / "analysis.html").read_text()
    assert "kind of room sequence right" in page and "digits" not in page.split("<details>")[0]
    assert "rooms by their colours" in printed and "Speed of the data" not in page
    measures = json.loads((run / "analysis.json").read_text())["runs"]["maze"]["measures"]
    assert all(x in (0, 0.5, 1) for x in measures["room right, share of videos"]["all levels see"])


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ((), "give --run RUN"),
        (("--run", "{run}", "--videos", 0), "videos: expected 1 or more"),
        (("--run", "{run}", "--window", 4), "odd number of frames"),
        (("--run", "{run}", "--output", "x.png"), "ending in .html"),
        (("--run", "{run}", "--context", 6), "multiple of the top stride 4"),
        (("--run", "nowhere"), "nowhere"),
    ],
)
def test_a_mistake_is_one_line(digits, folder, capsys, flags, words):
    with pytest.raises(SystemExit) as stopped:
        command(*[str(x).format(run=folder / "speed1") for x in flags])
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and words in error and error.count("\n") == 1
