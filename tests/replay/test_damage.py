"""Nothing on disk is trusted: every kind of damage is set aside and named, and the rest used."""

import io
import os
import pickle
import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest

from replay import ReplayConfig, ReplayStore, SequenceSampler
from replay.chunk import record_dtype

MARK = "REPLAY_TEST_BOMB"


class Bomb:
    """Unpickling it would run code."""

    def __reduce__(self):
        return eval, (f"__import__('os').environ.__setitem__({MARK!r}, 'ran')",)


def chunk(path: Path, number: int = 1, episode: int = 0) -> Path:
    """The file of one chunk."""
    return next((path / "chunks").glob(f"e{episode:08d}-c{number:05d}-*"))


def sealed(path: Path, stem: str, data: bytes) -> Path:
    """Plant a file with the checksum that our own files have: an adversary who knows the format."""
    store_id = (path / "store.json").read_text().split('"id": "')[1].split('"')[0]
    crc = zlib.crc32(data, zlib.crc32(f"{store_id}/{stem}".encode()))
    target = path / "chunks" / f"{stem}-{crc:08x}.npy"
    target.write_bytes(data)
    return target


def saved(array: np.ndarray, **options: bool) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def flip_data(path: Path) -> Path:
    target = chunk(path)
    data = bytearray(target.read_bytes())
    data[-7] ^= 1
    target.write_bytes(data)
    return target


def flip_header(path: Path) -> Path:
    target = chunk(path)
    data = bytearray(target.read_bytes())
    data[20] ^= 1
    target.write_bytes(data)
    return target


def truncate(path: Path) -> Path:
    target = chunk(path)
    target.write_bytes(target.read_bytes()[:-1])
    return target


def empty(path: Path) -> Path:
    target = chunk(path)
    target.write_bytes(b"")
    return target


def extend(path: Path) -> Path:
    target = chunk(path)
    target.write_bytes(target.read_bytes() + b"\0")
    return target


def rename(path: Path) -> Path:
    target = chunk(path)
    return target.rename(target.with_name(target.name.replace("e00000000", "e00000007")))


def renumber(path: Path) -> Path:
    target = chunk(path)
    return target.rename(target.with_name(target.name.replace("c00001", "c00009")))


def respell(path: Path) -> Path:
    target = chunk(path)
    return target.rename(target.with_name(target.name.replace("e00000000", "e000000000")))


def replace_by_a_link(path: Path) -> Path:
    target = chunk(path)
    shutil.move(target, path / "elsewhere.npy")
    target.symlink_to(path / "elsewhere.npy")
    return target


DAMAGES = [
    flip_data,
    flip_header,
    truncate,
    empty,
    extend,
    rename,
    renumber,
    respell,
    replace_by_a_link,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_chunk_is_set_aside_and_the_rest_used(tmp_path, world, damage, caplog):
    world.filled(tmp_path, [12, 6]).close()
    name = damage(tmp_path).name
    store = world.open(tmp_path)
    assert [entry[0] for entry in store.set_aside] == [name] and name in caplog.text
    assert [p.name for p in (tmp_path / "set_aside").iterdir()] == [name]
    assert not list((tmp_path / "chunks").glob(name))
    assert (store.steps, store.episodes) == (4 + 4 + 6, 2)
    check_sequences(store, holes={(1, 4), (1, 5), (1, 6), (1, 7)})
    store.close()
    assert world.open(tmp_path).set_aside == []  # settled


def check_sequences(store, holes):
    """Sampled steps are never in a hole, and no step follows one that is not its predecessor."""
    batch = SequenceSampler(store, batch=200, length=8, stride=2, seed=0).sample()
    real = batch["mask"] == 1
    steps = batch["obs"]["id"].astype(int)
    assert not holes & {tuple(step) for step in steps[real]}
    for row in range(len(steps)):
        for at in range(1, steps.shape[1]):
            if real[row, at - 1] and real[row, at] and not batch["is_first"][row, at]:
                assert (steps[row, at] - steps[row, at - 1]).tolist() == [0, 1]


def text(path: Path) -> Path:
    target = path / "chunks" / "notes.txt"
    target.write_text("x")
    return target


def folder(path: Path) -> Path:
    target = path / "chunks" / "e00000009-c00000-n00004-more-00000000.npy"
    (target / "inside").mkdir(parents=True)
    return target


def half_written(path: Path) -> Path:
    target = path / "chunks" / ".tmp-e00000002-c00000-n00004-more-00000000.npy"
    target.write_bytes(chunk(path).read_bytes()[:50])
    return target


def from_another_store(path: Path) -> Path:
    """A good file in every other respect, of an episode that ours does not have."""
    found = chunk(path.parent / "other", number=0, episode=2)
    return Path(shutil.copy(found, path / "chunks"))


def copied_twice(path: Path) -> Path:
    target = chunk(path).with_name(chunk(path).name.replace("e00000000", "e000000000"))
    shutil.copy(chunk(path), target)
    return target


def of_other_fields(path: Path) -> Path:
    dtype = np.dtype([("obs/id", "<f4", (2,)), ("is_first", "?"), ("filler", "u1", (65,))])
    return sealed(path, "e00000009-c00000-n00004-more", saved(np.zeros(4, dtype)))


def of_one_step_less(path: Path) -> Path:
    dtype = np.load(chunk(path)).dtype
    data = saved(np.zeros(3, dtype)) + bytes(dtype.itemsize)
    return sealed(path, "e00000009-c00000-n00004-more", data)


def with_more_behind(path: Path) -> Path:
    data = saved(np.load(chunk(path))) + bytes(10)
    return sealed(path, "e00000009-c00000-n00004-more", data)


def object_array(path: Path) -> Path:
    """A pickle inside a `.npy`, of the right size, name and checksum."""
    size = np.load(chunk(path)).dtype.itemsize
    data = saved(np.array([Bomb()] * 4, object), allow_pickle=True)
    return sealed(
        path, "e00000009-c00000-n00004-more", data + bytes(max(0, 4 * size - len(data) + 1))
    )


def bare_pickle(path: Path) -> Path:
    size = np.load(chunk(path)).dtype.itemsize
    data = pickle.dumps(Bomb())
    return sealed(path, "e00000009-c00000-n00004-more", data + bytes(4 * size))


PLANTED = [
    text,
    folder,
    half_written,
    from_another_store,
    copied_twice,
    of_other_fields,
    of_one_step_less,
    with_more_behind,
    object_array,
    bare_pickle,
]


@pytest.mark.parametrize("plant", PLANTED)
def test_a_foreign_file_is_set_aside_and_never_trusted(tmp_path, world, plant, caplog):
    world.filled(tmp_path / "other", [12, 6, 9]).close()
    world.filled(tmp_path / "ours", [12, 6]).close()
    name = plant(tmp_path / "ours").name
    store = world.open(tmp_path / "ours")
    assert [entry[0] for entry in store.set_aside] == [name] and name in caplog.text
    assert (store.steps, store.episodes) == (18, 2)
    assert MARK not in os.environ
    assert (tmp_path / "ours" / "set_aside" / name).exists()


def test_nothing_follows_the_end_of_an_episode(tmp_path, world):
    world.filled(tmp_path, [12]).close()
    sealed(tmp_path, "e00000000-c00003-n00004-more", chunk(tmp_path).read_bytes())
    store = world.open(tmp_path)
    assert store.steps == 16 and store.index.broken == 1
    check_sequences(store, holes=set())


def test_the_planted_pickles_would_have_run(tmp_path, world):
    world.filled(tmp_path, [12]).close()
    np.load(object_array(tmp_path), allow_pickle=True)
    assert os.environ.pop(MARK) == "ran"


def test_what_is_set_aside_is_bounded(tmp_path, world, monkeypatch):
    """By the number and by the bytes of files; the newest stay."""
    world.filled(tmp_path, [12, 6]).close()
    for number in range(6):
        path = tmp_path / "chunks" / f"e0000000{number}-c00009-n00004-more-00000000.npy"
        path.write_bytes(b"x" * 10)
        os.utime(path, (number, number))
    monkeypatch.setattr("replay.directory.ASIDE_FILES", 4)
    world.open(tmp_path).close()
    kept = sorted(p.name for p in (tmp_path / "set_aside").iterdir())
    assert [name[:9] for name in kept] == [f"e0000000{number}" for number in (2, 3, 4, 5)]
    monkeypatch.setattr("replay.directory.ASIDE_BYTES", 25)
    (tmp_path / "chunks" / "another").write_bytes(b"x" * 10)
    world.open(tmp_path).close()
    kept = sorted(p.name for p in (tmp_path / "set_aside").iterdir())
    assert kept == ["another", "e00000005-c00009-n00004-more-00000000.npy"]


def test_files_set_aside_under_the_same_name_are_all_kept(tmp_path, world):
    world.filled(tmp_path, [5]).close()
    for _ in range(3):
        text(tmp_path)
        world.open(tmp_path).close()
    kept = sorted(p.name for p in (tmp_path / "set_aside").iterdir())
    assert kept == ["notes.txt", "notes.txt.1", "notes.txt.2"]


def test_a_reader_skips_and_names_but_moves_nothing(tmp_path, world):
    world.filled(tmp_path, [12]).close()
    name = flip_data(tmp_path).name
    store = ReplayStore(tmp_path, world.fields, ReplayConfig(), read_only=True)
    assert [entry[0] for entry in store.set_aside] == [name]
    assert store.steps == 8 and not (tmp_path / "set_aside").exists()


def test_the_types_of_a_record_hold_no_objects(world):
    assert not record_dtype(world.fields).hasobject
