"""What people and programs read of an evaluation."""

import json

import numpy as np
from PIL import Image

from analysis.pages.stills import draw_stills, strip
from analysis.video.curves import draw_curves
from analysis.video.scores import make_line, rank_lines
from analysis.video.table import markdown, to_json

RNG = np.random.default_rng(0)


def lines(videos: int = 4, samples: int = 2, fvd: float | None = None):
    def values(level):
        noise = 0.01 * RNG.normal(size=(2, videos, samples, 30))
        return {"ssim": level + noise[0], "psnr": 20 * level + noise[1]}

    falling = np.linspace(0.9, 0.3, 30)
    return [
        make_line("blank", True, values(0.6), None, {}),
        make_line("random frame", True, values(0.5), None, {}),
        make_line("one", False, values(falling), fvd, {"step": 3}),
        make_line("two", False, values(0.7), fvd and fvd + 1, {"step": 3}),
    ]


def cells(text: str) -> list[list[str]]:
    rows = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_table_has_a_row_per_line_and_its_columns():
    made = lines()
    text = markdown(made, rank_lines(made, "digits"), samples=2, header=["What.", "How."])
    assert text.startswith("What.\n\nHow.\n\n| ")
    titles, rule, *rows = cells(text)
    assert titles == [
        "",
        "SSIM ↑",
        "SSIM ↑, best of 2",
        "PSNR ↑",
        "PSNR ↑, best of 2",
        "usable frames by SSIM",
        "usable frames by PSNR",
        "mean rank",
    ]
    assert set(rule) == {"---"} and [row[0] for row in rows] == [line.name for line in made]
    assert rows[0][1].startswith("0.60") and " ± 0.0" in rows[0][1]
    assert rows[0][-1] == "" and rows[2][-1] == "2.00" and rows[3][-1] == "1.00"
    # 0.9 falls to 0.3 over 29 frames: the blank line's 0.6 is reached between frames 14 and 15
    for cell in rows[2][-3:-1]:
        assert cell in ("14 (blank)", "15 (blank)", "16 (blank)")
    assert rows[3][-3] == "all 30" and rows[0][-2] == ""
    assert "FVD" not in text and "fvd" not in text


def test_table_of_one_sample_one_video_and_features():
    made = lines(videos=1, samples=1, fvd=100.4)
    text = markdown(made, {}, samples=1, header=[])
    titles, _, *rows = cells(text)
    assert titles == [
        "",
        "SSIM ↑",
        "PSNR ↑",
        "FVD ↓",
        "usable frames by SSIM",
        "usable frames by PSNR",
    ]
    assert "±" not in text and rows[2][3] == "100" and rows[0][3] == ""


def test_json_holds_everything_and_no_nan():
    made = lines(videos=1)
    read = json.loads(to_json(made, {"one": 2.0}, {"seed": 0}), parse_constant=_refuse)
    assert read["seed"] == 0 and read["mean_rank"] == {"one": 2.0}
    one = read["lines"][2]
    assert one["usable_horizon"]["psnr"]["falls_to"] == "blank"
    assert set(one["usable_horizon"]["ssim"]["by_reference"]) == {"blank", "random frame"}
    assert one["name"] == "one" and one["step"] == 3 and not one["reference"]
    score = one["scores"]["ssim"]["best"]
    assert score["half_95"] is None and len(score["curve"]) == 30
    np.testing.assert_allclose(score["curve"], made[2].best["ssim"].curve, rtol=1e-5)
    assert "fvd" not in one


def _refuse(name):
    raise AssertionError(name)


def test_curves_are_a_picture(tmp_path):
    draw_curves(tmp_path / "curves.png", lines(), "digits", samples=2)
    with Image.open(tmp_path / "curves.png") as image:
        assert image.size[0] > 800 and image.size[1] > 600
        assert len(image.convert("RGB").getcolors(1 << 24)) > 50
    draw_curves(tmp_path / "one.png", lines(videos=1, samples=1), "digits", samples=1)
    with Image.open(tmp_path / "one.png") as image:
        assert image.size[1] < 600


def test_stills_lie_side_by_side_in_three_channels(tmp_path):
    frames = RNG.integers(0, 256, (2, 3, 4, 5, 1), dtype=np.uint8)  # videos, times, h, w, C
    row = strip(frames[0])
    assert row.shape == (4, 15, 3)
    assert (row[:, 5:10, 2] == frames[0, 1, :, :, 0]).all()
    colour = np.repeat(frames, 3, axis=-1)
    assert (strip(colour[1])[:, 10:] == colour[1, 2]).all()
    draw_stills(tmp_path / "s.png", {"true": frames, "one": frames}, np.array([1, 5, 9]))
    with Image.open(tmp_path / "s.png") as image:
        assert image.size[0] > 300
