"""Clips of video: whole inside their episode; streams that read on, and resume."""

import numpy as np
import pytest

from replay import ClipSampler, ReplayConfig, ReplayStore, first_steps


def rows(batch):
    """[(tag, first step)] of a batch, after a check that steps are consecutive."""
    ids = batch["obs"]["id"]
    for row in ids:
        assert (row[:, 0] == row[0, 0]).all() and (np.diff(row[:, 1]) == 1).all()
    return [(int(row[0, 0]), int(row[0, 1])) for row in ids]


def test_clips_lie_whole_in_episodes_and_every_start_is_drawn(tmp_path, world):
    store = world.filled(tmp_path, [6, 3, 9])
    sampler = ClipSampler(store, batch=64, length=5, streams=False, seed=0)
    batches = [sampler.sample() for _ in range(8)]
    seen = {row for batch in batches for row in rows(batch)}
    assert seen == {(1, 0), (1, 1), *[(3, start) for start in range(5)]}
    for batch in batches:
        assert batch["mask"].shape == (64, 5) and (batch["mask"] == 1).all()
        assert not batch["continues"].any()


def test_starts_are_uniform_over_all_clips(tmp_path, world):
    store = world.filled(tmp_path, [5, 14])  # 1 clip of 5 frames, and 10
    sampler = ClipSampler(store, batch=1100, length=5, streams=False, seed=0)
    tags = np.array([tag for tag, _ in rows(sampler.sample())])
    assert abs((tags == 1).mean() - 1 / 11) < 4 * np.sqrt(10 / 11**2 / 1100)


def test_streams_read_on_and_say_so(tmp_path, world):
    store = world.filled(tmp_path, [23, 31])
    sampler = ClipSampler(store, batch=3, length=5, streams=True, seed=1)
    last = [None] * 3
    starts = set()
    for _ in range(40):
        batch = sampler.sample()
        for row, (tag, first) in enumerate(rows(batch)):
            assert batch["continues"][row] == (last[row] == (tag, first))
            if not batch["continues"][row]:
                assert first < 5
                starts.add(first)
                length = {1: 23, 2: 31}
                assert last[row] is None or last[row][1] + 5 > length[last[row][0]]
            last[row] = (tag, first + 5)
    assert starts == set(range(5))  # every phase


def test_a_stream_resumes_where_it_was(tmp_path, world):
    store = world.filled(tmp_path, [23, 31])
    sampler = ClipSampler(store, batch=3, length=5, streams=True, seed=1)
    for _ in range(3):
        sampler.sample()
    other = ClipSampler(store, batch=3, length=5, streams=True, seed=9)
    other.restore(sampler.state())
    for _ in range(5):
        first, second = sampler.sample(), other.sample()
        assert rows(first) == rows(second)
        np.testing.assert_array_equal(first["continues"], second["continues"])


def test_streams_leave_episodes_that_the_writer_evicts(tmp_path, world):
    writer = world.filled(tmp_path, [20] * 4, capacity_steps=80)
    reader = ReplayStore(tmp_path, world.fields, ReplayConfig(), read_only=True)
    sampler = ClipSampler(reader, batch=6, length=5, streams=True, seed=1)
    assert {1, 2} < {tag for tag, _ in rows(sampler.sample())}
    state = sampler.state()
    reader.close_maps()
    for tag in (5, 6, 7):  # 1, 2 and 3 leave
        world.add(writer, tag, 20)
    assert first_steps(reader, 1, 20)["obs"]["id"][0, 0, 0] == 4
    for _ in range(8):
        batch = sampler.sample()
        assert {tag for tag, _ in rows(batch)} == {4}
    assert batch["continues"].any()
    sampler.restore(state)
    assert {tag for tag, _ in rows(sampler.sample())} == {4}
    reader.close_maps()
    world.add(writer, 8, 20)
    with pytest.raises(ValueError, match="at least 5 frames, received a store whose longest has 0"):
        [sampler.sample() for _ in range(4)]


def test_videos_that_are_too_short_are_refused(tmp_path, world):
    store = world.filled(tmp_path, [4, 3])
    with pytest.raises(
        ValueError, match=r"at least 5 frames, received a store whose longest has 4"
    ):
        ClipSampler(store, batch=1, length=5, streams=False, seed=0)


def test_first_steps_are_the_beginnings_in_order(tmp_path, world):
    store = world.filled(tmp_path, [6, 3, 9, 7])
    batch = first_steps(store, 2, 6)
    assert rows(batch) == [(1, 0), (3, 0)]
    assert rows(first_steps(store, 2, 6, skip=1)) == [(3, 0), (4, 0)]
    with pytest.raises(ValueError, match="expected 4 of at least 6 steps, received a store with 3"):
        first_steps(store, 4, 6)


def test_shares_of_a_batch_are_its_rows(tmp_path, world):
    """Of streams, which all shares follow."""
    store = world.filled(tmp_path, [23, 31])
    sizes = {"batch": 6, "length": 5, "streams": True, "seed": 1}
    whole = ClipSampler(store, **sizes)
    shares = [ClipSampler(store, **sizes, share=(number, 3)) for number in range(3)]
    for _ in range(8):
        batch, parts = whole.sample(), [share.sample() for share in shares]
        together = [np.concatenate([part["obs"]["id"] for part in parts])]
        together += [np.concatenate([part[k] for part in parts]) for k in ("continues", "mask")]
        for found, expected in zip(
            together, [batch["obs"]["id"], batch["continues"], batch["mask"]], strict=True
        ):
            np.testing.assert_array_equal(found, expected)
        assert all(share.state() == whole.state() for share in shares)
    with pytest.raises(ValueError, match="a batch of 4 equal shares, received 6"):
        ClipSampler(store, **sizes, share=(0, 4))
