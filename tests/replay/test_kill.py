"""`kill -9` at any moment loses at most the unfinished chunk of each stream."""

import os
import random
import signal
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from replay import ReplayConfig, ReplayStore, read_fields

ROOT = str(Path(__file__).parents[2])
CHUNK, STREAMS = 8, 3

# Appends episodes for ever and reports each step once `append` has returned. Every value follows
# from (run, stream, episode, step); an episode's length too.
WRITER = """
import os, struct, sys
import numpy as np
from replay import Field, ReplayConfig, ReplayStore, standard_fields

path, run, streams, chunk = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
fields = standard_fields({"image": Field((24, 24, 3), "uint8"), "id": Field((4,), "float32")}, 1)
store = ReplayStore(path, fields, ReplayConfig(chunk_steps=chunk, capacity_gb=0.05))
os.write(1, struct.pack("5i", run, -1, store.steps, len(store.set_aside), 0))
episodes, steps = [0] * streams, [0] * streams
while True:
    for stream in range(streams):
        episode, step = episodes[stream], steps[stream]
        last = step + 1 == 1 + (7 * episode + 5 * stream) % 30
        store.append(stream, {
            "obs/image": np.full((24, 24, 3), (run + stream + episode + step) % 256, np.uint8),
            "obs/id": np.array([run, stream, episode, step], np.float32),
            "action": np.array([step], np.float32), "action_mask": np.float32(1),
            "reward": np.float32(step), "terminal": np.bool_(last), "is_first": np.bool_(step == 0),
        }, last=last)
        os.write(1, struct.pack("5i", run, stream, episode, step, last))
        episodes[stream], steps[stream] = (episode + 1, 0) if last else (episode, step + 1)
"""

# Kills itself at the n-th call of a function of `os` that lies on the way of a chunk to the disk.
FUSE = """
import os, signal, sys
name, count = sys.argv[5], int(sys.argv[6])
real = getattr(os, name)
def fused(*arguments):
    global count
    count -= 1
    if count == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments)
setattr(os, name, fused)
"""


def write_until_killed(path, run, after=None, fuse=()):
    """[(run, stream, episode, step, last)] that the writer had reported when it died: soon after so
    many reports, or by its fuse."""
    command = [sys.executable, "-c", (FUSE if fuse else "") + WRITER]
    command += [str(path), str(run), str(STREAMS), str(CHUNK), *map(str, fuse)]
    environment = os.environ | {"PYTHONPATH": ROOT}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        first = process.stdout.read(20)  # it has started
        data = process.stdout.read(20 * (after or 0))
        if after is not None:
            process.send_signal(signal.SIGKILL)
        data += process.stdout.read()
    assert process.returncode == -signal.SIGKILL and len(first) == 20
    return list(struct.iter_unpack("5i", data[: len(data) // 20 * 20]))


def expected_image(run, stream, episode, step):
    return (run + stream + episode + step) % 256


def recovered(path):
    """{(run, stream, episode): records} from the files alone, each record checked in full."""
    found = {}
    for file in sorted((path / "chunks").glob("e*.npy")):
        for record in np.load(file, allow_pickle=False):
            run, stream, episode, step = record["obs/id"].astype(int)
            steps = found.setdefault((run, stream, episode), [])
            assert step == len(steps) == record["reward"] == record["action"][0]
            assert (record["obs/image"] == expected_image(run, stream, episode, step)).all()
            assert record["is_first"] == (step == 0)
            assert record["terminal"] == (step + 1 == 1 + (7 * episode + 5 * stream) % 30)
            steps.append(step)
    return {key: len(steps) for key, steps in found.items()}


def check(reports, found):
    """Every finished episode is whole; of an unfinished one, every full chunk is there."""
    written, ended = {}, {}
    for run, stream, episode, step, last in reports:
        written[run, stream, episode], ended[run, stream, episode] = step + 1, last
    for key, count in written.items():
        least = count if ended[key] else count // CHUNK * CHUNK
        assert least <= found.get(key, 0) <= count + 1, key  # + 1: sealed, and killed unreported
    for key in found.keys() - written.keys():
        assert found[key] == 1, key  # an episode of one step, sealed and killed unreported


def reopen(path):
    config = ReplayConfig(chunk_steps=CHUNK, capacity_gb=0.05)
    return ReplayStore(path, read_fields(path), config)


def test_kill_at_random_moments(tmp_path):
    """Six processes in turn on one store, each killed; all that any of them sealed is there."""
    moments, reports = random.Random(0), []
    for run in range(6):
        reports += write_until_killed(tmp_path, run, after=moments.randrange(300))
        check(reports, recovered(tmp_path))
    with reopen(tmp_path) as store:
        assert store.steps == sum(recovered(tmp_path).values()) > 500
        assert store.episodes == len(recovered(tmp_path)) > 50
        assert all(name.startswith(".tmp-") for name, _ in store.set_aside)
    check(reports, recovered(tmp_path))


@pytest.mark.parametrize("count", [1, 2, 9])
@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_kill_between_writing_and_sealing(tmp_path, name, count):
    """The file is there but has no name yet (replace), or may lie in the kernel only (fsync)."""
    reports = write_until_killed(tmp_path, run=1, fuse=(name, count + 1))  # 1st: store.json
    check(reports, recovered(tmp_path))
    with reopen(tmp_path) as store:
        assert [entry[0][:6] for entry in store.set_aside] == [".tmp-e"]
        assert store.steps == sum(recovered(tmp_path).values())
    assert len(list((tmp_path / "chunks").glob(".tmp*"))) == 0


@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_kill_while_the_store_is_made(tmp_path, name):
    command = [sys.executable, "-c", FUSE + WRITER, str(tmp_path), "0", "1", "8", name, "1"]
    code = subprocess.run(command, env=os.environ | {"PYTHONPATH": ROOT}, check=False).returncode
    assert code == -signal.SIGKILL
    check(write_until_killed(tmp_path, 1, after=20), recovered(tmp_path))


def test_kill_during_eviction_leaves_a_prefix(tmp_path):
    """An episode half deleted is one that ends earlier, with its beginning."""
    fuse = ("unlink", 4)  # episodes 0 and 1 have one file, episode 2 has two: the last goes first
    writer = WRITER.replace("capacity_gb=0.05", "capacity_gb=0.05, capacity_steps=100")
    command = [sys.executable, "-c", FUSE + writer, str(tmp_path), "0", "3", "8", *map(str, fuse)]
    environment = os.environ | {"PYTHONPATH": ROOT}
    result = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert result.returncode == -signal.SIGKILL
    found = recovered(tmp_path)  # each episode found is contiguous from its first step
    assert (0, 1, 0) not in found and found[0, 2, 0] == CHUNK  # of 11 steps
    with reopen(tmp_path) as store:
        assert store.index.broken == 0 and not store.set_aside
