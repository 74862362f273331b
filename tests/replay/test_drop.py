"""`drop_from`: an import that failed in the middle leaves nothing; its numbers are used again."""

import threading

import numpy as np
import pytest


def test_finished_and_unfinished_episodes_go(tmp_path, world):
    with world.open(tmp_path) as store:
        for tag, steps in ((1, 6), (2, 9), (3, 5)):
            world.add(store, tag, steps)
        for step in range(6):  # a sealed chunk, and two steps that are not
            store.append(0, world.record(4, step), last=False)
        store.drop_from(1)
        assert (store.episodes, store.steps) == (1, 6)
        assert list(world.stored(tmp_path)) == [0]
        world.add(store, 5, 7)
    stored = world.stored(tmp_path)
    assert {number: len(chunks) for number, chunks in stored.items()} == {0: 2, 1: 2}
    world.check(stored[1][0])
    with world.open(tmp_path) as store:
        assert (store.episodes, store.steps, store.set_aside) == (2, 13, [])


def test_files_set_aside_go_too(tmp_path, world):
    world.filled(tmp_path, [6, 6]).close()
    last = sorted((tmp_path / "chunks").glob("e00000001*"))[0]
    last.write_bytes(b"damaged")
    (tmp_path / "chunks" / ".tmp-e00000002-c00000-n00004-more-00000000.npy").write_bytes(b"half")
    with world.open(tmp_path) as store:
        assert len(store.set_aside) == 2
        store.drop_from(1)
        world.add(store, 3, 4)
    assert list(world.stored(tmp_path)) == [0, 1]
    assert not list((tmp_path / "set_aside").iterdir())


def test_nothing_to_drop(tmp_path, world):
    with world.filled(tmp_path, [6, 6]) as store:
        store.drop_from(2)
        assert (store.episodes, store.steps) == (2, 12)
    with pytest.raises(ValueError, match="expected one open for writing, received one closed"):
        store.drop_from(0)
    assert len(world.stored(tmp_path)) == 2


def test_headers_are_parsed_by_one_thread_at_a_time(tmp_path, world, monkeypatch):
    """`ast.literal_eval` in two threads at once is a SystemError of CPython 3.11, now and then."""
    world.filled(tmp_path, [20, 20]).close()
    load, inside, most = np.load, threading.Semaphore(1), []

    def watched(*arguments, **options):
        most.append(inside.acquire(blocking=False))
        try:
            return load(*arguments, **options)
        finally:
            threading.Event().wait(0.01)
            inside.release()

    monkeypatch.setattr(np, "load", watched)
    world.open(tmp_path).close()
    assert len(most) == 10 and all(most)
