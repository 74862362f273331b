"""MineRL Navigate recordings, written as version 4 and version 0.3 lay them out."""

import json
import os
import subprocess

import numpy as np
import pytest

from agents.actions import ActionCodec
from envs import EnvConfig, make_agent_env
from envs.navigate.env import KEYS
from recordings.__main__ import main
from recordings.importers.images import Look
from recordings.importers.minerl import MineRL

STEPS, BEFORE = 8, 5  # frames of the episode; frames recorded before it


def recording(files, root, name="Navigate-v0/v3_player-1", version=4, goal=None, **changes):
    """One recording; `changes` replace arrays of rendered.npz, None removes one."""
    place, rng = root / name, np.random.default_rng(3)
    place.mkdir(parents=True, exist_ok=True)
    files.video(place / "recording.mp4", files.frames(0, BEFORE + STEPS + 1), fps=20)
    place_words = np.where(np.arange(STEPS) % 3 == 1, "dirt", "none")
    arrays = {f"action${key}": rng.integers(0, 2, STEPS) for key in KEYS}
    arrays["action$camera"] = rng.uniform(-10, 10, (STEPS, 2)).astype(np.float32)
    arrays["action$place"] = place_words if version == 4 else (place_words == "dirt").astype(int)
    arrays["reward"] = rng.normal(size=STEPS)
    if goal is not None:
        arrays["reward"][goal] += 100
    angle = "observation$compass$angle" if version == 4 else "observation$compassAngle"
    arrays[angle] = np.linspace(-180, 180, STEPS + 1).astype(np.float32)
    arrays["observation$inventory$dirt"] = np.arange(STEPS + 1)
    for key, value in changes.items():
        arrays[key.replace("__", "$")] = value
    arrays = {key: value for key, value in arrays.items() if value is not None}
    np.savez_compressed(place / "rendered.npz", **arrays)
    count = {"true_video_frame_count": BEFORE + STEPS + 1}
    (place / "metadata.json").write_text(json.dumps(count | {"success": goal is not None}))
    return arrays


LOADER = """
import sys, numpy, minerl.data
pipe = minerl.data.make("MineRLNavigate-v0", data_dir=sys.argv[1], num_workers=1)
[name] = pipe.get_trajectory_names()
steps = list(pipe.load_data(name))
pipe.processing_pool.terminate()
obs, action, reward, after, done = zip(*steps)
numpy.savez(sys.argv[2], reward=reward, done=done, pov=[x["pov"] for x in obs],
            angle=[x["compass"]["angle"] for x in obs], dirt=[x["inventory"]["dirt"] for x in obs],
            **{"action_" + key: [x[key] for x in action] for key in action[0]})
"""


def only(source):
    [name] = source.names()
    [video] = source.read(name)
    return video


@pytest.mark.parametrize("version", [4, 3])
def test_records_are_in_the_arrival_convention(tmp_path, files, version):
    """Record t + 1 holds the action taken at t and its reward; frames are the recording's last."""
    arrays = recording(files, tmp_path, version=version)
    video = only(MineRL(tmp_path))
    assert video.name == "Navigate-v0/v3_player-1" and video.steps == STEPS + 1
    frames = files.frames(0, BEFORE + STEPS + 1)[BEFORE:]
    assert np.abs(video.obs["pov"].astype(int) - frames).max() <= 6
    angle = np.deg2rad(np.linspace(-180, 180, STEPS + 1))
    needle = np.stack([np.cos(angle), np.sin(angle)], -1)
    np.testing.assert_allclose(video.obs["compass.needle"], needle, atol=1e-6)
    np.testing.assert_array_equal(video.obs["inventory.dirt"][:, 0], np.arange(STEPS + 1))
    assert video.reward[0] == 0 and not video.terminal
    np.testing.assert_allclose(video.reward[1:], arrays["reward"], rtol=1e-6)
    config = EnvConfig(backend="builtin", options={"camera_limit": "15"}, time_limit=4)
    env = make_agent_env(config)
    codec = ActionCodec(env.action_space)
    env.close()
    assert video.action.shape == (STEPS + 1, codec.width) and not video.action[0].any()
    for t in range(STEPS):
        taken = {key: arrays[f"action${key}"][t] for key in (*KEYS, "camera")}
        taken["place"] = int(arrays["action$place"][t] in ("dirt", 1))
        np.testing.assert_allclose(video.action[t + 1], codec.encode(taken), atol=1e-6)


def test_the_goal_ends_the_episode(tmp_path, files):
    recording(files, tmp_path, goal=STEPS - 1)
    video = only(MineRL(tmp_path))
    assert video.terminal and video.steps == STEPS + 1 and not video.notes
    recording(files, tmp_path, goal=4)
    video = only(MineRL(tmp_path))
    assert video.terminal and video.steps == 6 and video.reward[5] > 50
    assert video.notes == ("3 frames after the goal left out",)


def test_fast_turns_are_clipped_and_counted(tmp_path, files):
    camera = np.zeros((STEPS, 2), np.float32)
    camera[2], camera[5] = (90, -3), (0, 7.5)
    recording(files, tmp_path, action__camera=camera)
    video = only(MineRL(tmp_path))
    assert video.notes == ("1 turns faster than 15 degrees clipped",)
    # attack, back: two classes each, then camera
    np.testing.assert_allclose(video.action[3, 4:6], [1, -0.2], atol=1e-6)
    np.testing.assert_allclose(video.action[6, 4:6], [0, 0.5], atol=1e-6)


def test_held_keys_are_left_out(tmp_path, files):
    recording(files, tmp_path)
    assert only(MineRL(tmp_path, held_keys=("jump", "attack"))).action.shape[1] == 16
    with pytest.raises(ValueError, match="expected --held-keys among"):
        MineRL(tmp_path, held_keys=("fly",))


def test_a_recording_one_frame_short_repeats_its_last(tmp_path, files):
    recording(files, tmp_path)
    path = tmp_path / "Navigate-v0/v3_player-1/recording.mp4"
    files.video(path, files.frames(0, BEFORE + STEPS), fps=20)
    video = only(MineRL(tmp_path))
    np.testing.assert_array_equal(video.obs["pov"][-1], video.obs["pov"][-2])
    assert video.notes == ("the last frame is missing: that before it, twice",)
    files.video(path, files.frames(0, BEFORE + STEPS - 1), fps=20)
    with pytest.raises(ValueError, match="7 frames of the episode, expected 9"):
        only(MineRL(tmp_path))


def count(root, told):
    path = root / "Navigate-v0/v3_player-1/metadata.json"
    path.write_text(told if isinstance(told, str) else json.dumps({"true_video_frame_count": told}))


@pytest.mark.parametrize("kind", [float, str, int])
def test_counts_of_any_kind_of_number(tmp_path, files, kind):
    recording(files, tmp_path)
    count(tmp_path, json.dumps({"true_video_frame_count": kind(BEFORE + STEPS + 1)}))
    assert only(MineRL(tmp_path)).steps == STEPS + 1


@pytest.mark.parametrize("told", [None, True, 14.5, 1e400, [14], "many", "[]", "{", 3])
def test_broken_metadata_is_named(tmp_path, files, told):
    recording(files, tmp_path)
    count(tmp_path, told)
    with pytest.raises(ValueError, match=r"metadata\.json: expected"):
        only(MineRL(tmp_path))


BAD = {
    "reward": ({"reward": None}, "rendered.npz without rewards"),
    "treechop": ({"observation__compass__angle": None}, "no Navigate recording"),
    "short": ({"action__jump": np.zeros(3, int)}, "3 frames of action$jump, expected 8"),
    "object": (
        {"action__place": np.array(["dirt", 1] * 4, object)},
        "damaged, or of objects",
    ),
    "word": ({"action__place": np.array(["stone"] * 8)}, "places ['stone']"),
    "key": (
        {"action__jump": np.full(8, 2)},
        "choices: expected 0 to 1",
    ),
}


def test_bad_recordings_are_named_and_the_good_one_is_kept(tmp_path, files):
    root = tmp_path / "root"
    for name, (changes, _) in BAD.items():
        recording(files, root, f"Navigate-v0/{name}", **changes)
    recording(files, root, "Navigate-v0/good")
    recording(files, root, "Navigate-v0/no-video")
    (root / "Navigate-v0/no-video/recording.mp4").unlink()
    recording(files, root, "Navigate-v0/no-json")
    (root / "Navigate-v0/no-json/metadata.json").write_text("{")
    recording(files, root, "Navigate-v0/cut")
    files.truncate(root / "Navigate-v0/cut/rendered.npz")
    (root / "VERSION").write_text("4")
    run = ["minerl", str(root), str(tmp_path / "s"), "--test-fraction", "0"]
    assert main(run) == 0
    summary = json.loads((tmp_path / "s" / "import.json").read_text())
    assert summary["episodes"] == {"train": 1}
    reasons = dict(summary["skipped"])
    for name, (_, reason) in BAD.items():
        assert reason in reasons.pop(f"Navigate-v0/{name}"), name
    assert reasons.pop("Navigate-v0/no-video") == "without recording.mp4"
    assert "Navigate-v0/no-json" in reasons and "rendered.npz" in reasons["Navigate-v0/cut"]
    assert len(reasons) == 2
    [episode] = files.episodes(tmp_path / "s" / "train")
    assert episode["action_mask"].all() and not episode["action"][0].any()
    assert episode.dtype["action"].shape == (20,)


def test_pieces_of_a_long_recording(tmp_path, files):
    recording(files, tmp_path, goal=STEPS - 1)
    source = MineRL(tmp_path, Look(max_frames=4))
    pieces = list(source.read(source.names()[0]))
    assert [piece.steps for piece in pieces] == [4, 4, 1]
    assert [piece.terminal for piece in pieces] == [False, False, True]


@pytest.mark.skipif("MINERL_PYTHON" not in os.environ, reason="needs MineRL 0.4.4: docs/minerl.md")
def test_it_is_what_minerl_s_own_loader_reads(tmp_path, files):
    """Observation t, and the action and reward that follow it, of the real package 0.4.4."""
    name, root, out = (
        "MineRLNavigate-v0/v3_absolute-player-1",
        tmp_path / "data",
        tmp_path / "x.npz",
    )
    recording(files, root, name=name, goal=STEPS - 1)
    (root / "VERSION").write_text("4")
    subprocess.run([os.environ["MINERL_PYTHON"], "-c", LOADER, root, out], check=True)
    theirs, ours = np.load(out), only(MineRL(root))
    assert theirs["done"].tolist() == [False] * (STEPS - 1) + [True] and ours.terminal
    np.testing.assert_allclose(ours.reward[1:], theirs["reward"], rtol=1e-6)
    assert np.abs(ours.obs["pov"][:-1].astype(int) - theirs["pov"]).max() <= 6
    np.testing.assert_array_equal(ours.obs["inventory.dirt"][:-1, 0], theirs["dirt"])
    angle = np.deg2rad(theirs["angle"])
    needle = np.stack([np.cos(angle), np.sin(angle)], -1)
    np.testing.assert_allclose(ours.obs["compass.needle"][:-1], needle, atol=1e-6)
    env = make_agent_env(EnvConfig(backend="builtin", options={"camera_limit": "15"}, time_limit=4))
    codec = ActionCodec(env.action_space)
    env.close()
    for t in range(STEPS):
        taken = {key: theirs[f"action_{key}"][t] for key in (*KEYS, "camera")}
        taken["place"] = int(theirs["action_place"][t] == "dirt")
        np.testing.assert_allclose(ours.action[t + 1], codec.encode(taken), atol=1e-6)
