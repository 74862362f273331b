"""Processes that train together come to what one comes to; one that is lost, or stopped, is all."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from machines import Machine, free_address, machines
from processes import PATIENCE, ROOT, last_update, wait_for_update

from common import UserError
from configs.data import DataConfig
from configs.video_presets import parse_pretrain
from recordings.data import open_stores, place
from replay import ReplayConfig, ReplayStore, read_fields
from training import CheckpointStore, hosts, read_metrics
from training.build_video import BuiltVideo
from training.checkpoint import CHECKPOINTS
from training.hosts import SHARDS, address_towards, join
from training.loop import train
from training.metrics import METRICS
from training.video_source import VideoSource

PROGRAM = Path(__file__).with_name("on_hosts.py")
PATHS = {"PYTHONPATH": os.pathsep.join((str(ROOT), "tests", "tests/training"))}
VIDEO_FLAGS = "--size debug --strides 1,2 --context 2 --length 4 --batch 6 --streams True "
VIDEO_FLAGS += "--log-every 1 --video-every 0 --eval-every 0 --model.deter 8 --model.hidden 8 "
VIDEO = f"pretrain_video.py --data moving_digits {VIDEO_FLAGS} --steps 20 "
VIDEO += "--data.image-size 32 --data.episodes 6 --data.length 30 --data.test-episodes 2 "
VIDEO += "--data.test-length 30"
AGENT = "train_agent.py --env pure:pendulum --size debug --strides 1,2 --length 16 "
AGENT += "--batch 6 --env.num-envs 6 --env.time-limit 25 --updates-per-step 0 "
AGENT += "--log-every 60 --save-every 120 --eval-every 0 --video-every 0 --eval-episodes 1 "
AGENT += "--keep 9 --report False --agent.model.deter 8 --agent.model.hidden 8 "


def start(
    count: int,
    *command: Any,
    own: Sequence[Sequence[Any]] = ((),) * 3,
    on: Sequence[Machine] = (),
) -> list[subprocess.Popen[str]]:
    """So many processes of one run, each with arguments of its own, and on a machine of its own
    where there are some."""
    address = f"{on[0].address}:7777" if on else free_address()
    return [
        subprocess.Popen(
            [
                *(on[index].prefix if on else ()),
                *(sys.executable, *map(str, (*command, *own[index]))),
                *("--hosts", f"{address},{index},{count}"),
            ],
            cwd=ROOT,
            env=os.environ | PATHS,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for index in range(count)
    ]


def end(runs: list[subprocess.Popen[str]]) -> list[tuple[int, str, str]]:
    """Code, output and errors of each."""
    try:
        told = [run.communicate(timeout=PATIENCE) for run in runs]
    finally:
        for run in runs:
            run.kill()
    return [(run.returncode, *texts) for run, texts in zip(runs, told, strict=True)]


def losses(run: Path) -> dict[int, float]:
    rows = read_metrics(run / METRICS)
    return {row["step"]: row["loss/total"] for row in rows if "loss/total" in row}


@pytest.mark.slow
def test_three_lose_one_and_two_go_on_to_what_one_comes_to(tmp_path: Path) -> None:
    """Losses to 1e-4. The two that are left say so in one line, and where the run goes on from."""
    log = tmp_path / "run" / METRICS
    three = start(3, PROGRAM, tmp_path, 10**6)
    wait_for_update(three[0], log, after=45)
    three[2].kill()
    for code, _, told in end(three)[:2]:
        (line,) = [line for line in told.splitlines() if line.startswith("error: ")]
        assert code == 1 and "another process of the run has ended, so this one does" in line
        assert "Traceback" not in told
    saved = CheckpointStore(tmp_path / "run" / "checkpoints", 1).latest()
    assert saved is not None and saved >= 40
    reached = last_update(log)
    two = end(start(2, PROGRAM, tmp_path, saved + 20))
    assert [code for code, *_ in two] == [0, 0], two
    assert f"resuming {tmp_path / 'run'} at update {saved}" in two[0][1]
    assert "resuming" not in two[1][1] and "evaluated" not in two[1][1]
    assert end(start(1, PROGRAM, tmp_path / "alone", saved + 20))[0][0] == 0
    one, several = losses(tmp_path / "alone" / "run"), losses(tmp_path / "run")
    assert list(several) == list(range(10, saved + 21, 10)) and reached >= 45
    np.testing.assert_allclose(list(several.values()), list(one.values()), rtol=1e-4)


def test_a_signal_to_one_stops_all_and_they_have_learned_as_one(tmp_path: Path) -> None:
    """Losses to 1e-4."""
    two = start(2, PROGRAM, tmp_path, 10**6)
    wait_for_update(two[0], tmp_path / "run" / METRICS, after=20)
    two[1].send_signal(signal.SIGTERM)
    (code, out, _), (other, *_) = end(two)
    assert (code, other) == (0, 0) and "stopped at update" in out
    saved = CheckpointStore(tmp_path / "run" / "checkpoints", 1).latest()
    assert saved is not None and f"stopped at update {saved:,};" in out
    assert end(start(1, PROGRAM, tmp_path / "alone", saved))[0][0] == 0
    one, both = losses(tmp_path / "alone" / "run"), losses(tmp_path / "run")
    assert list(one) == list(both) and len(one) >= 3
    np.testing.assert_allclose(list(both.values()), list(one.values()), rtol=1e-4)


def test_one_that_is_silent_is_missed(tmp_path: Path) -> None:
    """It is stopped, and its connections stay: as of a machine that has lost its network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PATHS, "SECONDS_OF_SILENCE", "10")
        two = start(2, PROGRAM, tmp_path, 10**6)
    wait_for_update(two[0], tmp_path / "run" / METRICS, after=20)
    two[1].send_signal(signal.SIGSTOP)
    try:
        _, told = two[0].communicate(timeout=PATIENCE)
    finally:
        two[1].kill()
        two[1].communicate()
    assert two[0].returncode == 1
    assert told.endswith(
        "error: nothing has been heard for 10 s of process 1, so this one ends; the same command "
        "resumes from the last checkpoint, with any number of processes that divides the batch\n"
    )


@pytest.mark.slow
def test_a_job_that_was_suspended_as_a_whole_goes_on(tmp_path: Path) -> None:
    """For longer than silence is allowed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PATHS, "SECONDS_OF_SILENCE", "10")
        two = start(2, PROGRAM, tmp_path, 10**6)
    log = tmp_path / "run" / METRICS
    wait_for_update(two[0], log, after=20)
    for number, seconds in ((signal.SIGSTOP, 15), (signal.SIGCONT, 5)):
        for process in two:
            process.send_signal(number)
        time.sleep(seconds)
    wait_for_update(two[0], log, after=last_update(log) + 20)
    two[1].send_signal(signal.SIGTERM)
    assert [code for code, *_ in end(two)] == [0, 0]


@pytest.mark.slow
def test_the_first_may_take_longer_to_its_end_than_silence_is_allowed(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PATHS, "SECONDS_OF_SILENCE", "10")
        patch.setitem(PATHS, "LAST_SECONDS_OF_THE_FIRST", "20")
        ended = end(start(2, PROGRAM, tmp_path, 20))
    assert [code for code, *_ in ended] == [0, 0], ended


def test_addresses_are_those_that_others_are_reached_from() -> None:
    assert address_towards("127.0.0.1", 7777) == "127.0.0.1"
    with pytest.raises(OSError):
        address_towards("no-such-host.invalid", 7777)


def test_on_machines_of_their_own_they_learn_as_one(tmp_path: Path) -> None:
    """Losses to 1e-4."""
    with machines(2) as on:
        ended = end(start(2, PROGRAM, tmp_path, 40, on=on))
    assert [code for code, *_ in ended] == [0, 0], ended
    assert end(start(1, PROGRAM, tmp_path / "alone", 40))[0][0] == 0
    one, both = losses(tmp_path / "alone" / "run"), losses(tmp_path / "run")
    assert list(one) == list(both) and len(one) == 4
    np.testing.assert_allclose(list(both.values()), list(one.values()), rtol=1e-4)


@pytest.mark.slow
def test_of_three_machines_one_is_cut_off_and_two_go_on(tmp_path: Path) -> None:
    """Nothing of those that leave no files stays."""
    (tmp_path / "temporary").mkdir()
    with machines(3) as on, pytest.MonkeyPatch.context() as patch:
        patch.setitem(PATHS, "TMPDIR", str(tmp_path / "temporary"))
        three = start(3, PROGRAM, tmp_path, 10**6, on=on)
        wait_for_update(three[0], tmp_path / "run" / METRICS, after=45)
        on[2].unplug()
        ended, missed = end(three), []
        for (code, _, told), others in zip(ended, "220", strict=True):
            (line,) = [line for line in told.splitlines() if line.startswith("error: ")]
            missed.append(f"heard for 30 s of process {others}, so this one ends" in line)
            ended_first = "another process of the run has ended" in line  # the one that missed it
            assert code == 1 and (missed[-1] or ended_first)
        assert any(missed[:2]), ended
        assert not list((tmp_path / "temporary").glob("clockwork-*"))
        saved = CheckpointStore(tmp_path / "run" / "checkpoints", 1).latest()
        assert saved is not None and saved >= 40
        two = end(start(2, PROGRAM, tmp_path, saved + 20, on=on))
    assert [code for code, *_ in two] == [0, 0], two
    assert f"resuming {tmp_path / 'run'} at update {saved}" in two[0][1]


@pytest.mark.slow
def test_processes_of_other_settings_are_refused(tmp_path: Path) -> None:
    """Here of another number of steps: they would wait for each other for ever."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PATHS, "STEPS_OF_THE_SECOND", "30")
        two = end(start(2, PROGRAM, tmp_path, 20))
    for code, _, told in two:
        assert code == 2 and "settings: expected the same in all 2 processes" in told


@pytest.mark.slow
def test_a_video_model_on_two_processes_and_on_three_learns_as_on_one(tmp_path: Path) -> None:
    found = []
    for count in (1, 2, 3):
        where = ["--logdir", tmp_path / str(count), "--data.folder", tmp_path / "data"]
        for code, _, told in end(start(count, *VIDEO.split(), *where)):
            assert code == 0, told
        found.append(list(losses(tmp_path / str(count)).values()))
    assert len(found[0]) == 20
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4)
    np.testing.assert_allclose(found[0], found[2], rtol=1e-4)


class BothParts(VideoSource):
    """What two processes draw, each from its part of the videos, in one."""

    def start(self, *_: Any) -> None:
        """The draws of both, as the process of that index begins them."""
        self.samplers, data = [], replace(self.config.data, shard=True)
        for index in range(2):
            part = replace(data, name=data.name.replace("part0", f"part{index}"))
            built = BuiltVideo(replace(self.config, data=part), self.spaces)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(hosts, "index", lambda index=index: index)
                patch.setattr(hosts, "count", lambda: 2)
                self.samplers.append(built.sampler(open_stores(part)[0]))

    def sample(self) -> Any:
        """Rows of the first, then of the second."""
        drawn = [sampler.sample() for sampler in self.samplers]
        return self.learner.clips(jax.tree.map(lambda *x: np.concatenate(x), *drawn))


@pytest.mark.slow
def test_parts_of_the_videos_are_learned_from_as_all_of_them_by_one(tmp_path: Path) -> None:
    """Losses to 1e-4; and the run goes on in one process, which has its part alone."""
    sizes: dict[str, Any] = {"episodes": 6, "length": 30, "test_episodes": 2, "test_length": 30}
    parts = [tmp_path / f"part{seed}" for seed in (0, 1)]
    for seed, part in enumerate(parts):
        made = DataConfig("moving_digits", tmp_path, image_size=32, seed=seed, **sizes)
        for split in ("train", "test"):
            shutil.copytree(place(made, split), part / split)
    several = [*shlex.split(VIDEO_FLAGS), "--data.shard", "True", "--logdir", tmp_path / "two"]
    own = [("--data", part) for part in parts]
    ended = end(start(2, "pretrain_video.py", *several, "--steps", 20, own=own))
    assert [code for code, *_ in ended] == [0, 0], ended
    alone = [*shlex.split(VIDEO_FLAGS), "--logdir", str(tmp_path / "one"), "--steps", "20"]
    config = parse_pretrain([*alone, "--data", str(parts[0])], False, "float32")
    assert train(config, BothParts)
    found = losses(tmp_path / "two")
    assert len(found) == 20 and found[1] != found[20]
    np.testing.assert_allclose(
        list(found.values()), list(losses(tmp_path / "one").values()), rtol=1e-4
    )
    ((code, out, told),) = end(start(1, "pretrain_video.py", *several, "--steps", 24, own=own))
    assert code == 0 and f"resuming {tmp_path / 'two'} at update 20" in out, told
    assert list(losses(tmp_path / "two")) == list(range(1, 25))


def test_a_generator_makes_no_parts() -> None:
    with pytest.raises(UserError, match="data.shard: expected a store .* received moving_digits"):
        parse_pretrain(["--data", "moving_digits", "--data.shard", "True"], False, "float32")


@pytest.mark.slow
def test_an_agent_on_two_processes_and_on_three_learns_as_on_one() -> None:
    """Losses of six updates of the same batches, to 1e-4."""
    program, found = Path(__file__).with_name("agents_on_hosts.py"), []
    for count in (1, 2, 3):
        ended = end(start(count, program))
        assert [code for code, *_ in ended] == [0] * count, ended
        found.append(json.loads(ended[0][1].splitlines()[-1]))
    assert len(found[0]) == 6 and found[0][0] != found[0][-1]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4)
    np.testing.assert_allclose(found[0], found[2], rtol=1e-4)


@pytest.mark.slow
def test_agents_act_in_environments_of_their_own_and_each_step_counts_once(tmp_path: Path) -> None:
    """Two, of which one is killed, go on as three: what all replays hold is what was counted, and
    the records with which environments began, six each time. Without updates, which others show."""
    run = tmp_path / "run"
    two = start(2, *AGENT.split(), "--logdir", run, "--steps", 10**6)
    others = run / SHARDS / "1" / CHECKPOINTS
    deadline = time.monotonic() + PATIENCE
    while not all((saves / "240").is_dir() for saves in (run / CHECKPOINTS, others)):
        assert two[0].poll() is None and time.monotonic() < deadline, end(two)
        time.sleep(0.1)
    two[1].kill()
    code, _, told = end(two)[0]
    assert code == 1 and "another process of the run has ended, so this one does" in told
    saved = CheckpointStore(run / CHECKPOINTS, 9).latest()
    assert saved is not None and saved == CheckpointStore(others, 9).latest(saved)
    three = end(start(3, *AGENT.split(), "--logdir", run, "--steps", saved + 180))
    assert [code for code, *_ in three] == [0, 0, 0], three
    assert f"resuming {run} at step {saved:,}" in three[0][1]
    assert not any("resuming" in out for _, out, _ in three[1:])
    folders = [run, run / SHARDS / "1", run / SHARDS / "2"]
    stored, episodes = [], 0
    for folder in folders:
        fields = read_fields(folder / "replay")
        with ReplayStore(folder / "replay", fields, ReplayConfig(), read_only=True) as store:
            stored.append(store.steps)
            episodes += store.episodes
    assert sum(stored) == saved + 180 + 2 * 6 and stored[2] == 60 + 2
    metas = [CheckpointStore(folder / CHECKPOINTS, 9).meta(saved + 180) for folder in folders]
    assert metas[0]["counters"] == metas[1]["counters"] == metas[2]["counters"]
    assert metas[0]["counters"]["steps"] == saved + 180
    ended = read_metrics(run / METRICS)
    counted = sum("episode/return" in row for row in ended)
    assert counted == metas[0]["counters"]["episodes"] < episodes  # those that were cut are not
    newest = [row["replay/steps"] for row in ended if "replay/steps" in row][-1]
    assert newest <= sum(stored)


@pytest.mark.slow
def test_two_act_and_learn_in_one_loop_to_its_end(tmp_path: Path) -> None:
    """Each update is one of both: as many as one process would make of all their steps."""
    run, flags = tmp_path / "run", AGENT.replace("--updates-per-step 0", "--updates-per-step 0.1")
    flags += "--prefill 60 --steps 180 --logdir"
    ended = end(start(2, *flags.split(), run))
    assert [code for code, *_ in ended] == [0, 0], ended
    found, saves = losses(run), CheckpointStore(run / CHECKPOINTS, 9)
    assert list(found) == [180] and np.isfinite(found[180])  # episodes end at 150
    counters = saves.meta(180)["counters"]
    assert (counters["steps"], counters["updates"], counters["skipped"]) == (180, 12, 0)
    assert counters == CheckpointStore(run / SHARDS / "1" / CHECKPOINTS, 9).meta(180)["counters"]
    assert json.loads((run / "evaluation.json").read_text())["return"] < 0


@pytest.mark.parametrize("given", ["2", "here,0,2", "here:1,0", "here:1,a,2"])
def test_what_does_not_say_who_joins_is_refused(given: str) -> None:
    with pytest.raises(UserError, match=r"hosts: expected `auto` .* received '.*'; such as"):
        join(["--hosts", given])
    assert join(["--steps", "3"]) == ["--steps", "3"]
