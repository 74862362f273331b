"""The background thread: same batches, exact resume, errors raised where they are seen."""

import threading

import numpy as np
import pytest

from replay import Prefetcher, SequenceSampler


def sampler(store, seed=1):
    return SequenceSampler(store, batch=3, length=8, stride=4, seed=seed)


def ids(source, count):
    return [source.sample()["obs"]["id"] for _ in range(count)]


@pytest.mark.parametrize("depth", [1, 3])
def test_order_and_states_are_those_of_a_plain_loop(tmp_path, world, depth):
    store = world.filled(tmp_path, [9, 20, 3])
    plain = sampler(store)
    with Prefetcher(sampler(store), depth) as ahead:
        for _ in range(7):
            np.testing.assert_array_equal(ids(plain, 1), ids(ahead, 1))
            assert ahead.state() == plain.state()


def test_resume_continues_after_the_last_batch_consumed(tmp_path, world):
    store = world.filled(tmp_path, [9, 20, 3])
    with Prefetcher(sampler(store), 4) as ahead:
        ids(ahead, 2)
        state, expected = ahead.state(), ids(ahead, 3)
        ahead.restore(state)
        np.testing.assert_array_equal(ids(ahead, 3), expected)
    with Prefetcher(sampler(store, seed=77), 2) as other:
        other.restore(state)
        np.testing.assert_array_equal(ids(other, 3), expected)


def test_closing_ends_the_thread_and_loses_no_batch(tmp_path, world):
    store = world.filled(tmp_path, [9, 20, 3])
    expected = ids(sampler(store), 4)
    inner = sampler(store)
    ahead, before = Prefetcher(inner, 3), threading.active_count()
    first = ids(ahead, 2)
    ahead.close()
    assert threading.active_count() == before
    np.testing.assert_array_equal(first + ids(inner, 2), expected)
    ahead.close()


def test_an_error_of_the_thread_is_raised_and_can_be_overcome(tmp_path, world):
    store = world.open(tmp_path)
    with Prefetcher(sampler(store), 2) as ahead:
        with pytest.raises(ValueError, match="collect at least one chunk"):
            ahead.sample()
        world.add(store, 1, 5)
        assert ahead.sample()["mask"].any()


def test_appending_goes_on_meanwhile(tmp_path, world):
    store = world.open(tmp_path, capacity_steps=60, open_maps=4)
    world.add(store, 1, 10)
    with Prefetcher(sampler(store), 2) as ahead:
        for tag in range(2, 120):
            world.add(store, tag, 1 + tag % 17)
            batch = ahead.sample()
            real = batch["mask"] == 1
            tags, steps = batch["obs"]["id"][real].T
            np.testing.assert_array_equal(batch["reward"][real], steps)
            np.testing.assert_array_equal(
                batch["obs"]["image"][real][:, 0, 0, 0], (7 * tags + steps) % 256
            )
    assert store.steps <= 60 + 17


def test_a_depth_below_one_is_refused(tmp_path, world):
    with pytest.raises(ValueError, match="depth"):
        Prefetcher(sampler(world.open(tmp_path)), 0)
