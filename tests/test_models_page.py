"""The model of docs/models.md, run as it stands there: it learns, and is scored as any other."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from analysis.metrics.protocols import PROTOCOLS
from analysis.video.inspection import measure_kl
from analysis.video.predictions import Trial, score_model, score_references
from worldmodel.openloop import predict_video
from worldmodel.records import video

PAGE = Path(__file__).resolve().parents[1] / "docs" / "models.md"


@pytest.fixture(scope="module")
def page():
    """What the page's code defines."""
    [code] = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(re.search(r"class Fade.*?\n\n\n", code, re.DOTALL)[0].splitlines()) <= 34
    names: dict = {}
    exec(compile(code, str(PAGE), "exec"), names)
    return names


def fading(videos: int, length: int) -> np.ndarray:
    """Random frames that fade to grey 100 by a fifth per frame: uint8 [B, T, 64, 64, 1]."""
    first = np.random.default_rng(0).integers(0, 256, (videos, 1, 64, 64, 1))
    kept = 0.8 ** np.arange(length).reshape(1, -1, 1, 1, 1)
    return np.round(kept * first + (1 - kept) * 100).astype(np.uint8)


def test_a_model_of_ones_own_learns_and_is_scored(page, unchecked):
    """To the rate and the mean of the data; and better than what knows nothing."""
    frames = fading(3, 12)
    model, losses = page["trained"](jnp.asarray(frames), 400)
    assert losses[-1] < losses[0] / 50
    assert float(jax.nn.sigmoid(model.odds[...])) == pytest.approx(0.8, abs=0.03)
    assert float(model.mean[...].mean()) == pytest.approx(100 / 255, abs=0.03)
    trial = Trial(frames, "image", 4, 1, PROTOCOLS["cwvae"], None, None, 0, 8)
    records = jax.device_get(video({"image": jnp.asarray(frames)}))
    found = score_model(trial, model, records, 4).values["psnr"].mean()
    nothing = {name: x.values["psnr"].mean() for name, x in score_references(trial).items()}
    assert found > max(nothing.values())
    assert measure_kl(model, records, 0).shape == (3, 0)


def test_what_it_sees_is_shown_and_then_what_it_predicts(page):
    """By the closed form, of parameters that are known."""
    model = page["Fade"]()
    model.odds[...] = jnp.log(4.0)  # k = 0.8
    model.mean[...] = jnp.full((64, 64, 1), 100 / 255)
    frames = fading(1, 6)
    loop = predict_video(model, video({"image": jnp.asarray(frames)}), 3, jax.random.key(0))
    assert loop.context == 3
    assert np.abs(np.asarray(loop.predicted["image"]).astype(int) - frames).max() <= 1
