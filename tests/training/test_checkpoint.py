"""A checkpoint restores what was saved, survives kill -9, and refuses what does not fit."""

import gc
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from processes import full_disk

from common import RunFailed, UserError
from configs.before import FORMAT
from replay.atomic import TEMPORARY
from training.checkpoint import DAMAGED, CheckpointStore, fill, write_leaves
from training.older import leaf_today


class State(NamedTuple):
    """A training state in small: parameters, optimiser, key, counters."""

    params: Any
    opt: Any
    key: jax.Array
    scale: np.ndarray
    updates: int


def make_state(width: int = 3, seed: int = 0) -> State:
    params = nnx.state(nnx.Linear(2, width, rngs=nnx.Rngs(seed)))
    half = jnp.full(3, 1.5, jnp.bfloat16)
    scale = np.array([2**40, 1], np.int64)
    return State(
        {"net": params, "half": half}, optax.adam(1e-3).init(params), jax.random.key(7), scale, 12
    )


def bits(leaf: Any) -> np.ndarray:
    is_key = hasattr(leaf, "dtype") and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if is_key else leaf)


def same(a: Any, b: Any) -> bool:
    """Whether two states hold the same bits in the same dtypes."""
    pairs = zip(map(bits, jax.tree.leaves(a)), map(bits, jax.tree.leaves(b)), strict=True)
    return all(x.dtype == y.dtype and np.array_equal(x, y) for x, y in pairs)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CheckpointStore]:
    store = CheckpointStore(tmp_path / "checkpoints", keep=2)
    yield store
    store.close()


def test_restores_bit_for_bit(store: CheckpointStore) -> None:
    state = make_state()
    generator = np.random.default_rng(3).bit_generator.state
    assert store.latest() is None
    store.save(100, state, {"episodes": 4, "generator": generator})
    step, restored, meta, _ = store.restore(make_state(seed=1))
    assert step == store.latest() == 100
    assert same(restored, state)
    assert not same(make_state(seed=1), state)
    assert meta == {"episodes": 4, "generator": generator}
    assert type(restored.scale) is np.ndarray
    assert restored.updates == 12
    assert str(jax.tree.structure(restored)) == str(jax.tree.structure(state))
    draws = jax.random.normal(restored.key, (3,)), jax.random.normal(jax.random.key(7), (3,))
    assert np.array_equal(*draws)


def test_saving_does_not_use_the_key_up(store: CheckpointStore) -> None:
    state = make_state()
    store.save(1, state, {})
    jax.random.normal(state.key)


def test_an_abstract_template_will_do(store: CheckpointStore) -> None:
    state = {"key": jax.random.key(7, impl="rbg"), "half": jnp.ones(3, jnp.bfloat16)}
    store.save(1, state, {})
    restored = store.restore(jax.eval_shape(lambda: state)).state
    assert same(restored, state)
    assert restored["key"].dtype == state["key"].dtype


def test_keeps_the_newest(store: CheckpointStore) -> None:
    for step in (1, 2, 3):
        store.save(step, {"a": np.full(2, step)}, {})
    assert store.steps() == [2, 3]
    assert store.restore({"a": np.zeros(2, int)}).state["a"].tolist() == [3, 3]
    assert store.restore({"a": np.zeros(2, int)}, step=2).state["a"].tolist() == [2, 2]


@pytest.mark.parametrize("keep", range(1, 8))
def test_as_many_are_kept_as_asked(keep: int, tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "checkpoints", keep=keep)
    for step in range(1, 10):
        store.save(step, {"a": np.zeros(1)}, {})
        assert store.steps() == list(range(max(1, step - keep + 1), step + 1))


def test_the_newest_of_a_step_is_kept(store: CheckpointStore) -> None:
    store.save(1, {"a": np.zeros(2)}, {})
    store.save(1, {"a": np.ones(2)}, {})
    assert store.restore({"a": np.zeros(2)}).state["a"].tolist() == [1, 1]
    assert [path.name for path in store.directory.iterdir()] == ["1"]


def test_killed_between_two_names_a_step_is_there(store: CheckpointStore) -> None:
    store.save(1, {"a": np.ones(2)}, {})
    (store.directory / "1").rename(store.directory / "1~")
    assert store.steps() == [1]
    assert store.restore({"a": np.zeros(2)}).state["a"].tolist() == [1, 1]
    store.save(1, {"a": np.zeros(2)}, {})
    store.save(2, {"a": np.zeros(2)}, {})
    assert sorted(path.name for path in store.directory.iterdir()) == ["1", "2"]


def test_another_process_sees_it(store: CheckpointStore) -> None:
    store.save(5, make_state(), {"n": 1})
    other = CheckpointStore(store.directory, keep=2)
    assert other.latest() == 5
    assert same(other.restore(make_state(seed=1)).state, make_state())
    other.close()


def test_what_a_killed_save_left_goes_with_the_next_save(store: CheckpointStore) -> None:
    store.save(1, {"a": np.zeros(2)}, {})
    for name in ("2.orbax-checkpoint-tmp", f"{TEMPORARY}2-01234567"):
        (store.directory / name / "state").mkdir(parents=True)
    reader = CheckpointStore(store.directory, keep=1)
    assert reader.latest() == 1
    reader.close()
    assert len(list(store.directory.iterdir())) == 3
    store.save(3, {"a": np.zeros(2)}, {})
    assert sorted(path.name for path in store.directory.iterdir()) == ["1", "3"]


def test_nothing_to_restore(store: CheckpointStore) -> None:
    with pytest.raises(ValueError, match=r"expected a checkpoint in .*received steps \[\]"):
        store.restore(make_state())
    store.save(5, make_state(), {})
    with pytest.raises(ValueError, match=r"of step 4 in .*received steps \[5\]"):
        store.restore(make_state(), step=4)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ({"a": np.zeros((2, 3)), "b": 1}, r"expected a = float64\[2, 3\], received float64\[3\]"),
        (
            {"a": np.zeros(3, np.float32), "b": 1},
            r"expected a = float32\[3\], received float64\[3\]",
        ),
        ({"a": np.zeros(3), "c": 1}, r"expected c = int64\[\], received no such leaf"),
        ({"a": np.zeros(3)}, r"expected b = no such leaf, received int64\[\]"),
    ],
)
def test_the_first_differing_leaf_is_named(
    store: CheckpointStore, template: Any, message: str
) -> None:
    store.save(1, {"a": np.zeros(3), "b": 1}, {})
    with pytest.raises(ValueError, match=message + r".*another --logdir"):
        store.restore(template)


def test_a_wider_network_is_named_by_its_path(store: CheckpointStore) -> None:
    store.save(1, make_state(width=3), {})
    with pytest.raises(
        ValueError, match=r"params/net/bias.* = float32\[4\], received float32\[3\]"
    ):
        store.restore(make_state(width=4))


def test_a_leaf_that_moved_or_went_is_found_by_its_old_path(
    store: CheckpointStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.save(1, {"old": np.arange(3), "gone": np.ones(2), "kept": 4}, {"n": 1})
    change = {FORMAT + 1: (("old", "new"), ("gone", None))}
    monkeypatch.setattr(
        "training.checkpoint.leaf_today", lambda path, written: leaf_today(path, written, change)
    )
    _, state, meta, _ = store.restore({"kept": 0, "new": np.zeros(3, int)})
    assert state["new"].tolist() == [0, 1, 2] and state["kept"] == 4 and meta == {"n": 1}
    wanted = {"kept": 0, "new": np.zeros(3, int), "gone": np.zeros(2)}
    assert store.restore(wanted).state["gone"].tolist() == [1, 1]  # some have it still


def test_what_is_saved_may_change_while_it_is_written(
    store: CheckpointStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By an update that takes the state's memory, and in place."""
    go = threading.Event()

    def slow(path: Path, leaves: Any) -> None:
        assert go.wait(60)
        write_leaves(path, leaves)

    monkeypatch.setattr("training.checkpoint.write_leaves", slow)
    state, counts = {"w": jnp.ones(4096)}, np.arange(3)
    store.save_soon(1, state, {}, {"counts": counts})
    update = jax.jit(lambda state: jax.tree.map(lambda x: 2 * x, state), donate_argnums=0)
    state = update(update(state))
    counts += 5
    store.check()
    assert store.steps() == []
    go.set()
    store.wait()
    found = store.restore({"w": jnp.zeros(4096)})
    assert (found.state["w"] == 1).all() and (state["w"] == 4).all()
    assert found.carry is not None and found.carry["counts"].tolist() == [0, 1, 2]


def test_what_keeps_a_checkpoint_from_being_written_is_raised_later(
    store: CheckpointStore,
) -> None:
    store.save(1, {"a": np.zeros(2)}, {})
    for later in (store.check, store.wait, lambda: store.save(3, {"a": np.zeros(2)}, {})):
        store.save_soon(2, {"a": np.array([0.0, np.nan])}, {})
        futures.wait([store._writing])
        with pytest.raises(RunFailed, match="step 2: expected finite numbers"):
            later()
        assert store.steps() == [1]
    store.save(3, {"a": np.zeros(2)}, {})
    assert store.steps() == [1, 3]


def test_meta_must_fit_into_json(store: CheckpointStore) -> None:
    with pytest.raises(ValueError, match="put arrays into the state"):
        store.save(1, {"a": np.zeros(2)}, {"x": np.zeros(2)})
    assert store.latest() is None


def test_equal_paths_are_refused(store: CheckpointStore) -> None:
    with pytest.raises(ValueError, match="rename the keys"):
        store.save(1, {"a/b": 1, "a": {"b": 2}}, {})


def test_keep_is_positive(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 1 checkpoint, received 0"):
        CheckpointStore(tmp_path, keep=0)


def flip(path: Path, rng: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def cut(path: Path, rng: random.Random) -> None:
    path.write_bytes(path.read_bytes()[: rng.randrange(path.stat().st_size)])


def grow(path: Path, rng: random.Random) -> None:
    path.write_bytes(path.read_bytes() + rng.randbytes(9))


def swap(path: Path, rng: random.Random) -> None:
    """With another file of the same checkpoint."""
    root = next(up for up in path.parents if up.name == "2")
    other = rng.choice([p for p in sorted(root.rglob("*")) if p.is_file()])
    mine, theirs = path.read_bytes(), other.read_bytes()
    path.write_bytes(theirs)
    other.write_bytes(mine)


def older(path: Path, rng: random.Random) -> None:
    """The older checkpoint's in its place, where it has one of that name."""
    root = next(up for up in path.parents if up.name == "2")
    source = root.with_name("1") / path.relative_to(root)
    path.write_bytes(source.read_bytes() if source.exists() else b"")


def remove(path: Path, rng: random.Random) -> None:
    path.unlink()


def remove_folder(path: Path, rng: random.Random) -> None:
    shutil.rmtree(path.parent)
    path.parent.mkdir(exist_ok=True)


DAMAGES = [flip, flip, flip, cut, grow, swap, older, remove, remove_folder]


def whole_checkpoints(folder: Path) -> Any:
    """Steps 1 and 2 of a state that is their number; returns a template."""
    store = CheckpointStore(folder, keep=2)
    for step in (1, 2):
        store.save(step, {"w": np.full((40, 50), step, np.float32), "n": step}, {"step": step})
    store.close()
    return {"w": np.zeros((40, 50), np.float32), "n": 0}


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_damage_of_any_kind_is_told_and_the_older_checkpoint_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """200 mutations; never other numbers than those that were saved, never a traceback."""
    template = whole_checkpoints(tmp_path / "whole")
    before, rng = contents(tmp_path / "whole" / "2"), random.Random(0)
    refused = 0
    for number in range(200):
        place = tmp_path / f"{number}"
        shutil.copytree(tmp_path / "whole", place)
        damage = rng.choice(DAMAGES)
        damage(place / "2" / rng.choice(sorted(before)), rng)
        changed = contents(place / "2") != before
        store = CheckpointStore(place, keep=2)
        found = store.restore(template)
        told = capsys.readouterr().err.splitlines()
        assert found.step == found.state["n"] == found.meta["step"] == (1 if changed else 2), damage
        assert (found.state["w"] == found.step).all()
        assert len(told) == changed
        if changed:
            refused += 1
            assert told[0].startswith(f"checkpoint: {place / '2'} is damaged (")
            shutil.rmtree(place / "1")
            alone = CheckpointStore(place, keep=2)
            with pytest.raises(UserError, match="whole checkpoint in .* damage in all") as error:
                alone.restore(template)
            assert "\n" not in str(error.value)
            assert not capsys.readouterr().err
            alone.close()
        store.close()
        shutil.rmtree(place)
    assert refused > 150


def test_a_run_goes_on_from_the_older_and_saves_past_the_damage(tmp_path: Path) -> None:
    template = whole_checkpoints(tmp_path)
    flip(tmp_path / "2" / "meta" / "metadata", random.Random(0))
    store = CheckpointStore(tmp_path, keep=2)
    assert store.latest() == 1
    store.save(2, template | {"n": 7}, {})
    assert store.steps() == [1, 2] and store.restore(template).state["n"] == 7
    assert (tmp_path / DAMAGED / "meta" / "metadata").exists()
    store.close()
    again = CheckpointStore(tmp_path, keep=2)
    assert again.latest() == 2
    again.close()


def test_one_that_is_asked_for_and_damaged_is_refused(tmp_path: Path) -> None:
    template = whole_checkpoints(tmp_path)
    remove(tmp_path / "1" / "digest.json", random.Random(0))
    store = CheckpointStore(tmp_path, keep=2)
    with pytest.raises(UserError, match=r"/1: digest.json is missing; move .* from step 2"):
        store.restore(template, step=1)
    store.close()


def test_what_only_readers_of_the_state_leave_out_comes_back_by_path(
    store: CheckpointStore,
) -> None:
    carry = {"key": jax.random.key(3), "none": np.zeros((0, 4)), "inner": (np.arange(3), 2.5)}
    store.save(1, {"a": np.zeros(2)}, {}, carry)
    found = store.restore({"a": np.zeros(2)}).carry
    assert found is not None
    assert same(fill({**carry, "key": jax.random.key(0)}, found), carry)
    with pytest.raises(UserError, match=r"expected inner/0 = int64\[4\].* received int64\[3\]"):
        fill({"inner": (np.zeros(4, int), 0.0)}, found)
    store.save(2, {"a": np.zeros(2)}, {})
    assert store.restore({"a": np.zeros(2)}).carry is None


def test_a_full_disk_leaves_the_earlier_checkpoints(
    store: CheckpointStore, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    store.save(1, {"a": np.arange(10)}, {})
    noise = np.random.default_rng(0).random((100, 100))
    with full_disk(40_000), pytest.raises(OSError, match="File too large"):
        store.save(2, {name: noise for name in "abcdef"}, {})
    gc.collect()
    assert "never retrieved" not in caplog.text
    assert store.steps() == [1] and [p.name for p in store.directory.iterdir()] == ["1"]
    assert "Traceback" not in capfd.readouterr().err
    store.save(2, {"a": noise}, {})
    assert store.steps() == [1, 2]


WRITER = """
import sys
import jax.numpy as jnp
from training.checkpoint import CheckpointStore

store = CheckpointStore(sys.argv[1], keep=2)
step = store.latest() or 0
while True:
    step += 1
    state = {f"layer{i}": jnp.full((400, 500), step) for i in range(10)}
    store.save(step, state, {"step": step})
    print(step, flush=True)
"""


def save_until_killed(directory: Path, seconds: float) -> int:
    """Kills a process that only saves, `seconds` after its second save; returns that step."""
    command = [sys.executable, "-c", WRITER, str(directory)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root) as child:
        assert child.stdout is not None
        child.stdout.readline()
        saved = int(child.stdout.readline())
        time.sleep(seconds)
        os.kill(child.pid, signal.SIGKILL)
    return saved


@pytest.mark.parametrize("seed", range(3))
def test_kill_at_any_moment_leaves_whole_checkpoints(tmp_path: Path, seed: int) -> None:
    saved = save_until_killed(tmp_path, random.Random(seed).uniform(0.0, 0.1))
    store = CheckpointStore(tmp_path, keep=2)
    step, state, meta, _ = store.restore(
        {f"layer{i}": np.zeros((400, 500), np.int32) for i in range(10)}
    )
    assert step >= saved
    assert meta == {"step": step}
    assert all((leaf == step).all() for leaf in state.values())
    store.save(step + 1, state, meta)
    store.close()
