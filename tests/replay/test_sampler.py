"""Sequences: a slow twin, the rules of packing and padding by hand, and every record alike."""

import json

import numpy as np
import pytest

from replay import ReplayConfig, ReplayStore, SequenceSampler
from tests.replay.slow_sequences import slow_slots


def stretches(world, path):
    """[(records, whole)] of every contiguous stretch of an episode, read from the files alone."""
    found = []
    for file in sorted((path / "chunks").iterdir()):
        episode, number = int(file.name[1:9]), int(file.name[11:16])
        records = list(np.load(file, allow_pickle=False))
        if found and found[-1][0] == (episode, number - 1):
            found[-1] = ((episode, number), found[-1][1] + records, found[-1][2])
        else:
            found.append(((episode, number), records, number == 0))
    return [(records, whole) for _, records, whole in found]


def slow_row(data, length, stride, rng):
    """One sequence as a list of (record or None, mask), drawn and laid one step at a time."""
    starts = [
        (records, frame)
        for records, _ in data
        for frame in range(0, len(records) + stride - 1, stride)
    ]
    records, frame = starts[rng.integers(len(starts))]
    whole, found = [records for records, whole in data if whole], [records]

    def following():
        while whole:
            found.append(whole[rng.integers(len(whole))])
            yield len(found[-1])

    slots = slow_slots(frame, len(records), following(), stride, length)
    return [(found[held[0]][held[1]], int(held[2])) if held else (None, 0) for held in slots]


def slow_field(rows, name, shape):
    """[B, T, ...] of one field: zero where the mask is, but for an absorbing observation."""
    out = np.zeros((len(rows), len(rows[0]), *shape))
    for b, row in enumerate(rows):
        for t, (record, mask) in enumerate(row):
            if record is not None and (mask or name.startswith("obs/")):
                out[b, t] = record[name]
    return out


@pytest.mark.parametrize(("length", "stride"), [(1, 1), (16, 1), (12, 4), (32, 8), (40, 2), (6, 6)])
@pytest.mark.parametrize("holes", [False, True])
def test_the_sampler_equals_a_slow_plain_loop(tmp_path, world, length, stride, holes):
    world.filled(tmp_path, [1, 2, 3, 5, 8, 13, 21, 34]).close()
    if holes:
        for pattern in ("e00000007-c00003*", "e00000006-c00000*", "e00000004-c00001*"):
            next((tmp_path / "chunks").glob(pattern)).unlink()
    store, rng = world.open(tmp_path), np.random.default_rng(3)
    data = stretches(world, tmp_path)
    sampler = SequenceSampler(store, batch=5, length=length, stride=stride, seed=3)
    for _ in range(6):
        batch = sampler.sample()
        rows = [slow_row(data, length, stride, rng) for _ in range(5)]
        np.testing.assert_array_equal(batch["mask"], [[m for _, m in row] for row in rows])
        flat = {f"obs/{k}": v for k, v in batch["obs"].items()} | batch
        for name, (shape, dtype) in world.fields.items():
            assert flat[name].dtype == dtype and flat[name].flags.c_contiguous
            np.testing.assert_array_equal(flat[name], slow_field(rows, name, shape), name)


def test_an_endless_episode_begins_where_its_oldest_steps_were_dropped(tmp_path, world):
    """As a slow plain loop over the files draws it, and as reopening does."""
    store = world.open(tmp_path, capacity_steps=30)
    for step in range(61):
        store.append(0, world.record(1, step), last=False)
        if step == 20:
            world.add(store, 2, 7, stream=1)
    data, rng = stretches(world, tmp_path), np.random.default_rng(3)
    assert [(len(records), whole) for records, whole in data] == [(20, False), (7, True)]
    sampler = SequenceSampler(store, batch=40, length=12, stride=4, seed=3)
    batch, rows = sampler.sample(), [slow_row(data, 12, 4, rng) for _ in range(40)]
    np.testing.assert_array_equal(batch["mask"], [[m for _, m in row] for row in rows])
    for name in ("obs/id", "is_first", "reward"):
        value = batch["obs"]["id"] if name == "obs/id" else batch[name]
        np.testing.assert_array_equal(value, slow_field(rows, name, world.fields[name].shape))
    reader = ReplayStore(tmp_path, world.fields, ReplayConfig(), read_only=True)
    again = SequenceSampler(reader, batch=40, length=12, stride=4, seed=3).sample()
    np.testing.assert_array_equal(batch["obs"]["id"], again["obs"]["id"])


def test_keys_shapes_and_types(tmp_path, world):
    sampler = SequenceSampler(world.filled(tmp_path, [30]), batch=3, length=8, stride=4, seed=0)
    batch = sampler.sample()
    keys = {"obs", "action", "action_mask", "reward", "terminal", "is_first", "mask"}
    assert batch.keys() == keys and batch["obs"].keys() == {"image", "id"}
    assert batch["obs"]["image"].shape == (3, 11, 4, 4, 3)
    assert batch["mask"].dtype == np.float32 and batch["is_first"].dtype == bool


def rows_by_start(store, length, stride):
    """{block in which it starts: its row} of a store with one episode."""
    sampler = SequenceSampler(store, batch=200, length=length, stride=stride, seed=0)
    twin = SequenceSampler(store, batch=200, length=length, stride=stride, seed=0)
    batch, starts = sampler.sample(), {}
    flat = batch | {"step": batch["obs"]["id"][..., 1]}
    for run in twin.draw():  # of a row, the first one
        starts.setdefault(run.row, (run.start + stride - 1 - run.at) // stride)
    return {
        block: {k: v[row] for k, v in flat.items() if k != "obs"} for row, block in starts.items()
    }


def test_packing_and_padding_by_hand(tmp_path, world):
    """One episode of 3 steps that ends in a terminal; length 12, stride 4: 3 slots of lead-in."""
    rows = rows_by_start(world.filled(tmp_path, [3]), length=12, stride=4)
    assert rows.keys() == {0, 1}
    row = rows[0]  # . . . | 0 1 2 _ | _ _ _ _ | 0 1 2 _ : the window after record 2 ends at slot 8
    assert row["mask"].tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 1, 1, 1, 0]
    assert row["step"].tolist() == [0, 0, 0, 0, 1, 2, 2, 2, 2, 2, 2, 0, 1, 2, 2]
    assert row["reward"].tolist() == [0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 1, 2, 0]
    assert row["terminal"].tolist() == [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0]
    assert row["is_first"].tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]
    assert row["action"][:, 1].tolist() == [0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 1, 2, 0]
    assert row["action_mask"].tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 1, 1, 1, 0]
    rest = rows[1]  # 1 2 _ | _ _ _ _ | 0 1 2 _ | _ _ _ _: its lead-in holds the last records
    assert rest["mask"].tolist() == [1, 1, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0]
    assert rest["terminal"].tolist() == [0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]
    assert rest["step"].tolist() == [1, 2, 2, 2, 2, 2, 2, 0, 1, 2, 2, 2, 2, 2, 2]


def test_every_block_of_an_episode_is_a_start(tmp_path, world):
    rows = rows_by_start(world.filled(tmp_path, [12]), length=4, stride=4)
    assert sorted(rows) == list(range(4))  # the last holds absorbing steps alone
    for block, row in rows.items():  # the lead-in holds what came before, as far as it goes
        known = 3 if block else 0
        assert row["mask"][:3].tolist() == [0] * (3 - known) + [1] * known
        steps = np.clip(np.arange(4 * block - known, 4 * block + 4), 0, 11)
        assert row["step"][3 - known :].tolist() == steps.tolist()
        assert row["is_first"].sum() == (block == 0)


def test_without_a_terminal_the_end_of_data_is_no_terminal(tmp_path, world):
    """A time limit, an episode cut short and one still being written look the same."""
    store = world.open(tmp_path)
    for step in range(6):
        store.append(0, world.record(1, step), last=step == 5)
    for step in range(4):
        store.append(1, world.record(2, step), last=False)
    batch = SequenceSampler(store, batch=50, length=8, stride=4, seed=0).sample()
    assert set(batch["obs"]["id"][..., 0].ravel()) == {0, 1, 2}
    assert (batch["mask"] == 0).any() and not batch["terminal"].any()


def test_no_window_mixes_two_episodes(tmp_path, world):
    store = world.filled(tmp_path, [1, 2, 3, 5, 7, 11, 13])
    batch = SequenceSampler(store, batch=300, length=24, stride=6, seed=0).sample()
    tags = batch["obs"]["id"][:, 5:, 0].reshape(300, 4, 6)
    assert (tags == tags[..., :1]).all()
    assert not batch["is_first"][:, 5:].reshape(300, 4, 6)[..., 1:].any()


def test_a_hole_is_never_bridged_and_only_true_beginnings_are_packed(tmp_path, world):
    world.filled(tmp_path, [12]).close()
    next((tmp_path / "chunks").glob("*-c00001-*")).unlink()
    batch = SequenceSampler(world.open(tmp_path), batch=200, length=8, stride=2, seed=0).sample()
    steps, first = batch["obs"]["id"][..., 1], batch["is_first"]
    rows = {row[1]: (row.tolist(), first[n]) for n, row in enumerate(steps) if not row[0]}
    assert sorted(rows) == [0, 8]
    assert rows[8][0][1:] == [8, 9, 10, 11, 11, 11, 0, 1] and not rows[8][1][:7].any()
    assert not (steps[:, 2:][first[:, 2:]] > 0).any()


def test_where_no_episode_has_its_beginning_the_rest_is_padding(tmp_path, world):
    world.filled(tmp_path, [7]).close()
    next((tmp_path / "chunks").glob("*-c00000-*")).unlink()
    rows = rows_by_start(world.open(tmp_path), length=8, stride=4)
    assert sorted(rows) == [0, 1]
    assert rows[0]["mask"].tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0]
    assert rows[0]["step"].tolist() == [0, 0, 0, 4, 5, 6, 6, 6, 6, 6, 6]


def counted(sampler, lengths, lead, rounds):
    """How often each record lies in a sequence after its lead-in."""
    counts = [np.zeros(n) for n in lengths]
    for _ in range(rounds):
        for run in sampler.draw():
            skip = max(0, lead - run.at)
            counts[run.segment.chunks[0].episode][run.start + skip : run.stop] += 1
    return np.concatenate(counts)


@pytest.mark.parametrize(
    ("stride", "windows", "lengths"),
    [(k, 2, [1, 3, 50, 17, 8, 90, 31]) for k in (1, 2, 4, 8, 16)]
    + [(4, 8, [5, 6]), (16, 2, [5, 6]), (16, 2, [100])],
)
def test_every_record_is_drawn_equally_often(tmp_path, world, stride, windows, lengths):
    """Within 5 standard deviations: a record is in a sequence at most once per place for it, so a
    count of c has a variance of about c (of c times the places that one sequence has, packed)."""
    length = windows * stride
    store = world.filled(tmp_path, lengths)
    sampler = SequenceSampler(store, batch=4000, length=length, stride=stride, seed=0)
    counts = counted(sampler, lengths, stride - 1, 1)
    mean, places = counts.mean(), 1 + length / min(lengths)
    assert np.abs(counts / mean - 1).max() < 5 * np.sqrt(places / mean), counts / mean


def test_a_resumed_sampler_gives_the_same_batches(tmp_path, world):
    store = world.filled(tmp_path, [9, 20, 3])
    sampler = SequenceSampler(store, batch=4, length=8, stride=4, seed=5)
    sampler.sample()
    state = json.loads(json.dumps(sampler.state()))
    expected = [sampler.sample() for _ in range(3)]
    store.close()
    resumed = SequenceSampler(world.open(tmp_path), batch=4, length=8, stride=4, seed=99)
    resumed.restore(state)
    for batch in expected:
        again = resumed.sample()
        np.testing.assert_array_equal(batch["obs"]["id"], again["obs"]["id"])
        np.testing.assert_array_equal(batch["mask"], again["mask"])


def test_draws_do_not_depend_on_the_order_of_sealing(tmp_path, world):
    """Streams seal in another order than episodes are numbered; reopening sorts them."""
    with world.open(tmp_path, chunk_steps=10) as store:
        for step in range(25):
            store.append(0, world.record(1, step), last=step == 24)
            if step == 2:
                world.add(store, 2, 6, stream=1)
        before = SequenceSampler(store, batch=50, length=8, stride=1, seed=0).sample()
    after = SequenceSampler(world.open(tmp_path), batch=50, length=8, stride=1, seed=0).sample()
    np.testing.assert_array_equal(before["obs"]["id"], after["obs"]["id"])


def test_batches_are_the_callers_own(tmp_path, world):
    sampler = SequenceSampler(world.filled(tmp_path, [20]), batch=4, length=8, stride=1, seed=0)
    first = sampler.sample()
    copy = {k: v.copy() for k, v in first.items() if k != "obs"}
    sampler.sample()["reward"][:] = -1
    for name, value in copy.items():
        np.testing.assert_array_equal(first[name], value)


@pytest.mark.parametrize("sizes", [(0, 8, 1), (1, 0, 1), (1, 8, 0), (1, 10, 4)])
def test_wrong_sizes_are_refused(tmp_path, world, sizes):
    batch, length, stride = sizes
    with pytest.raises(ValueError, match="length a multiple of stride"):
        SequenceSampler(world.open(tmp_path), batch=batch, length=length, stride=stride, seed=0)


def test_an_empty_store_is_refused_until_something_is_sealed(tmp_path, world):
    store = world.open(tmp_path)
    sampler = SequenceSampler(store, batch=1, length=4, stride=1, seed=0)
    with pytest.raises(ValueError, match="collect at least one chunk"):
        sampler.sample()
    world.add(store, 1, 2)
    assert sampler.sample()["mask"].tolist() == [[1, 1, 1, 1]]


def test_a_store_without_the_fields_of_an_agent_is_refused(tmp_path, world):
    fields = {k: v for k, v in world.fields.items() if k not in ("reward", "terminal")}
    store = ReplayStore(tmp_path, fields, ReplayConfig(capacity_gb=0.001))
    with pytest.raises(ValueError, match=r"without \['reward', 'terminal'\]"):
        SequenceSampler(store, batch=1, length=4, stride=1, seed=0)


def test_a_state_of_shorter_sequences_goes_on(tmp_path, world):
    """Of a run that was written when its sequences were no 8 windows: the draws alone are state."""
    store = world.filled(tmp_path, [20])
    state = SequenceSampler(store, batch=4, length=8, stride=4, seed=0).state()
    longer = SequenceSampler(store, batch=4, length=32, stride=4, seed=9)
    longer.restore(state | {"shape": [4, 8, 4, 0.0]})  # as they were stored
    fresh = SequenceSampler(store, batch=4, length=32, stride=4, seed=0)
    np.testing.assert_array_equal(longer.sample()["mask"], fresh.sample()["mask"])


def test_another_batch_size_goes_on_with_the_same_sequences(tmp_path, world):
    store = world.filled(tmp_path, [20, 9])
    four, two = (SequenceSampler(store, batch=n, length=8, stride=1, seed=0) for n in (4, 2))
    four.sample()
    two.restore(four.state())
    once = four.sample()["obs"]
    twice = [two.sample()["obs"], two.sample()["obs"]]
    for name, whole in once.items():
        np.testing.assert_array_equal(whole, np.concatenate([half[name] for half in twice]))
