"""What is logged is what TensorBoard and `metrics.jsonl` hold, also after a crash and a resume."""

import io
import json
import math
import re
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from training.board import layout as layout_of
from training.logger import RunLogger
from training.metrics import DAMAGED, read_metrics
from training.numbers import NUMBERS, number


def tensorboard(logdir: Path) -> EventAccumulator:
    """What TensorBoard itself reads from the directory."""
    return EventAccumulator(str(logdir), size_guidance={"images": 0, "scalars": 0}).Reload()


def curve(logdir: Path, name: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in tensorboard(logdir).Scalars(name)]


def test_both_hold_the_same_numbers(tmp_path: Path) -> None:
    with RunLogger(tmp_path) as logger:
        logger.scalars(10, {"loss/image": 0.5, "level1/kl": jnp.float32(2.25)})
        logger.scalars(20, {"loss/image": np.float64(0.25)})
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert [row["step"] for row in rows] == [10, 20]
    assert rows[0]["loss/image"] == 0.5
    assert rows[0]["level1/kl"] == 2.25
    assert curve(tmp_path, "loss/image") == [(10, 0.5), (20, 0.25)]
    assert curve(tmp_path, "level1/kl") == [(10, 2.25)]


def test_what_older_runs_named_otherwise_is_read_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "time": 0.0, "return/realised": 2.0}\n')
    assert read_metrics(path) == [{"step": 1, "time": 0.0, "return/observed": 2.0}]


def test_lines_are_on_disk_at_once(tmp_path: Path) -> None:
    with RunLogger(tmp_path) as logger:
        logger.scalars(1, {"a": 1.0})
        assert len(read_metrics(tmp_path / "metrics.jsonl")) == 1


def test_not_finite_is_written_and_reported_once_per_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with RunLogger(tmp_path) as logger:
        logger.scalars(1, {"a": math.nan, "b": 1.0})
        logger.scalars(2, {"a": math.nan, "b": math.inf})
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert math.isnan(rows[0]["a"])
    assert math.isnan(rows[1]["b"])
    assert "null" in (tmp_path / "metrics.jsonl").read_text()
    assert math.isnan(curve(tmp_path, "a")[1][1])
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "a is nan at step 1" in lines[0]
    assert "b is inf at step 2" in lines[1]


def test_video_is_an_animated_gif_that_tensorboard_reads(tmp_path: Path) -> None:
    frames = np.zeros((5, 16, 24, 3), np.uint8)
    for t in range(5):
        frames[t, :, 4 * t : 4 * t + 4] = (0, 200, 0)
    with RunLogger(tmp_path) as logger:
        logger.video(30, "open_loop/pov", frames, fps=10)
    (event,) = tensorboard(tmp_path).Images("open_loop/pov")
    assert (event.step, event.width, event.height) == (30, 24, 16)
    with Image.open(io.BytesIO(event.encoded_image_string)) as image:
        assert (image.format, image.n_frames) == ("GIF", 5)  # type: ignore[attr-defined]


def test_resume_drops_what_came_after_the_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with RunLogger(tmp_path) as logger:
        for step in (10, 20, 30):
            logger.scalars(step, {"a": step})
    with RunLogger(tmp_path, resume_step=20) as logger:
        logger.scalars(30, {"a": 31})
        logger.scalars(40, {"a": 40})
    assert curve(tmp_path, "a") == [(10, 10), (20, 20), (30, 31), (40, 40)]
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert [(row["step"], row["a"]) for row in rows] == [(10, 10), (20, 20), (30, 31), (40, 40)]
    assert "1 rows logged after the checkpoint of step 20 removed" in capsys.readouterr().err


@pytest.mark.parametrize("tail", [b'{"step": 30, "a": 3', b"\0" * 64, b'{"step": 30}garbage\n{"st'])
def test_a_truncated_tail_is_set_aside(tmp_path: Path, tail: bytes) -> None:
    with RunLogger(tmp_path) as logger:
        logger.scalars(10, {"a": 10})
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(tail)
    with RunLogger(tmp_path, resume_step=20) as logger:
        logger.scalars(30, {"a": 30})
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [10, 30]
    assert (tmp_path / DAMAGED).read_bytes() == tail + b"\n"


def test_resume_without_a_checkpoint_starts_over(tmp_path: Path) -> None:
    with RunLogger(tmp_path) as logger:
        logger.scalars(0, {"a": 1})
    with RunLogger(tmp_path, resume_step=-1) as logger:
        logger.scalars(0, {"a": 2})
    assert curve(tmp_path, "a") == [(0, 2)]
    assert [row["a"] for row in read_metrics(tmp_path / "metrics.jsonl")] == [2]


def test_resumed_within_a_second_keeps_the_order(tmp_path: Path) -> None:
    RunLogger(tmp_path).close()
    for step in range(12):
        with RunLogger(tmp_path, resume_step=step - 1) as logger:
            logger.scalars(step, {"a": step})
    assert curve(tmp_path, "a") == [(step, step) for step in range(12)]


def test_an_undamaged_file_is_not_rewritten(tmp_path: Path) -> None:
    with RunLogger(tmp_path) as logger:
        logger.scalars(10, {"a": 10})
    before = (tmp_path / "metrics.jsonl").stat().st_ino
    RunLogger(tmp_path, resume_step=10).close()
    assert (tmp_path / "metrics.jsonl").stat().st_ino == before


def test_a_new_run_does_not_write_into_another(tmp_path: Path) -> None:
    with RunLogger(tmp_path) as logger:
        logger.scalars(10, {"a": 10})
    with pytest.raises(ValueError, match=r"expected no metrics\.jsonl.*another --logdir"):
        RunLogger(tmp_path)


@pytest.mark.parametrize(
    ("values", "message"), [({"a": np.ones(3)}, r"shape \(3,\)"), ({"step": 1.0}, "rename")]
)
def test_what_is_not_one_number_is_refused(
    tmp_path: Path, values: dict[str, object], message: str
) -> None:
    with RunLogger(tmp_path) as logger:
        with pytest.raises(ValueError, match=message):
            logger.scalars(1, {"b": 1.0} | values)
        assert read_metrics(tmp_path / "metrics.jsonl") == []


def test_tensorboard_has_a_layout_with_returns_first_and_the_settings(tmp_path: Path) -> None:
    settings = {"env.name": "gym:Pendulum-v1", "batch": 3, "agent.model.strides": [1, 4]}
    with RunLogger(tmp_path, settings=settings) as logger:
        logger.scalars(10, {"eval/return": 0.5, "kl/level1": 2.0})
    board = tensorboard(tmp_path)
    layout = Layout.FromString(
        board.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0]
    )
    assert layout.category[0].title == "returns"
    (tag,) = layout.category[0].chart[0].multiline.tag
    assert re.match(tag, "eval/return") and not re.match(tag, "eval/return_95")
    assert [*layout_of(acts=False)] == ["world model", "updates"]
    text = board.Tensors("settings/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "| env.name | gym:Pendulum-v1 |" in text and "| agent.model.strides | [1, 4] |" in text
    content = board.PluginTagToContent("hparams")["_hparams_/session_start_info"]
    told = HParamsPluginData.FromString(content).session_start_info.hparams
    assert told["batch"].number_value == 3 and told["env.name"].string_value == "gym:Pendulum-v1"
    said = board.SummaryMetadata("eval/return").summary_description
    assert said.startswith("Mean sum of rewards")


def test_every_number_that_runs_log_is_known(agent_run: Any, video_run: Any) -> None:
    for run in (agent_run, video_run):
        names = set().union(*read_metrics(run.path / "metrics.jsonl")) - {"step", "time"}
        assert [name for name in sorted(names) if number(name) is None] == []


@pytest.mark.parametrize("name", ["kl/begins", "eval/kl/changes", "kl/weight", "ticks/level2"])
def test_numbers_of_models_whose_clocks_are_learned_are_known(name: str) -> None:
    known = number(name)
    assert known is not None and known.chart == "learned clocks"


def test_no_number_is_in_two_charts(agent_run: Any, video_run: Any) -> None:
    for run in (agent_run, video_run):
        for name in set().union(*read_metrics(run.path / "metrics.jsonl")):
            assert sum(bool(re.fullmatch(one.names, name)) for one in NUMBERS) <= 1, name
