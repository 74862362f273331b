"""A run that goes on, or is looked into, pays for nothing twice: no program is compiled again, no
parameters are made to be overwritten, no environment is made for its spaces alone."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from video_runs import make_run

from configs import parse_train
from configs.video import PretrainConfig
from recordings.data import data_fields
from training import spaces
from training.build import Built, load_run
from training.build_video import BuiltVideo, load_video_run, video_spaces
from training.checkpoint import CheckpointStore, restore_newest
from training.config_io import CONFIG, load_config, write_run_files
from training.spaces import SPACES, keep_spaces
from worldmodel.learner import Learner
from worldmodel.records import Records
from worldmodel.video_model import Clips

AGENT = ["--env", "gym:Pendulum-v1", "--size", "debug", "--batch", "2", "--length", "8"]
VIDEO = ["--size", "debug", "--strides", "1", "2", "--context", "4", "--length", "8"]
VIDEO += ["--batch", "2", "--data.test-episodes", "1", "--data.test-length", "9"]


LATER = 1_000_000  # than what a run that others read was saved at


class Saved(NamedTuple):
    """A run at its beginning, as it lies on disk; what is trained in it; what reads it."""

    run: Path
    built: Any
    load: Callable[[Path], Any]


def saved_agent(folder: Path) -> Saved:
    config = parse_train([*AGENT, "--logdir", str(folder / "agent")], False, "float32")
    built = Built(config)
    write_run_files(config.logdir, config)
    keep_spaces(config.logdir, built.spaces)
    saves = CheckpointStore(config.logdir / "checkpoints", 1)
    saves.save(8, built.initial(), {})
    saves.close()
    return Saved(config.logdir, built, load_run)


def saved_video(folder: Path) -> Saved:
    run = make_run(folder / "video", *VIDEO, "--data.folder", folder / "data")
    config = load_config(PretrainConfig, run)
    built = BuiltVideo(config, video_spaces(config, data_fields(config.data)))
    CheckpointStore(run / "checkpoints", 1).save(LATER, built.initial(), {})
    return Saved(run, built, load_video_run)


@pytest.fixture(scope="module", params=[saved_agent, saved_video])
def saved(request, tmp_path_factory) -> Saved:
    return request.param(tmp_path_factory.mktemp("runs"))


def placed(leaf: jax.Array) -> tuple[Any, ...]:
    """All that decides whether a program that was compiled for one array takes another."""
    return leaf.aval, leaf.aval.weak_type, leaf.format, leaf.committed


def test_what_is_restored_is_placed_as_what_is_new(saved):
    new, restored = saved.built.initial(), restore_newest(saved.run, saved.built.abstract()).state
    jax.tree.map(np.testing.assert_array_equal, restored, new)
    assert jax.tree.map(placed, restored) == jax.tree.map(placed, new)


def test_an_update_returns_what_it_takes(saved):
    """Shapes, dtypes and weak types: the second update runs the program of the first."""
    new, update = saved.built.abstract(), saved.built.update
    after, _ = jax.eval_shape(update, new, example_batch(saved.built), jax.random.key(0))
    avals = [[(x.shape, x.dtype, x.weak_type) for x in jax.tree.leaves(s)] for s in (new, after)]
    assert avals[0] == avals[1]


def example_batch(built: Any) -> Any:
    """Of zeros."""
    agent, config = isinstance(built, Built), built.config
    model = built.agent.model if agent else built.model
    shape = (config.batch, model.lead + config.length)
    no, zeros = np.zeros(shape, bool), np.zeros(shape, np.float32)
    seen = built.spaces.obs.spaces.items()
    obs = {name: np.zeros((*shape, *space.shape), space.dtype) for name, space in seen}
    action = np.zeros((*shape, model.action_width), np.float32)
    records = Records(obs, action, zeros, zeros, no, no, zeros)
    return records if agent else Clips(records, no[:, 0])


def test_a_resumed_update_is_the_program_of_the_first(tmp_path):
    """By jit's own count, of a small module with an average of its parameters."""

    def loss(params: Any, aux: Any, batch: Any, key: Any) -> Any:
        value = jnp.mean((join_linear(params)(batch) - 1.0) ** 2)
        return value, (aux + 1.0, {"loss/total": value})

    learner = Learner(
        lambda: nnx.Linear(2, 1, rngs=nnx.Rngs(0)),
        lambda graph: loss,
        lambda params, module: jnp.zeros(()),
        optax.adam(1e-2),
        keep_average=True,
    )
    join_linear = learner.join
    batch, key = np.ones((3, 2), np.float32), jax.random.key(0)
    state = learner.initial()
    for _ in range(2):
        state, _ = learner.update(state, batch, key)
    saves = CheckpointStore(tmp_path / "checkpoints", 1)
    saves.save(2, state, {})
    saves.close()
    resumed = restore_newest(tmp_path, learner.abstract()).state
    resumed, _ = learner.update(resumed, batch, key)
    state, _ = learner.update(state, batch, key)
    assert learner.update._cache_size() == 1
    jax.tree.map(np.testing.assert_array_equal, resumed, state)


def no_environment(*_: Any) -> Any:
    raise AssertionError("an environment was made, or data were looked for")


def test_loading_compiles_nothing_and_asks_nothing(saved, monkeypatch):
    monkeypatch.setattr(spaces, "make_agent_env", no_environment)
    monkeypatch.setattr("training.build_video.data_fields", no_environment)
    monkeypatch.setattr(Learner, "initial", no_environment)
    assert compilations(lambda: saved.load(saved.run)) == []


def test_an_older_run_which_recorded_no_spaces_asks(saved, monkeypatch):
    monkeypatch.setattr(spaces, "make_agent_env", no_environment)
    monkeypatch.setattr("training.build_video.data_fields", no_environment)
    (saved.run / SPACES).rename(saved.run / "aside")
    try:
        with pytest.raises(AssertionError, match="an environment was made"):
            saved.load(saved.run)
    finally:
        (saved.run / "aside").rename(saved.run / SPACES)


def compilations(act: Callable[[], Any]) -> list[str]:
    """The programs compiled, or fetched from their cache, while something is done."""
    events: list[str] = []

    def listen(name: str, *_: Any, **__: Any) -> None:
        if "backend_compile" in name:
            events.append(name)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        act()
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    return events


def test_compilations_are_counted():
    assert len(compilations(lambda: jax.jit(lambda x: x * 3.25 + 1)(np.ones(7)))) == 1


def test_a_run_whose_environment_is_gone_loads_until_it_must_act(tmp_path):
    run, built, _ = saved_agent(tmp_path)
    tree = json.loads((run / CONFIG).read_text())
    tree["env"]["name"] = "module_that_is_gone:Pendulum"
    (run / CONFIG).write_text(json.dumps(tree))
    loaded, params, step = load_run(run, acts=False)
    assert step == 8 and loaded.spaces == built.spaces
    features = jnp.zeros((1, loaded.agent.model.features))
    assert np.isfinite(loaded.join(params).predict_value(features)).all()
    with pytest.raises(ValueError, match="module_that_is_gone"):
        loaded.stepper(1, 0)
    (run / SPACES).unlink()
    with pytest.raises(ValueError, match="module_that_is_gone"):
        load_run(run, acts=False)


def test_another_environment_under_the_same_name_is_refused(tmp_path):
    run, built, _ = saved_agent(tmp_path)
    keep_spaces(run, built.spaces)
    wider = replace(built.spaces, action=spaces.spaces.Box(-1.0, 1.0, (2,)))
    with pytest.raises(ValueError, match=r"expected the spaces that the run began with"):
        keep_spaces(run, wider)
