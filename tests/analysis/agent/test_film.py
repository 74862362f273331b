"""The episode's video says of every step what is known there."""

import base64
import io
import re
from types import SimpleNamespace

import av
import numpy as np

from analysis.agent.film import ENLARGED, believed_texts, held
from training.picture import EDGE
from training.video import LINE


def test_what_is_known_is_held_until_the_next_tick():
    time, value = np.array([1, 3, 5]), np.array([10.0, np.nan, 30.0])
    found = held(time, value, 7)
    np.testing.assert_array_equal(found, [np.nan, 10, 10, 10, 10, 30, 30])
    assert np.isnan(held(time, value * np.nan, 2)).all()


def test_value_and_the_kl_of_every_level_are_told():
    level = SimpleNamespace(time=np.array([0, 2]), kl=np.array([0.5, 1.25]))
    trace = SimpleNamespace(
        time=np.arange(3), value=np.array([np.nan, 2.0, 3.5]), levels=(level, level)
    )
    assert believed_texts(trace, 3) == [
        ["value –", "KL 0.50 | 0.50"],
        ["value 2", "KL 0.50 | 0.50"],
        ["value 3.5", "KL 1.25 | 1.25"],
    ]


def test_the_report_holds_the_episode_with_four_lines_above_each_frame(agent_run):
    page = (agent_run.path / "report.html").read_text()
    (data,) = re.findall(r'src="data:video/mp4;base64,([^"]+)"', page)
    with av.open(io.BytesIO(base64.b64decode(data))) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    assert len(frames) == 201  # the last record as well
    bar = 4 * LINE
    assert frames[0].shape[:2] == (bar + ENLARGED * EDGE, ENLARGED * EDGE)
    for line in range(4):
        assert frames[50][line * LINE : (line + 1) * LINE].max() > 128, line
