"""`pretrain_video.py` as a user runs it: gone on with, ended; agents that start from its runs."""

import json
from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.runs import video_flags
from PIL import Image, ImageSequence
from processes import finish, run_here, start
from video_runs import make_run

from analysis.imagine import ImagineConfig, imagine
from analysis.own_video import own_records, read_own
from common import UserError
from configs import parse_train
from configs.data import DataConfig
from configs.video import PretrainConfig
from configs.video_presets import parse_pretrain
from recordings.data import place
from training import read_metrics
from training.agent_source import AgentSource
from training.build import Built
from training.build_video import kept_video_settings, load_video_run
from training.config_io import check_same_config, load_config, write_run_files
from training.loop import train
from training.start import open_donor
from training.video import LINE
from training.video_source import VideoSource, cut_window, told

pytestmark = pytest.mark.usefixtures("unchecked")


def test_a_run_makes_its_data_and_learns(begun_video):
    assert "generating" in begun_video.printed
    said = " ".join(begun_video.printed.split())
    assert "sees image picture, 32 x 32 pixels, channels: 1" in said
    assert "images drawn at 64 x 64, resized to 32 x 32" in said


def test_a_run_ends_with_evaluation_a_video_and_where_to_look(begun_video, video_run):
    out = video_run.printed
    assert "to scale up" not in out
    assert f"resuming {video_run.path} at update {begun_video.steps}" in out
    for line in ("held out: loss", "kl/level3", "evaluate_video.py --run", "tensorboard --logdir"):
        assert line in out
    assert (video_run.path / "predicted.mp4").stat().st_size > 0
    values = json.loads((video_run.path / "evaluation.json").read_text())
    assert np.isfinite(list(values.values())).all() and "nll/image" in values


def test_clips_that_end_within_a_tick_are_told():
    assert cut_window(72, 36) == cut_window(5, 1) == ""
    assert "clips of 128 frames end within" in cut_window(128, 36)
    assert "--length 144" in cut_window(128, 36) and "--length 36" in cut_window(10, 36)


def test_an_evaluation_as_a_line():
    """Of a model without levels the loss alone."""
    assert told({"loss/model": 2.0}) == "held out: loss 2.00 nats per frame"
    levels = {"loss/model": 2.0, "nll/image": 1.0, "kl/level1": 0.75, "kl/level2": 0.25}
    assert told(levels).endswith(" nats per frame; kl/level1 0.75, kl/level2 0.25")


def test_a_resumed_run_neither_drops_nor_doubles(video_run):
    rows = read_metrics(video_run.path / "metrics.jsonl")
    steps = [r["step"] for r in rows if "loss/total" in r]
    assert steps == sorted(set(steps)) and steps[-1] == video_run.steps


def test_a_run_that_went_on_comes_to_what_one_in_a_piece_comes_to(video_run, tmp_path, unchecked):
    """Bit for bit: metrics but for clocks and memory, and the parameters. The end of the first part
    has a line of its own, so that two lines share the updates of one."""
    flags = video_flags(video_run.path.parent, video_run.steps)
    config = parse_pretrain([*flags, "--logdir", str(tmp_path / "whole")], False, "float32")
    assert train(config, VideoSource)
    clocks = ("time", "speed/", "memory/")
    found = [
        [
            {name: value for name, value in row.items() if not name.startswith(clocks)}
            for row in read_metrics(run / "metrics.jsonl")
            if "loss/total" in row
        ]
        for run in (video_run.path, config.logdir)
    ]
    parts = found[0]
    whole = {row["step"]: row for row in found[1]}
    [end] = [i for i, row in enumerate(parts) if row["step"] not in whole]
    last, next_ = parts[end]["step"], parts[end + 1]["step"]
    assert parts[:end] + parts[end + 2 :] == [r for r in found[1] if r["step"] != next_]
    begun = parts[end - 1]["step"]
    losses = [row["loss/total"] for row in parts[end : end + 2]]
    shared = (last - begun) * losses[0] + (next_ - last) * losses[1]
    assert shared == pytest.approx((next_ - begun) * whole[next_]["loss/total"], rel=1e-5)
    params = [load_video_run(run).params for run in (video_run.path, config.logdir)]
    jax.tree.map(np.testing.assert_array_equal, *params)


def test_the_data_were_made_once(video_run):
    assert "generating" not in video_run.printed
    names = sorted(p.name.rpartition("-")[0] for p in (video_run.path.parent / "data").iterdir())
    assert names == ["moving_digits-test", "moving_digits-train"]


def test_a_run_goes_on_with_its_own_settings(video_run):
    """Though it is not told them again, and presets may have changed since."""
    flags = ["--logdir", str(video_run.path), "--steps", "999"]
    config = parse_pretrain(flags, False, "float32", kept_video_settings)
    kept = replace(load_config(PretrainConfig, video_run.path), logdir=video_run.path)
    assert config == replace(kept, steps=999)
    check_same_config(video_run.path, config)


def test_videos_that_are_too_short_are_told_with_lengths_that_fit(tmp_path):
    flags = ["--data", "moving_digits", "--data.folder", str(tmp_path), "--data.image-size", "32"]
    flags += ["--data.episodes", "2", "--data.length", "41", "--data.test-episodes", "1"]
    flags += ["--data.test-length", "50", "--size", "debug"]
    with pytest.raises(
        UserError, match=r"received at most 41 and 50; lower --strides, .* 36 frame"
    ):
        VideoSource(parse_pretrain(flags, False, "float32"))
    flags += ["--strides", "1,4"]
    with pytest.raises(
        UserError, match="train on .*; set --context 20 --length 40, or give longer"
    ):
        VideoSource(parse_pretrain(flags, False, "float32"))
    VideoSource(parse_pretrain([*flags, "--context", "20", "--length", "40"], False, "float32"))


def test_a_run_that_carries_states_keeps_its_batch(tmp_path):
    flags = ["--data", "moving_digits", "--streams", "True", "--logdir", str(tmp_path)]
    write_run_files(tmp_path, parse_pretrain([*flags, "--batch", "2"], False, "float32"))
    with pytest.raises(UserError, match="batch: expected 2, received 4: with --streams, a state"):
        VideoSource(parse_pretrain([*flags, "--batch", "4"], False, "float32"))


def test_the_trained_model_loads(video_run):
    loaded = load_video_run(video_run.path)
    assert loaded.step == video_run.steps and loaded.model.strides == (1, 2, 4)


GREYS = 20 + 20 * np.arange(10)


@pytest.fixture
def walk(tmp_path):
    """Ten frames of one grey each, in colour, of the shape that people have."""
    (tmp_path / "walk").mkdir()
    for number, grey in enumerate(GREYS.tolist()):
        Image.new("RGB", (96, 64), (grey,) * 3).save(tmp_path / "walk" / f"{number}.png")
    return tmp_path / "walk"


def test_what_comes_next_in_a_video_of_ones_own(video_run, tmp_path, walk, capsys):
    """Eight of its ten frames are seen, in the model's own size and grey; 12 more are imagined in
    two futures, of which the last 10 have nothing above them."""
    output = tmp_path / "own.gif"
    imagine(
        ImagineConfig(run=video_run.path, output=output, context=7, ticks=3, worlds=2, video=walk)
    )
    shown = capsys.readouterr().out
    assert f"{walk} from frame 0 on, 8 frames seen, then 12 imagined" in shown
    with Image.open(output) as gif:
        frames = [np.asarray(frame.convert("L")) for frame in ImageSequence.Iterator(gif)]
    film = np.stack(frames).astype(int)[:, LINE:]  # below its label
    height, width = film.shape[1] // 2, film.shape[2] // 2
    upper = film[:, 4 : height - 4, 4 : width - 4]  # of the first future
    assert np.abs(upper[:10].mean((1, 2)) - GREYS).max() < 12 and not upper[10:].any()
    run = load_video_run(video_run.path)
    own = read_own(run, walk, 3, 5)
    assert own.image == "image" and own.frames.shape == (5, 32, 32, 1)
    records = own_records(run, own, 12, 2)
    np.testing.assert_array_equal(records.obs["image"][1, :5], own.frames)
    assert own.frames[:, 0, 0, 0].tolist() == GREYS[3:8].tolist()
    assert not records.obs["image"][:, 5:].any() and not records.action_mask.any()


def test_of_a_video_of_ones_own_no_more_is_read_than_is_needed(walk):
    """Its last picture is damaged: a reader of all of it would say so."""
    (walk / "10.png").write_bytes(b"no picture")
    spaces = SimpleNamespace(shapes={"image": (32, 32, 1)})
    run = SimpleNamespace(spaces=spaces, config=SimpleNamespace(data=DataConfig("orbiting_ball")))
    for first, most in ((0, 3), (2, 4), (5, 1)):
        frames = read_own(run, walk, first, most).frames
        assert frames[:, 0, 0, 0].tolist() == GREYS[first : first + most].tolist()
    with pytest.raises(ValueError, match=r"10\.png: a picture that is not a readable PNG"):
        read_own(run, walk, 8, 3)


def test_a_video_of_ones_own_that_cannot_be_gone_on_with(video_run, agent_run, tmp_path, walk):
    here = {"run": video_run.path, "output": tmp_path / "own.gif", "context": 8, "ticks": 1}
    with pytest.raises(ValueError, match="expected 4 frames or more, .* received 3 of"):
        imagine(ImagineConfig(**here, video=walk, start=7))
    with pytest.raises(ValueError, match="start: expected a frame of .* received 10 of 10"):
        imagine(ImagineConfig(**here, video=walk, start=10))
    with pytest.raises(ValueError, match="expected a folder or file .*: not found"):
        imagine(ImagineConfig(**here, video=tmp_path / "none.mp4"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="expected one video, received 0"):
        imagine(ImagineConfig(**here, video=tmp_path / "empty"))
    with pytest.raises(ValueError, match=r"expected a run of pretrain_video\.py"):
        imagine(ImagineConfig(run=agent_run.path, output=tmp_path / "own.gif", video=walk))


def test_its_future_is_imagined(video_run, tmp_path, capsys):
    run, output = video_run.path, tmp_path / "future.gif"
    imagine(ImagineConfig(run=run, output=output, context=7, ticks=100, worlds=2))
    assert output.stat().st_size > 0
    assert "8 frames seen, then 20 imagined" in capsys.readouterr().out  # 30 long, blocks of 4
    with pytest.raises(ValueError, match="has no agent"):
        imagine(ImagineConfig(run=run, output=output, actions="policy"))
    with pytest.raises(ValueError, match="lower --context or --worlds"):
        imagine(ImagineConfig(run=run, output=output, context=30))


def test_other_settings_are_refused_and_nothing_is_touched(video_run, capsys):
    run = video_run.path
    before = sorted((p, p.stat().st_mtime_ns) for p in run.rglob("*"))
    with pytest.raises(SystemExit) as stop:
        run_here("pretrain_video.py", *video_flags(run.parent, video_run.steps), "--seed", 3)
    assert stop.value.code == 2
    first, listed, last = capsys.readouterr().err.strip().splitlines()
    assert first.startswith("error: ") and listed == "  seed: 0 there, 3 now"
    assert "another --logdir" in last
    assert before == sorted((p, p.stat().st_mtime_ns) for p in run.rglob("*"))


AGENT = ["--preset", "agent", "--data", "navigate", "--size", "debug", "--context", "16"]
AGENT += ["--data.episodes", "2", "--data.length", "40", "--data.test-episodes", "1"]
AGENT += ["--data.test-length", "40", "--batch", "2", "--length", "16"]


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """The agent's own world model, as it begins on video of its world."""
    folder = tmp_path_factory.mktemp("agent")
    make_run(folder / "video", *AGENT, "--data.folder", folder / "data")
    return folder


def agent_flags(folder, logdir):
    flags = ["--env", "minerl_navigate", "--env.backend", "builtin", "--size", "debug"]
    flags += ["--init-from", folder / "video", "--recordings-share", "0.5", "--env.num-envs", "2"]
    flags += ["--env.time-limit", "80", "--prefill", "60", "--steps", "80", "--batch", "2"]
    flags += ["--length", "16", "--eval-episodes", "1", "--video-every", "0", "--log-every", "10"]
    flags += ["--report", "False"]
    return [*flags, "--logdir", folder / logdir]


@pytest.mark.slow
def test_an_agent_starts_from_a_pretrained_model_and_keeps_watching(tmp_path):
    """By both commands, in processes of their own."""
    flags = ["--data.folder", tmp_path / "data", "--logdir", tmp_path / "video", "--steps", "2"]
    out, err = finish(process := start("pretrain_video.py", *AGENT, *flags))
    assert process.returncode == 0, err
    out, err = finish(process := start("train_agent.py", *agent_flags(tmp_path, "run")))
    assert process.returncode == 0, err
    assert f"world model of {tmp_path / 'video'}, 2 updates on navigate" in out
    assert any("loss/total" in r for r in read_metrics(tmp_path / "run" / "metrics.jsonl"))


def test_the_agents_first_model_is_the_pretrained_one(pretrained, capsys):
    """And its update takes batches half of which are the videos."""
    args = [str(x) for x in agent_flags(pretrained, "other")]
    source = AgentSource(parse_train(args, False, "float32"))
    state = source.first_state()
    assert f"world model of {pretrained / 'video'}, 7 updates on nav" in capsys.readouterr().out
    loaded = load_video_run(pretrained / "video")
    for model in (state.params["model"], state.average["model"]):
        jax.tree.map(np.testing.assert_array_equal, model, loaded.params)
    source.start(0, None, None)
    blank = {name: np.zeros(f.shape, f.dtype) for name, f in source.replay.fields.items()}
    source.replay.append(9, {**blank, "is_first": np.True_}, last=True)
    batch = source.sample()
    source.close()
    seen = batch.obs["pov"].any((1, 2, 3, 4))
    assert seen.tolist() == [False, True] and not batch.action_mask[1].any()
    after, _ = jax.eval_shape(source.learner.update, state, batch, jax.random.key(0))
    assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, state)


def test_recordings_of_another_size_are_refused_before_anything_is_written(pretrained):
    store = place(load_video_run(pretrained / "video").config.data, "train")
    flags = ["--env", "minerl_navigate", "--env.backend", "builtin", "--size", "debug"]
    flags += ["--env.image-size", "64", "--recordings-share", "0.5", "--recordings", str(store)]
    flags += ["--steps", "200", "--prefill", "100"]  # were it not refused, it would end at once
    config = parse_train([*flags, "--logdir", str(pretrained / "new")], False, "float32")
    with pytest.raises(ValueError, match=r"environment, .*64, 64, 3.*received .*32, 32, 3.*size"):
        train(config, AgentSource)
    assert not (pretrained / "new").exists()


def test_an_agent_that_decodes_less_leaves_decoders_out(pretrained):
    args = [*map(str, agent_flags(pretrained, "other")), "--env.predict", "pov"]
    built = Built(parse_train(args, False, "float32"))
    model = open_donor(built, pretrained / "video").params["model"]
    assert set(model["decoder"]["parts"]) == {"pov"} and len(model["encoder"]["parts"]) == 3
    assert jax.tree.map(jnp.shape, model) == jax.tree.map(jnp.shape, built.shapes["model"])


def test_an_agent_that_does_not_fit_a_pretrained_model_is_refused(pretrained):
    args = [str(x) for x in agent_flags(pretrained, "other")]
    other = Built(parse_train([*args, "--strides", "1", "2"], False, "float32"))
    with pytest.raises(ValueError, match="expected the agent's parameters, .*--preset agent"):
        open_donor(other, pretrained / "video")
    large = Built(parse_train([*args, "--env.image-size", "64"], False, "float32"))
    with pytest.raises(ValueError, match=r"shows, .*64, 64, 3.* one of .*32, 32, 3.*image-size"):
        open_donor(large, pretrained / "video")
    coded = Built(parse_train([*args, "--agent.codec", "latent"], False, "float32"))
    with pytest.raises(ValueError, match="init_from: .* top level reads actions.* 'latent'"):
        open_donor(coded, pretrained / "video")
