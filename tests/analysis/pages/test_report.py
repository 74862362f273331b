"""The report: text is escaped, tables are whole, figures are PNGs inside the page."""

import base64
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from analysis.agent.analyse import all_settings
from analysis.agent.overview import overview, training_section
from analysis.pages import plots, report
from analysis.pages.plots import Curve
from configs import parse_train
from training.build import Built


def test_text_is_escaped():
    nasty = '<script>"&'
    blocks = [report.heading(nasty), report.paragraph(nasty), report.command(nasty)]
    blocks += [report.table([nasty], [[nasty]]), report.details(nasty, "")]
    page = report.document(nasty, blocks)
    assert "<script>" not in page and page.count("&lt;script&gt;&quot;&amp;") == 8


MARKUP = "<img src=x onerror=alert(1)>"


def test_names_options_and_keys_of_a_run_are_escaped(tmp_path):
    """In the settings, the head, the names of observations, metrics and data, and the command."""
    run = tmp_path / "run<b>"
    run.mkdir()
    (run / "versions.json").write_text(json.dumps({"git": MARKUP, "device": MARKUP}))
    rows = [{"step": n, f"kl/{MARKUP}": 1.0, "eval/return": 2.0} for n in (1, 2)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = parse_train(["--env", "pure:pendulum", "--size", "debug"], False, "float32")
    built = Built(config)
    built.config = replace(
        config, env=replace(config.env, name=MARKUP, options={MARKUP: MARKUP, "a": MARKUP})
    )
    blocks = [all_settings(built), overview(run, built, 3)]
    blocks += training_section(run, np.zeros(2))
    blocks += [report.command(MARKUP), report.figure(Figure(), MARKUP)]
    page = report.document(MARKUP, blocks)
    assert "<img src=x" not in page and "run<b>" not in page
    assert page.count("&lt;img src=x") >= 9 and "run&lt;b&gt;" in page


def test_text_in_a_figure_is_no_formula():
    """A key such as $x_ would else end the report."""
    figure = Figure()
    figure.subplots().set_ylabel("$x_{")
    assert report.png(figure).startswith(b"\x89PNG")


def test_a_table_of_uneven_rows_is_refused():
    assert report.table(["a", "b"], [["1", "2"]]).count("<td>") == 2
    with pytest.raises(ValueError, match="rows of 2 cells, received 1"):
        report.table(["a", "b"], [["1"]])


def pixels(block):
    data = re.search(r'src="data:image/png;base64,([^"]+)"', block).group(1)
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))


def drawn():
    """Every figure once."""
    kl = np.array([[300.0, 40.0, 0.0], [350.0, 20.0, 1e-6]])
    frames = np.zeros((4, 64, 64, 1), np.uint8)
    times = np.array([-1, 0, 1, 5])
    line = np.linspace(0, 1, 10)
    return {
        "curves": plots.draw_curves([Curve("a", line), Curve("b", line, True)], "share"),
        "kl": plots.draw_kl({"three": kl[0], "one": kl[1, :1]}),
        "speed": plots.draw_speed(np.array([2.0, 0.5]), kl),
        "entropy": plots.draw_entropy(np.zeros((10, 2)), ("every frame", "every 6 frames")),
        "film": plots.draw_film({"true": frames, "all": frames + 255}, times, 2),
    }


@pytest.mark.parametrize("name", ["curves", "kl", "speed", "entropy", "film"])
def test_figures_are_inside_the_page(name):
    block = report.figure(drawn()[name], 'KL "per" level')
    image = pixels(block)
    assert image.shape[1] > 300 and image.std() > 5
    assert 'alt="KL &quot;per&quot; level"' in block


def test_what_the_figures_show():
    figures = drawn()
    solid, dashed = figures["curves"].axes[0].lines
    assert solid.get_xdata().tolist() == list(range(1, 11))
    assert (solid.get_linestyle(), dashed.get_linestyle()) == ("-", "--")
    assert len(figures["kl"].axes[0].patches) == 4
    low, high = figures["speed"].axes[0].lines[0].get_ydata()  # in order of speed
    assert (low, high) == (350.0, 300.0)
    assert figures["entropy"].axes[0].get_title(loc="left") == "level 2, every 6 frames"
    assert len(figures["film"].axes) == 2


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (366.7, "367"), (45.28, "45.3"), (1e-4, "0.0001"), (12345.6, "12,346")],
)
def test_numbers(value, text):
    assert plots.number(value) == text
