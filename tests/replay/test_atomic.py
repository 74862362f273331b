"""A file that is written appears whole, or what was there stays."""

import os
import stat
from functools import partial

import numpy as np
import pytest
from processes import full_disk

from common.errors import disk_error
from replay.atomic import remove_unfinished, replacing, write_arrays, write_text


def test_it_replaces_what_was_there_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "folder" / "a.txt"
    write_text(path, "old")
    write_text(path, "é")
    assert path.read_bytes() == "é".encode() and list(path.parent.iterdir()) == [path]


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.png"
    write_text(path, "old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
        temporary.write_text("half")
        assert temporary.suffix == ".png" and temporary.parent == tmp_path
        raise KeyboardInterrupt
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_two_writers_of_one_file_do_not_mix(tmp_path):
    path = tmp_path / "a.txt"
    with replacing(path) as one, replacing(path) as other:
        one.write_text("1" * 9)
        other.write_text("2" * 9)
        assert one != other
    assert path.read_text() == "1" * 9  # the outer one ends last


def test_it_is_as_readable_as_any_file(tmp_path):
    write_text(tmp_path / "ours", "")
    (tmp_path / "plain").touch()
    modes = {stat.S_IMODE(os.stat(tmp_path / name).st_mode) for name in ("ours", "plain")}
    assert len(modes) == 1


def test_what_killed_writers_left_can_be_removed(tmp_path):
    (tmp_path / ".tmp-a-00000000.txt").touch()
    (tmp_path / "a.txt").touch()
    remove_unfinished(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


WRITES = [partial(write_text, text="x" * 99), partial(write_arrays, arrays={"x": np.ones(99)})]


@pytest.mark.parametrize("write", WRITES)
def test_a_full_disk_is_told_with_the_file(tmp_path, write):
    path = tmp_path / "a.npz"
    with full_disk(10), pytest.raises(OSError) as full:
        write(path)
    assert disk_error(full.value)[0].startswith(f"{path}: expected room on the disk")
    assert not list(tmp_path.iterdir())
