"""Episodes with a number that is nan or infinite are skipped and named: imported, and recorded."""

import json

import numpy as np
import pytest

from common import UserError
from configs.data import DataConfig
from recordings.__main__ import main
from recordings.data import open_train
from replay import Field, ReplayConfig, ReplayStore, standard_fields


def chunk(**changes):
    """Two episodes of three steps."""
    arrays = {
        "image": np.zeros((6, 64, 64, 3), np.uint8),
        "pose": np.zeros((6, 2)),
        "action": np.zeros((6, 1), np.float32),
        "reward": np.zeros(6),
        "is_first": np.arange(6) % 3 == 0,
    }
    for name, (step, value) in changes.items():
        arrays[name][step] = value
    return arrays


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("pose", "obs/pose", np.nan),
        ("pose", "obs/pose", 1e300),
        ("action", "action", -np.inf),
        ("reward", "reward", np.inf),
    ],
)
def test_an_import_skips_the_episode_alone(tmp_path, name, field, value):
    np.savez(tmp_path / "data.npz", **chunk(**{name: (4, value)}))
    store = tmp_path / "store"
    assert main(["npz", str(tmp_path / "data.npz"), str(store), "--test-fraction", "0"]) == 0
    summary = json.loads((store / "import.json").read_text())
    assert summary["episodes"] == {"train": 1}
    [(what, why)] = summary["skipped"]
    shown = "-inf" if value == -np.inf else "nan" if np.isnan(value) else "inf"
    assert what == "data.npz:00001"
    assert why == f"{field} is {shown} at step 1, expected finite numbers"


def test_what_no_store_can_hold_ends_no_import(tmp_path):
    (tmp_path / "data").mkdir()
    np.savez(tmp_path / "data" / "a.npz", **chunk() | {"reward": np.zeros((6, 2))})
    np.savez(tmp_path / "data" / "b.npz", **chunk())
    store = tmp_path / "store"
    assert main(["npz", str(tmp_path / "data"), str(store), "--test-fraction", "0"]) == 0
    summary = json.loads((store / "import.json").read_text())
    assert summary["episodes"] == {"train": 2}
    assert [what for what, _ in summary["skipped"]] == ["a.npz"]


def record(first, value):
    return {
        "obs/x": np.float32([0, value]),
        "action_mask": np.float32(0),
        "reward": np.float32(0),
        "terminal": np.False_,
        "is_first": np.bool_(first),
    }


def recorded(path, *episodes):
    """A store of episodes, each given by its values."""
    fields = standard_fields({"x": Field((2,), "float32")}, 0)
    with ReplayStore(path, fields, ReplayConfig(chunk_steps=2)) as store:
        for values in episodes:
            for t, value in enumerate(values):
                store.append(0, record(t == 0, value), last=t == len(values) - 1)
    return DataConfig(name=str(path))


def test_recordings_are_read_without_the_episode(tmp_path, capsys):
    data = recorded(tmp_path / "s", [1, 2, 3], [4, 5, np.nan], [6])
    with open_train(data) as store:
        assert (store.episodes, store.steps) == (2, 4)
        assert [s.key[0] for s in store.index.segments] == [0, 2]
    assert (
        capsys.readouterr().out == f"skipped episode 1 of {tmp_path / 's'}: obs/x is not finite\n"
    )


def test_an_episode_that_is_evicted_while_it_is_checked_is_left_out(tmp_path, monkeypatch):
    data, read = recorded(tmp_path / "s", [1, 2, 3], [4, 5, 6]), ReplayStore.read

    def late(store, *slice_):
        for path in (tmp_path / "s" / "chunks").glob("e00000000-*"):
            path.unlink()
        return read(store, *slice_)

    monkeypatch.setattr(ReplayStore, "read", late)
    with open_train(data) as store:
        assert [s.key[0] for s in store.index.segments] == [1]


def test_recordings_of_such_episodes_alone_are_refused(tmp_path):
    with pytest.raises(UserError, match="expected episodes of finite numbers, received none"):
        open_train(recorded(tmp_path / "s", [np.inf]))
