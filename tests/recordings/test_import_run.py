"""The import as a whole: what is kept, skipped and reported; other settings, full disks."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from processes import full_disk

from common.errors import disk_error
from configs.data import DataConfig
from recordings.__main__ import main
from recordings.data import open_stores
from recordings.episode import Video
from recordings.importers.formats import FORMATS
from recordings.importers.images import Look
from recordings.importers.stores import SplitStores
from recordings.importers.video_folder import VideoFolder
from recordings.ledger import Entry, Ledger
from recordings.run import ImportConfig, draw_split, run_import
from replay import ReplayConfig, ReplayStore, SequenceSampler, read_fields


@pytest.fixture
def folder(tmp_path, files):
    """Good videos among every kind of bad one."""
    root = tmp_path / "videos"
    for tag, name in enumerate(("a/one.mp4", "a/b/two.avi", "three.mkv", "zoe.mov")):
        codec = "mpeg4" if name.endswith(".avi") else "h264"
        files.video(root / name, files.frames(tag, 12 + tag, (96, 64)), codec)
    (root / "empty.mp4").write_bytes(b"")
    (root / "text.mp4").write_text("no video at all\n" * 200)
    (root / "list.mp4").write_text(f"#EXTM3U\n#EXTINF:1,\n{root / 'zoe.mov'}\n#EXT-X-ENDLIST\n")
    (root / "readme.txt").write_text("left alone")
    (root / "folder.mp4").mkdir()
    os.mkfifo(root / "pipe.mp4")
    files.truncate(files.video(root / "cut.mp4", files.frames(9, 30)))
    files.truncate(
        files.video(root / "cut_fast.mp4", files.frames(9, 30), movflags="faststart"), 0.8
    )
    files.truncate(files.video(root / "cut.avi", files.frames(9, 90), "mpeg4"))
    files.truncate(files.video(root / "cut.mkv", files.frames(9, 90)))
    return root


BAD_NAMES = {"empty.mp4", "text.mp4", "list.mp4", "pipe.mp4", "cut.mp4", "cut_fast.mp4", "cut.avi"}
BAD_NAMES |= {"cut.mkv"}
NONE_HELD_OUT = ("--test-fraction", "0")


def command(*args):
    return main([str(arg) for arg in args])


def test_good_videos_are_kept_and_bad_ones_named(tmp_path, folder, files, capsys):
    assert command("videos", folder, tmp_path / "s", "--test-fraction", "0") == 0
    shown = capsys.readouterr().out
    summary = json.loads((tmp_path / "s" / "import.json").read_text())
    assert summary["complete"] and summary["episodes"] == {"train": 4}
    assert {name for name, _ in summary["skipped"]} == BAD_NAMES
    assert all(reason for _, reason in summary["skipped"])
    for name, reason in summary["skipped"]:
        assert any(name in line and line.endswith(f": {reason}") for line in shown.splitlines())
    episodes = files.episodes(tmp_path / "s" / "train")  # in the order of the paths
    assert [len(episode) for episode in episodes] == [13, 12, 14, 15]
    for tag, episode in zip((1, 0, 2, 3), episodes, strict=True):
        images = files.frames(tag, len(episode))
        assert np.abs(episode["obs/image"].astype(int) - images).max() <= 6
        assert episode["is_first"].tolist() == [True] + [False] * (len(episode) - 1)
        assert not episode["action_mask"].any() and not episode["terminal"].any()


@dataclass(frozen=True)
class Ramps:
    """Ramps: a format of one's own, in one file."""

    source: Path
    """A text file of one start per line."""
    step: int = 1
    """Added at each frame."""

    def names(self):
        return [f"ramp_{n}" for n, _ in enumerate(self.source.read_text().split())]

    def read(self, name):
        start = int(self.source.read_text().split()[int(name[5:])])
        if not 0 <= start < 200:
            raise ValueError(f"a start of {start}")
        grey = (start + self.step * np.arange(5, dtype=np.uint8))[:, None, None, None]
        yield Video(name, {"image": np.tile(grey, (1, 64, 64, 3))})

    def split(self, name):
        return "train"


def test_a_format_is_a_class_and_a_row_of_the_table(tmp_path, files, monkeypatch, capsys):
    """Its options, its help, and what becomes of what it cannot read follow from it."""
    monkeypatch.setitem(FORMATS, "ramps", Ramps)
    (tmp_path / "list.txt").write_text("7 300 9")
    assert command("ramps", tmp_path / "list.txt", tmp_path / "s", "--step", 2, *NONE_HELD_OUT) == 0
    assert "ramp_1: a start of 300" in capsys.readouterr().out
    seen = [e["obs/image"][:, 0, 0, 0].tolist() for e in files.episodes(tmp_path / "s" / "train")]
    assert seen == [[7, 9, 11, 13, 15], [9, 11, 13, 15, 17]]


@dataclass(frozen=True)
class Odd:
    """One good source among those that no reader of a format should yield or raise."""

    def names(self):
        return ["action", "reward", "object", "axes", "none", "zero", "attribute", "assert", "good"]

    def read(self, name):
        x = np.zeros((4, 2), np.float32)
        odd = {
            "action": Video(name, {"x": x}, action=x[:, 0]),
            "reward": Video(name, {"x": x}, reward=x),
            "object": Video(name, {"x": x.astype(object)}),
            "axes": Video(name, {"x": np.float32(0)}),
            "none": Video(name, {}),
            "good": Video(name, {"x": x}),
        }
        if name == "zero":
            x = 1 // 0
        if name == "attribute":
            x = None.shape
        assert name != "assert"
        yield odd[name]

    def split(self, name):
        return "train"


def test_nothing_that_a_reader_does_ends_an_import(tmp_path, files):
    report = run_import("odd", Odd(), tmp_path / "s", ImportConfig(test_fraction=0))
    assert report.episodes == {"train": 1} and len(files.episodes(tmp_path / "s" / "train")) == 1
    reasons = dict(report.skipped)
    assert set(reasons) == set(Odd().names()) - {"good"} and all(reasons.values())
    assert "expected numbers [T, A] of action, received float32 (4,)" in reasons["action"]
    assert reasons["zero"].startswith("ZeroDivisionError") and "Assertion" in reasons["assert"]


def test_the_store_is_one_to_learn_from(tmp_path, folder):
    assert command("videos", folder, tmp_path / "s", "--test-fraction", "0") == 0
    place = tmp_path / "s" / "train"
    store = ReplayStore(place, read_fields(place), ReplayConfig(), read_only=True)
    batch = SequenceSampler(store, batch=2, length=8, stride=1, seed=0).sample()
    assert batch["obs"]["image"].shape == (2, 8, 64, 64, 3)


def test_run_again_changes_nothing_and_new_files_join(tmp_path, folder, files):
    run = ("videos", folder, tmp_path / "s", "--test-fraction", "0")
    assert command(*run) == 0
    before = sorted(path.name for path in (tmp_path / "s").rglob("*"))
    assert command(*run) == 0
    assert sorted(path.name for path in (tmp_path / "s").rglob("*")) == before
    summary = tmp_path / "s" / "import.json"
    summary.write_text(summary.read_text().replace('"squeeze"', '"stretch"'))  # an earlier word
    files.video(folder / "new.mp4", files.frames(5, 20))
    assert command(*run) == 0
    assert len(files.episodes(tmp_path / "s" / "train")) == 5
    assert command(*run, "--fit", "crop") == 2


def forget_stamps(store):
    """The ledger as earlier versions wrote it."""
    lines = [json.loads(line) for line in (store / "ledger.jsonl").read_text().splitlines()]
    for line in lines:
        assert {"stamp", "interval"} <= line.keys()
        del line["stamp"], line["interval"]
    (store / "ledger.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.parametrize("old", [False, True])
def test_what_was_skipped_is_read_again_when_it_has_changed_or_when_asked(
    tmp_path, folder, files, old
):
    run = ("videos", folder, tmp_path / "s", "--test-fraction", "0")
    assert command(*run) == 0
    if old:
        forget_stamps(tmp_path / "s")
    files.video(folder / "cut.mp4", files.frames(9, 30))  # mended
    assert command(*run) == 0
    assert len(files.episodes(tmp_path / "s" / "train")) == 5 - old
    assert command(*run, "--retry-skipped") == 0
    assert len(files.episodes(tmp_path / "s" / "train")) == 5
    summary = json.loads((tmp_path / "s" / "import.json").read_text())
    assert {name for name, _ in summary["skipped"]} == BAD_NAMES - {"cut.mp4"}


def test_data_that_change_after_their_import_are_said_to(tmp_path, files, capsys):
    """A line each time: of what was replaced, and of pictures that vanished; not of what an earlier
    version imported."""
    for tag in range(4):
        files.video(tmp_path / f"v/{tag}.mp4", files.frames(tag, 5))
    for number, image in enumerate(files.frames(0, 3)):
        (tmp_path / "v" / "p").mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / "v" / "p" / f"{number}.png")
    data = DataConfig(str(tmp_path / "v"), tmp_path / "data")
    open_stores(data)
    capsys.readouterr()
    open_stores(data)
    assert not capsys.readouterr().out
    files.video(tmp_path / "v/2.mp4", files.frames(9, 7))
    (tmp_path / "v/3.mp4").unlink()
    (tmp_path / "v/p/1.png").unlink()
    [root] = (tmp_path / "data").iterdir()
    line = (
        f"changed since the import, or gone: 2.mp4, 3.mp4, p/#.png; delete {root} to import again"
    )
    open_stores(data)
    assert capsys.readouterr().out == line + "\n"
    assert command("videos", tmp_path / "v", root) == 0
    assert capsys.readouterr().out.splitlines()[-2] == line
    forget_stamps(root)
    assert command("videos", tmp_path / "v", root) == 0
    assert "changed" not in capsys.readouterr().out


@pytest.mark.parametrize("fps", [(), ("--fps", "10")])
def test_videos_of_several_rates_are_said_to_be(tmp_path, files, capsys, fps):
    for rate in (10, 24, 60):
        files.video(tmp_path / f"v/{rate}.mp4", files.frames(0, 20), fps=rate)
    assert command("videos", tmp_path / "v", tmp_path / "s", *fps) == 0
    said = "from 10 to 60 frames per second, stored frame by frame: python -m recordings videos"
    assert (said in capsys.readouterr().out) == (not fps)


def test_other_settings_and_foreign_directories_are_refused(tmp_path, folder, capsys):
    run = ("videos", folder, tmp_path / "s")
    assert command(*run) == 0
    assert command(*run, "--size", "32") == 2
    assert "size 64 (now 32)" in capsys.readouterr().err
    assert command("kth", folder, tmp_path / "s") == 2
    assert "format videos (now kth)" in capsys.readouterr().err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    assert command("videos", folder, tmp_path / "mine") == 2
    assert "thesis.tex" in capsys.readouterr().err
    assert (tmp_path / "mine" / "thesis.tex").exists()


def test_an_import_goes_on_by_the_defaults_of_newer_options(tmp_path, folder, capsys):
    run = ("videos", folder, tmp_path / "s")
    assert command(*run) == 0
    path = tmp_path / "s" / "import.json"
    summary = json.loads(path.read_text())
    del summary["options"]["fps"]  # as if there had been no such option
    path.write_text(json.dumps(summary))
    assert command(*run) == 0
    path.write_text(json.dumps(summary))
    assert command(*run, "--fps", "5") == 2
    assert "fps None (now 5.0)" in capsys.readouterr().err


def test_episodes_of_others_in_the_store_are_not_deleted(tmp_path, folder, files, capsys):
    run = ("videos", folder, tmp_path / "s", "--test-fraction", "0")
    assert command(*run) == 0
    place = tmp_path / "s" / "train"
    with ReplayStore(place, read_fields(place), ReplayConfig()) as store:
        record = {name: np.zeros(f.shape, f.dtype) for name, f in store.fields.items()}
        store.append(0, record | {"is_first": np.True_}, last=True)
    assert command(*run) == 0  # nothing to do, nothing touched
    files.video(folder / "new.mp4", files.frames(5, 20))
    assert command(*run) == 2
    assert "expected the 4 episodes imported, received more" in capsys.readouterr().err
    assert len(files.episodes(place)) == 5


def test_a_video_with_other_fields_is_skipped(tmp_path, files):
    (tmp_path / "d").mkdir()
    for name, width in (("a", 3), ("b", 5), ("c", 3)):
        arrays = {"image": np.zeros((6, 64, 64, 3), np.uint8), "pose": np.zeros((6, width))}
        np.savez(tmp_path / "d" / f"{name}.npz", **arrays)
    assert command("npz", tmp_path / "d", tmp_path / "s", "--test-fraction", "0") == 0
    summary = json.loads((tmp_path / "s" / "import.json").read_text())
    [(name, reason)] = summary["skipped"]
    assert name == "b.npz" and "obs/pose: float32 (5,) not float32 (3,)" in reason
    assert len(files.episodes(tmp_path / "s" / "train")) == 2


def test_names_that_no_terminal_can_show(tmp_path, files, capsys):
    """Bytes that are no UTF-8, and line feeds: both are names of files on Linux."""
    root = tmp_path / "v"
    good = files.video(root / "x.mp4", files.frames(0, 3))
    for name in (b"\xff\xfe.mp4", b"two\nlines.mp4"):
        os.link(good, os.fsencode(root) + b"/" + name)
        (root / os.fsdecode(b"bad" + name)).write_bytes(b"")
    assert command("videos", root, tmp_path / "s", "--test-fraction", "0.5") == 0
    shown = capsys.readouterr().out
    assert "badtwo\\nlines.mp4: an empty file" in shown or "badtwo\\nlines.mp4, " in shown
    assert "bad\\udcff\\udcfe.mp4" in shown
    assert sum(len(files.episodes(tmp_path / "s" / split)) for split in ("train", "test")) == 3
    assert command("videos", root, tmp_path / "s", "--test-fraction", "0.5") == 0


def test_a_store_among_the_data_is_refused(tmp_path, folder, capsys):
    assert command("videos", folder, folder / "store") == 2
    assert "expected a store outside the data" in capsys.readouterr().err
    assert not (folder / "store").exists()


def test_nothing_good_is_exit_code_1(tmp_path):
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "bad.mp4").write_bytes(b"x" * 1000)
    assert command("videos", tmp_path / "v", tmp_path / "s") == 1
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == [
        "import.json",
        "import.lock",
        "ledger.jsonl",
    ]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_says_what_it_takes(name, capsys):
    with pytest.raises(SystemExit) as exit_:
        command(name, "--help")
    assert exit_.value.code == 0
    shown = capsys.readouterr().out
    assert "STORE" in shown and "--size" in shown and "--test-fraction" in shown


def test_without_a_format_all_are_listed(capsys):
    assert command("--help") == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in FORMATS)


@pytest.mark.parametrize("args", [(), ("vidoes", "a", "b"), ("videos", "/nowhere/at/all", "s")])
def test_mistakes_are_one_line_and_exit_code_2(tmp_path, monkeypatch, args, capsys):
    monkeypatch.chdir(tmp_path)
    assert command(*args) == 2
    if args:
        err = capsys.readouterr().err
        assert err.startswith("error: expected") and err.count("\n") == 1


def test_long_videos_are_cut_and_said_to_be(tmp_path, files):
    files.video(tmp_path / "v" / "long.mp4", files.frames(0, 45))
    source = VideoFolder(tmp_path / "v", Look(max_frames=20))
    report = run_import("videos", source, tmp_path / "s", ImportConfig(test_fraction=0.0))
    episodes = files.episodes(tmp_path / "s" / "train")
    assert [len(episode) for episode in episodes] == [20, 20, 5]
    assert all(episode["is_first"].sum() == 1 for episode in episodes)
    assert [name for name, _ in report.notes] == ["long.mp4[0:20]"]
    whole = np.concatenate([episode["obs/image"] for episode in episodes])
    assert np.abs(whole.astype(int) - files.frames(0, 45)).max() <= 6


def test_a_long_video_that_is_damaged_leaves_nothing(tmp_path, files):
    """Its first pieces were in the store already, beside those of a good one, or alone."""
    (tmp_path / "v").mkdir()
    files.truncate(files.video(tmp_path / "v" / "a.avi", files.frames(0, 90), "mpeg4"))
    source = VideoFolder(tmp_path / "v", Look(max_frames=20))
    config = ImportConfig(test_fraction=0.0)
    assert run_import("videos", source, tmp_path / "s", config).episodes == {}
    assert not (tmp_path / "s" / "train").exists()
    files.video(tmp_path / "v" / "b.mp4", files.frames(1, 10))
    files.truncate(files.video(tmp_path / "v" / "c.avi", files.frames(2, 90), "mpeg4"))
    files.video(tmp_path / "v" / "d.mp4", files.frames(3, 10))
    again = VideoFolder(tmp_path / "v", Look(max_frames=20))  # which looks anew
    report = run_import("videos", again, tmp_path / "s", config)
    assert report.episodes == {"train": 2} and [name for name, _ in report.skipped] == [
        "a.avi",
        "c.avi",
    ]
    assert len(files.episodes(tmp_path / "s" / "train")) == 2


def test_held_out_is_an_exact_share_and_the_same_every_time(tmp_path):
    np.save(tmp_path / "mnist_test_seq.npy", np.zeros((1, 60, 64, 64), np.uint8))
    held_out = []
    for store in ("s1", "s2"):
        run = ("moving_mnist", tmp_path / "mnist_test_seq.npy", tmp_path / store)
        assert command(*run, "--order", "frames_first", "--test-fraction", "0.25") == 0
        summary = json.loads((tmp_path / store / "import.json").read_text())
        assert summary["episodes"] == {"train": 45, "test": 15}
        held_out.append(summary["held_out"])
    assert held_out[0] == held_out[1] and len(held_out[0]) == 15


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 0.4, 0.9])
def test_of_any_number_of_videos_the_share_is_held_out_and_at_least_one(share):
    """Whatever their names are: never less than the share rounded down, or more than rounded up."""
    for series in range(20):
        drawn = {"train": 0, "test": 0}
        for n in range(1, 41):
            drawn[draw_split(f"{series}/{n}.mp4", share, dict(drawn))] += 1
            if share == 0:
                assert not drawn["test"]
            elif n > 1:
                assert drawn["test"] >= 1 and drawn["train"] >= 1
                assert abs(drawn["test"] - share * n) < 1 or n < 10


def test_pieces_of_a_video_are_held_out_together(tmp_path, files):
    for tag in range(4):
        files.video(tmp_path / "v" / f"{tag}.mp4", files.frames(tag, 30))
    source = VideoFolder(tmp_path / "v", Look(max_frames=8))
    report = run_import("videos", source, tmp_path / "s", ImportConfig(test_fraction=0.5))
    assert report.episodes == {"train": 8, "test": 8} and len(report.held_out) == 2


NAMES = {
    "loose": (["a", "b", "c"], (2, 1)),
    "train alone": (["train/a", "train/b", "train/c"], (2, 1)),
    "validation": (["train/a", "train/b", "val/c", "val/d"], (2, 2)),
    "test": (["a", "b", "test/c", "validation/d"], (2, 1)),
}


@pytest.mark.parametrize("kind", NAMES)
def test_a_folder_with_few_videos_holds_one_out_and_says_which(tmp_path, files, capsys, kind):
    names, (train, test) = NAMES[kind]
    for name in names:
        files.video(tmp_path / "v" / f"{name}.mp4", files.frames(1, 5))
    stores = open_stores(DataConfig(str(tmp_path / "v"), tmp_path / "data"))
    assert tuple(store.episodes for store in stores) == (train, test)
    shown = capsys.readouterr().out
    [line] = [line for line in shown.splitlines() if line.startswith("held out")]
    [root] = (tmp_path / "data").iterdir()
    held_out = json.loads((root / "import.json").read_text())["held_out"]
    assert line == f"held out {len(held_out)}: {', '.join(held_out)}"
    open_stores(DataConfig(str(tmp_path / "v"), tmp_path / "data"))
    assert "held out" not in capsys.readouterr().out  # said once


def test_one_video_alone_cannot_be_learned_from_and_tested_on(tmp_path, files):
    files.video(tmp_path / "v" / "a.mp4", files.frames(1, 5))
    with pytest.raises(ValueError, match="expected a folder with two or more videos"):
        open_stores(DataConfig(str(tmp_path / "v"), tmp_path / "data"))


def test_what_was_kept_left_out_and_changed_is_said_and_stored(tmp_path, capsys):
    (tmp_path / "d").mkdir()
    for name in "abcde":
        image = np.full((6, 64, 64, 3), 0.5) if name != "e" else np.zeros((6, 64, 64, 3)) - 1
        np.savez(tmp_path / "d" / f"{name}.npz", image=image, state=np.zeros((6, 2)))
    assert command("npz", tmp_path / "d", tmp_path / "s", "--test-fraction", "0.25") == 0
    summary = json.loads((tmp_path / "s" / "import.json").read_text())
    assert summary["fields"]["obs/image"] == "uint8 (64, 64, 3)"
    assert summary["episodes"] == {"train": 3, "test": 1}
    shown = capsys.readouterr().out.splitlines()
    said = "image: pictures of floats from 0 to 1, stored times 255"
    refused = (
        "image: pictures of float64 from -1 to -1, expected numbers from 0 to 1 or from 0 to 255"
    )
    assert shown[:-1] == [
        f"{tmp_path / 's'}: 4 episodes (train 3, test 1), 24 frames",
        "kept per frame: image uint8 (64, 64, 3), state float32 (2,)",
        f"held out 1: {summary['held_out'][0]}",
        "left out 1:",
        f"  e.npz: {refused}",
        "changed 4:",
        f"  a.npz, b.npz, c.npz and 1 more: {said}",
    ]


def test_a_full_disk_ends_the_import_which_goes_on_later(tmp_path, folder, files, monkeypatch):
    run = ("videos", folder, tmp_path / "s", "--test-fraction", "0", "--chunk-steps", "4")
    with monkeypatch.context() as patch:
        patch.setattr(SplitStores, "_room", lambda self, place: 600_000.0)
        with pytest.raises(OSError, match=r"MB of ") as full:
            command(*run)
    line, code = disk_error(full.value)
    assert code == 1 and line.startswith(f"{tmp_path / 's'}: expected room on the disk")
    assert not json.loads((tmp_path / "s" / "import.json").read_text())["complete"]
    kept = len(files.episodes(tmp_path / "s" / "train"))
    assert 0 < kept < 4
    assert command(*run) == 0
    assert len(files.episodes(tmp_path / "s" / "train")) == 4


def test_an_import_into_a_disk_that_fills_goes_on_later(tmp_path, folder, files):
    """The files of the store themselves meet the end of the disk."""
    run = ("videos", folder, tmp_path / "s", "--test-fraction", "0", "--chunk-steps", "4")
    with full_disk(40_000), pytest.raises(OSError, match="File too large"):
        command(*run)
    assert command(*run) == 0
    assert len(files.episodes(tmp_path / "s" / "train")) == 4


def test_a_line_of_the_ledger_that_was_cut_off_does_not_count(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.add(Entry("a", {"train": 1}, 1, 10))
    ledger.add(Entry("b", {"train": 2}, 1, 10, notes=[("b", "x")]))
    for cut in (1, 20):
        data = ledger.path.read_bytes()
        ledger.path.write_bytes(data[:-cut])
        again = Ledger(tmp_path)
        assert again.done == {"a"} and again.episodes == {"train": 1}
        again.add(Entry("b", {"train": 2}, 1, 10, notes=[("b", "x")]))
        assert Ledger(tmp_path).entries == ledger.entries
    ledger.path.write_text("{}\n")
    with pytest.raises(ValueError, match="expected the lines that an import wrote"):
        Ledger(tmp_path)


def test_two_imports_at_once_are_refused(tmp_path, folder, capsys):
    from replay.lock import DirectoryLock

    (tmp_path / "s").mkdir()
    lock = DirectoryLock(tmp_path / "s" / "import.lock")
    assert command("videos", folder, tmp_path / "s") == 2
    assert "expected no other writer" in capsys.readouterr().err
    lock.release()
    assert isinstance(tmp_path, Path)
