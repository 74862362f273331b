"""The store: round trip, reopening, sizes, one writer, and errors that say what to do."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from replay import Field, ReplayConfig, ReplayStore, SequenceSampler, describe_size, read_fields

ROOT = str(Path(__file__).parents[2])


def tree(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def run(script: str, *arguments: str) -> str:
    """The output of a Python process that can import the project."""
    environment = os.environ | {"PYTHONPATH": ROOT}
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True).stdout


def test_what_goes_in_comes_out_also_after_reopening(tmp_path, world):
    lengths = [1, 4, 5, 11, 8]
    store = world.filled(tmp_path, lengths)
    assert (store.steps, store.episodes, store.set_aside) == (sum(lengths), len(lengths), [])
    assert store.bytes == 4096 * len(list((tmp_path / "chunks").iterdir()))
    for number, chunks in world.stored(tmp_path).items():
        records = np.concatenate(chunks)
        assert len(records) == lengths[number]
        assert records["terminal"].nonzero()[0].tolist() == [lengths[number] - 1]
        world.check(records)
    assert read_fields(tmp_path) == world.fields


def test_files_are_plain_arrays_written_in_whole_chunks(tmp_path, world):
    world.filled(tmp_path, [10])
    names = [path.name.rsplit("-", 1)[0] for path in sorted((tmp_path / "chunks").iterdir())]
    assert names == [
        "e00000000-c00000-n00004-more",
        "e00000000-c00001-n00004-more",
        "e00000000-c00002-n00002-end",
    ]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["chunks", "lock", "store.json"]


def test_streams_interleave_without_mixing(tmp_path, world):
    with world.open(tmp_path) as store:
        for step in range(9):
            for stream in range(3):
                store.append(stream, world.record(stream, step, 9), last=step == 8)
    for chunks in world.stored(tmp_path).values():
        world.check(np.concatenate(chunks))


def test_only_sealed_steps_count_and_closing_seals_the_rest_as_cut(tmp_path, world):
    store = world.open(tmp_path)
    for step in range(6):
        store.append(0, world.record(1, step), last=False)
    assert store.steps == 4
    store.close()
    assert store.steps == 6 and any("-cut-" in p.name for p in (tmp_path / "chunks").iterdir())
    (chunks,) = world.stored(tmp_path).values()
    world.check(np.concatenate(chunks))
    assert not np.concatenate(chunks)["terminal"].any()


def test_a_reset_in_mid_episode_cuts_it_short(tmp_path, world):
    store = world.open(tmp_path)
    for step in range(3):
        store.append(0, world.record(1, step), last=False)
    world.add(store, 2, 2)
    assert (store.steps, store.episodes) == (5, 2)
    assert [len(np.concatenate(c)) for c in world.stored(tmp_path).values()] == [3, 2]


def test_episode_numbers_go_on_after_reopening_whatever_was_lost(tmp_path, world):
    world.filled(tmp_path, [5, 5, 5]).close()
    for path in (tmp_path / "chunks").glob("e00000002-*"):
        path.write_bytes(b"damaged")
    for expected in (3, 4):  # number 2 is in set_aside, and not given again
        with world.open(tmp_path) as store:
            world.add(store, 9, 2)
        assert max(world.stored(tmp_path)) == expected


@pytest.mark.parametrize("cap", [{"capacity_steps": 25}, {"capacity_gb": 6 * 4096 / 1e9}])
def test_the_oldest_episodes_leave_first(tmp_path, world, cap):
    store = world.open(tmp_path, **cap)
    for tag in range(1, 10):
        world.add(store, tag, 8)  # two files each
        kept = [int(c[0]["obs/id"][0, 0]) for c in world.stored(tmp_path).values()]
        assert kept == list(range(max(1, tag - 2), tag + 1))
        assert store.steps == 8 * len(kept) and store.episodes == len(kept)
    store.close()
    store = world.open(tmp_path, capacity_steps=16)  # a smaller cap when reopened
    world.add(store, 10, 8)
    assert store.episodes == 2


def test_an_episode_being_written_loses_its_oldest_steps_once_no_other_is_left(
    tmp_path, world, caplog
):
    store = world.open(tmp_path, capacity_steps=20)
    for step in range(10):
        store.append(0, world.record(0, step), last=False)  # the oldest, and open
    for tag in range(1, 9):
        world.add(store, tag, 6, stream=1)
    tags = [int(c[0]["obs/id"][0, 0]) for c in world.stored(tmp_path).values()]
    assert tags == [0, 7, 8]
    assert not caplog.records
    for step in range(10, 60):
        store.append(0, world.record(0, step), last=False)
    first, last = (np.concatenate(chunks) for chunks in world.stored(tmp_path).values())
    world.check(first, first=48)
    world.check(last)
    assert (len(first), len(last), store.steps) == (12, 6, 18)
    (said,) = (r.getMessage() for r in caplog.records)
    assert "pass the cap" in said and "--env.time-limit" in said


def endless(world, store, steps):
    """The next steps of three episodes that do not end, one of which begins late."""
    for step in steps:
        for stream in range(3 if step >= 20 else 2):
            store.append(stream, world.record(stream, step - 20 * (stream == 2)), last=False)


def held(world, path):
    """{episode: its first and last sealed step}, each checked to hold what was appended."""
    found = {}
    for number, chunks in world.stored(path).items():
        records = np.concatenate(chunks)
        first = int(records["obs/id"][0, 1])
        world.check(records, first)
        found[number] = first, first + len(records) - 1
    return found


def test_the_longest_of_those_being_written_loses_steps(tmp_path, world):
    with world.open(tmp_path, capacity_steps=24) as store:
        endless(world, store, range(41))
        assert held(world, tmp_path) == {0: (32, 39), 1: (32, 39), 2: (12, 19)}
        assert (store.steps, store.episodes, store.index.broken) == (24, 3, 3)


def test_episodes_that_lost_steps_go_on_from_where_they_were(tmp_path, world):
    """After closing, which seals what is unfinished as cut; and after more steps, and a kill."""
    store = world.open(tmp_path, capacity_steps=24)
    endless(world, store, range(42))
    state, before = store.state(), held(world, tmp_path)
    store.close()
    with world.open(tmp_path, capacity_steps=24) as store:
        store.cut_back(state)
        assert held(world, tmp_path) == before
        endless(world, store, range(42, 60))  # nothing of `before` is left
    with world.open(tmp_path, capacity_steps=24) as store:
        store.cut_back(state)
        assert not store.steps
        endless(world, store, range(42, 49))
        assert held(world, tmp_path) == {0: (40, 47), 1: (40, 47), 2: (20, 27)}
        assert store.index.draw_whole(np.random.default_rng(0)) is None


def test_evicted_data_that_is_being_read_stays_readable(tmp_path, world):
    store = world.open(tmp_path, capacity_steps=8)
    world.add(store, 1, 8)
    sampler = SequenceSampler(store, batch=2, length=4, stride=2, seed=0)
    pieces = [piece for run in sampler.draw() for piece in sampler.open(run)]
    world.add(store, 2, 8)
    assert set(world.stored(tmp_path)) == {1}
    for _, _, records in pieces:
        world.check(records, first=int(records["obs/id"][0, 1]))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux to count")
def test_the_number_of_open_files_is_bounded(tmp_path, world, monkeypatch):
    monkeypatch.setattr("replay.store.OPEN_MAPS", 8)
    store = world.filled(tmp_path, [40] * 20)
    sampler = SequenceSampler(store, batch=4, length=4, stride=1, seed=0)
    for _ in range(50):
        sampler.sample()
    opened = [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
    assert 0 < sum(path.startswith(str(tmp_path / "chunks")) for path in opened) <= 8


FEW = """
import resource, sys
from replay import ReplayConfig, ReplayStore, SequenceSampler, first_steps, read_fields
resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
store = ReplayStore(sys.argv[1], read_fields(sys.argv[1]), ReplayConfig(), read_only=True)
sampler = SequenceSampler(store, batch=64, length=4, stride=1, seed=0)
print(int(sampler.sample()["mask"].sum()), len(first_steps(store, 200, 1)["mask"]))
"""


def test_a_batch_may_lie_in_more_files_than_may_be_open(tmp_path, world):
    world.filled(tmp_path, [1] * 200).close()
    assert run(FEW, str(tmp_path)) == "256 200\n"


def test_other_fields_are_refused_and_nothing_is_touched(tmp_path, world):
    world.filled(tmp_path, [5]).close()
    (tmp_path / "chunks" / "foreign").write_text("x")
    before = tree(tmp_path)
    fields = world.fields | {"obs/id": Field((3,), "float32"), "more": Field((), "float32")}
    with pytest.raises(ValueError, match=r"more: None != .*obs/id: .*\(2,\).* != .*\(3,\)"):
        ReplayStore(tmp_path, fields, ReplayConfig())
    assert tree(tmp_path) == before


def test_the_order_of_fields_does_not_matter(tmp_path, world):
    world.filled(tmp_path, [5]).close()
    fields = dict(reversed(world.fields.items()))
    assert ReplayStore(tmp_path, fields, ReplayConfig()).steps == 5


def test_a_directory_of_something_else_is_refused_and_not_touched(tmp_path, world):
    (tmp_path / "thesis.txt").write_text("x")
    before = tree(tmp_path)
    with pytest.raises(ValueError, match="thesis.txt"):
        world.open(tmp_path)
    with pytest.raises(ValueError, match="received a file"):
        world.open(tmp_path / "thesis.txt")
    assert tree(tmp_path) == before


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": 1, "id": "x", "fields": {"a": 1}}'])
def test_a_damaged_header_is_named(tmp_path, world, text):
    world.filled(tmp_path, [5]).close()
    (tmp_path / "store.json").write_text(text)
    with pytest.raises(ValueError, match="store.json"):
        world.open(tmp_path)
    (tmp_path / "store.json").unlink()
    with pytest.raises(ValueError, match="without store.json"):
        world.open(tmp_path)


def test_a_later_format_is_refused(tmp_path, world):
    world.filled(tmp_path, [5]).close()
    header = json.loads((tmp_path / "store.json").read_text())
    (tmp_path / "store.json").write_text(json.dumps(header | {"format": 99}))
    with pytest.raises(ValueError, match="format 1, received 99"):
        world.open(tmp_path)


def test_an_interrupted_creation_is_taken_up(tmp_path, world):
    (tmp_path / "chunks").mkdir()
    (tmp_path / "lock").touch()
    (tmp_path / ".tmp-store-1a2b3c4d.json").write_text("{")
    with world.open(tmp_path) as store:
        world.add(store, 1, 3)
    assert world.open(tmp_path).steps == 3
    assert not list(tmp_path.glob(".tmp*"))


OPEN = """
import sys
from replay import ReplayConfig, ReplayStore, read_fields
try:
    ReplayStore(sys.argv[1], read_fields(sys.argv[1]), ReplayConfig())
    print("opened")
except ValueError as error:
    print(error)
"""


def test_a_second_writer_is_refused_until_the_first_lets_go(tmp_path, world):
    store = world.filled(tmp_path, [5])
    refused = run(OPEN, str(tmp_path))
    assert "expected no other writer" in refused and f"process {os.getpid()}" in refused
    with pytest.raises(ValueError, match="expected no other writer"):
        world.open(tmp_path)  # nor in the same process
    store.close()
    assert run(OPEN, str(tmp_path)) == "opened\n"


FORK = """
import os, signal, sys
from replay import ReplayConfig, ReplayStore, read_fields
wait, tell = os.pipe()
if os.fork():
    os.close(wait)
    os.wait()  # the writer was killed; its forked worker lives on until it is told
    try:
        ReplayStore(sys.argv[1], read_fields(sys.argv[1]), ReplayConfig())
        os.write(tell, b".")  # which would raise if no one listened
        print("opened")
    except ValueError as error:
        print(error)
else:
    store = ReplayStore(sys.argv[1], read_fields(sys.argv[1]), ReplayConfig())
    begun, begin = os.pipe()
    if os.fork():
        os.read(begun, 1)
        os.kill(os.getpid(), signal.SIGKILL)
    os.write(begin, b".")
    os.close(1), os.close(2), os.close(tell)
    os.read(wait, 1)
"""


def test_a_forked_worker_does_not_keep_a_dead_writers_lock(tmp_path, world):
    world.filled(tmp_path, [5]).close()
    assert run(FORK, str(tmp_path)) == "opened\n"


def test_readers_share_a_store_and_survive_the_writers_evictions(tmp_path, world, caplog):
    writer = world.filled(tmp_path, [8, 8, 8], capacity_steps=24)
    readers = [
        ReplayStore(tmp_path, world.fields, ReplayConfig(), read_only=True) for _ in range(2)
    ]
    with pytest.raises(ValueError, match="opened read_only"):
        world.add(readers[0], 9, 1)
    world.add(writer, 4, 16)  # episodes 1 and 2 leave
    for reader in readers:
        sampler = SequenceSampler(reader, batch=16, length=8, stride=1, seed=0)
        batch = sampler.sample()
        assert set(batch["obs"]["id"][..., 0].ravel()) == {3}
        assert (reader.steps, reader.episodes) == (8, 1)
    assert sum("has vanished" in r.getMessage() for r in caplog.records) == 4


def test_reading_needs_a_store(tmp_path, world):
    for missing in (tmp_path, tmp_path / "none"):
        with pytest.raises(ValueError, match="expected a readable store.json"):
            ReplayStore(missing, world.fields, ReplayConfig(), read_only=True)
    assert not list(tmp_path.iterdir())


def test_the_estimate_is_what_a_full_store_occupies(tmp_path, world, caplog):
    config = ReplayConfig(capacity_steps=4096, chunk_steps=512)
    line = describe_size(world.fields, config, tmp_path)
    assert line.startswith("replay: 4,096 steps of 74 B = ") and "free" in line
    with ReplayStore(tmp_path, world.fields, config) as store:
        world.add(store, 1, 4096)
    assert float(line.split(" = ")[1].split(" MB")[0]) == pytest.approx(store.bytes / 1e6, rel=0.01)
    assert not caplog.records


def test_the_estimate_obeys_the_cap_in_gb(world):
    line = describe_size(world.fields, ReplayConfig(capacity_gb=1.5))
    assert "1,000,000 steps" in line
    line = describe_size(world.fields, ReplayConfig(capacity_gb=0.015))
    assert "= 15.00 MB" in line


def test_too_little_room_on_the_disk_is_said_before_it_starts(tmp_path, world, caplog):
    config = ReplayConfig(capacity_steps=10**15, capacity_gb=1e9)
    assert "lower replay.capacity_gb" in describe_size(world.fields, config, tmp_path / "new")
    with caplog.at_level(logging.WARNING):
        ReplayStore(tmp_path / "new", world.fields, config)
    assert "lower replay.capacity_gb" in caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reward": None}, "give one value for each"),
        ({"surplus": 1.0}, "give one value for each"),
        ({"action": np.zeros(3, np.float32)}, r"expected 'action' as float32 \(2,\)"),
        ({"obs/image": np.zeros((4, 4, 3), np.float32)}, "expected 'obs/image' as uint8"),
        ({"reward": "one"}, "expected 'reward' as float32"),
        ({"reward": object()}, "expected 'reward' as float32"),
        ({"is_first": False}, "append the reset observation first"),
    ],
)
def test_a_wrong_record_is_refused(tmp_path, world, change, message):
    store = world.open(tmp_path)
    record = {k: v for k, v in (world.record(1, 0) | change).items() if v is not None}
    with pytest.raises(ValueError, match=message):
        store.append(0, record, last=True)
    assert store.steps == 0


def test_a_closed_store_takes_no_more(tmp_path, world):
    store = world.open(tmp_path)
    store.close()
    store.close()
    with pytest.raises(ValueError, match="received one closed"):
        world.add(store, 1, 1)


@pytest.mark.parametrize(
    ("name", "field", "message"),
    [
        ("x", Field((), "object"), "bool, integer or float"),
        ("x", Field((), "U8"), "bool, integer or float"),
        ("x", Field((), "flote"), "bool, integer or float"),
        ("x", Field((0,), "float32"), "axes >= 1"),
        ("is_first", Field((), "float32"), "'is_first' as a bool scalar"),
    ],
)
def test_a_wrong_field_is_refused(tmp_path, world, name, field, message):
    with pytest.raises(ValueError, match=message):
        ReplayStore(tmp_path / "new", world.fields | {name: field}, ReplayConfig())
    assert not (tmp_path / "new").exists()


def test_a_wrong_size_is_refused(tmp_path, world):
    with pytest.raises(ValueError, match="chunk_steps: expected 1 or more, received 0"):
        ReplayStore(tmp_path / "new", world.fields, ReplayConfig(chunk_steps=0))
    assert not (tmp_path / "new").exists()


def test_a_full_disk_is_an_error_that_loses_nothing_once_there_is_room(
    tmp_path, world, monkeypatch
):
    store = world.open(tmp_path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            world.add(store, 1, 4)
        assert not list((tmp_path / "chunks").iterdir())
    for step in range(4, 9):
        store.append(0, world.record(1, step), last=step == 8)
    (chunks,) = world.stored(tmp_path).values()
    assert len(np.concatenate(chunks)) == 9
