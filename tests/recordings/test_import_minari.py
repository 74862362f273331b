"""Minari data sets, written by Minari itself where installed; a clear line where it is not."""

import importlib
import json
import sys
import warnings

import numpy as np
import pytest
from gymnasium import spaces

from recordings.__main__ import main
from recordings.importers.minari import Minari


def test_without_the_package_one_line_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "minari", None)
    assert main(["minari", "some/set-v0", str(tmp_path / "s")]) == 2
    assert "pip install 'clockwork-world-model[minari]'" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()


OBSERVATION = spaces.Dict(
    {"pose": spaces.Box(-np.inf, np.inf, (2,)), "view": spaces.Box(0, 255, (64, 64, 3), np.uint8)}
)
ACTION = spaces.Dict({"push": spaces.Box(-2, 2, (1,)), "kind": spaces.Discrete(3)})
LENGTHS = (4, 7)


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a data set ours/test-v0 of episodes, each given as what Minari's buffer takes."""
    minari = pytest.importorskip("minari")
    pytest.importorskip("h5py")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    buffer = importlib.import_module("minari.data_collector").EpisodeBuffer

    def write(observation, action, *episodes):
        buffers = [buffer(id=number, **episode) for number, episode in enumerate(episodes)]
        with monkeypatch.context() as patch:
            patch.setattr(warnings, "warn", lambda *_, **__: None)  # of an environment we lack
            minari.create_dataset_from_buffers(
                "ours/test-v0",
                buffers,
                observation_space=observation,
                action_space=action,
                data_format="hdf5",
                jpeg_encoding=False,
                description="written by a test",
                algorithm_name="none",
                author="us",
                author_email="us@example.org",
                code_permalink="none",
            )
        return tmp_path / "minari" / "ours" / "test-v0", buffers

    return write


@pytest.fixture
def dataset(write):
    """Two episodes, the second terminal, and their buffers."""
    episodes = []
    for number, steps in enumerate(LENGTHS):
        rng = np.random.default_rng(number)
        view = rng.integers(0, 256, (steps + 1, 64, 64, 3), np.uint8)
        pose = rng.normal(size=(steps + 1, 2)).astype(np.float32)
        push = rng.uniform(-2, 2, (steps, 1)).astype(np.float32)
        ends = np.arange(steps) == steps - 1
        episodes.append(
            {
                "observations": {"pose": list(pose), "view": list(view)},
                "actions": {"push": list(push), "kind": list(rng.integers(0, 3, steps))},
                "rewards": list(rng.normal(size=steps)),
                "terminations": list(ends & (number == 1)),
                "truncations": list(ends & (number == 0)),
            }
        )
    return write(OBSERVATION, ACTION, *episodes)


def test_episodes_in_the_arrival_convention(dataset):
    _, buffers = dataset
    source = Minari("ours/test-v0")
    names = source.names()
    assert names == ["episode_0000000", "episode_0000001"]
    for name, buffer, terminal in zip(names, buffers, (False, True), strict=True):
        [video] = source.read(name)
        np.testing.assert_array_equal(video.obs["view"], np.stack(buffer.observations["view"]))
        np.testing.assert_array_equal(video.obs["pose"], np.stack(buffer.observations["pose"]))
        kind = np.eye(3)[np.stack(buffer.actions["kind"])]
        taken = np.concatenate([kind, np.stack(buffer.actions["push"]) / 2], axis=1)
        np.testing.assert_allclose(video.action[1:], taken, atol=1e-6)
        assert not video.action[0].any() and video.reward[0] == 0
        np.testing.assert_allclose(video.reward[1:], buffer.rewards, rtol=1e-6)
        assert video.terminal == terminal


def test_the_command_by_id_and_by_folder(dataset, tmp_path, files):
    place, _ = dataset
    for number, source in enumerate(("ours/test-v0", place, place / "data")):
        store = tmp_path / f"s{number}"
        assert main(["minari", str(source), str(store), "--test-fraction", "0"]) == 0
        episodes = files.episodes(store / "train")
        assert [len(episode) for episode in episodes] == [5, 8]
        assert episodes[1]["terminal"].tolist() == [False] * 7 + [True]


def test_an_episode_that_is_missing_is_skipped(dataset, tmp_path):
    place, _ = dataset
    h5py = importlib.import_module("h5py")
    with h5py.File(place / "data" / "main_data.hdf5", "a") as file:
        del file["episode_0"]["actions"]
    assert main(["minari", str(place), str(tmp_path / "s"), "--test-fraction", "0"]) == 0
    summary = json.loads((tmp_path / "s" / "import.json").read_text())
    assert summary["episodes"] == {"train": 1}
    assert [name for name, _ in summary["skipped"]] == ["episode_0000000"]


def test_a_damaged_file_or_an_unknown_id_is_said(dataset, tmp_path, capsys, files):
    place, _ = dataset
    assert main(["minari", "ours/other-v0", str(tmp_path / "s1")]) == 2
    assert "minari download ours/other-v0" in capsys.readouterr().err
    files.truncate(place / "data" / "main_data.hdf5", 0.4)
    assert main(["minari", str(place), str(tmp_path / "s2")]) == 1


def test_spaces_missing_on_disk_make_no_environment(dataset, tmp_path, capsys):
    """Minari would make the environment that the file names, which is code of the file's choice."""
    place, _ = dataset
    path = place / "data" / "metadata.json"
    metadata = json.loads(path.read_text())
    del metadata["action_space"]
    path.write_text(json.dumps(metadata))
    assert main(["minari", str(place), str(tmp_path / "s")]) == 2
    assert "expected action_space" in capsys.readouterr().err


VIEWS = {
    "bytes first": (spaces.Box(0, 255, (3, 64, 64), np.uint8), 1),
    "unit": (spaces.Box(0, 1, (64, 64, 3), np.float32), 1 / 255),
    "floats": (spaces.Box(0, 255, (3, 64, 64), np.float32), 1),
    "integers": (spaces.Box(0, 255, (64, 64, 3), np.int64), 1),
}


def short(view, task, rewards):
    """An episode of two steps, cut by time."""
    return {
        "observations": {"view": list(view), "task": task},
        "actions": [np.zeros(1, np.float32)] * 2,
        "rewards": rewards,
        "terminations": [False, False],
        "truncations": [False, True],
    }


@pytest.mark.parametrize("kind", VIEWS)
def test_pictures_of_any_kind_texts_and_rewards_in_a_column(write, kind):
    box, factor = VIEWS[kind]
    image = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3))
    view = np.moveaxis(image, -1, 1) if box.shape[0] == 3 else image
    space = spaces.Dict({"view": box, "task": spaces.Text(9)})
    rewards = [np.array([1.0]), np.array([2.0])]
    episode = short((view * factor).astype(box.dtype), ["push", "pull", "push"], rewards)
    write(space, spaces.Box(-1, 1, (1,)), episode)
    [video] = Minari("ours/test-v0").read("episode_0000000")
    assert set(video.obs) == {"view"} and video.reward.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(video.obs["view"], image)
    assert video.notes == ("task left out: text is not read",)


def test_pictures_outside_their_space_are_named(write):
    space = spaces.Dict({"view": VIEWS["unit"][0], "task": spaces.Text(9)})
    view = np.full((3, 64, 64, 3), 200, np.float32)
    write(space, spaces.Box(-1, 1, (1,)), short(view, ["a"] * 3, [0.0, 0.0]))
    with pytest.raises(ValueError, match="view: expected pictures from 0 to 1, received 200"):
        list(Minari("ours/test-v0").read("episode_0000000"))
