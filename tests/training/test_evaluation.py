"""Evaluations end, open few environments at once, and play the same episodes however many."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium
import jax
import numpy as np
import pytest
from gymnasium import spaces

from agents.driver import Played
from analysis.agent.evaluate import EvalConfig, evaluate
from common import EnvironmentFailed, UserError
from configs import TrainConfig, parse_train, schema
from envs import make_agent_env
from training import build
from training.agent_source import AgentSource
from training.build import EVAL_SEED, Built

pytestmark = pytest.mark.usefixtures("unchecked")

SMALL = ["--size", "debug", "--env.num-envs", "1"]


class Rooms(gymnasium.Env[Any, Any]):
    """Ends after 3 steps, or never; its return is the seed; counts how many are open."""

    observation_space, action_space = spaces.Box(-1, 1, (3,)), spaces.Discrete(2)
    now, most, allowed = 0, 0, 1000

    def __init__(self, length: int = 3) -> None:
        if Rooms.now == Rooms.allowed:
            raise ConnectionError("the port is taken")
        Rooms.now += 1
        Rooms.most, self.length = max(Rooms.most, Rooms.now), length

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.seed, self.time = seed or 0, 0
        return np.zeros(3, np.float32), {}

    def step(self, action: Any) -> Any:
        self.time += 1
        reward = float(self.seed - EVAL_SEED if self.time == 1 else 0)
        return np.zeros(3, np.float32), reward, False, self.time == self.length, {}

    def close(self) -> None:
        Rooms.now -= 1


@pytest.fixture(autouse=True)
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("now", 0), ("most", 0), ("allowed", 1000)):
        monkeypatch.setattr(Rooms, name, value)


def config(*flags: str, env: str = f"{__name__}:Rooms") -> TrainConfig:
    return parse_train(["--env", env, *SMALL, *flags], False, "float32")


def test_a_video_of_another_kind_is_refused_before_anything_is_played(tmp_path):
    with pytest.raises(UserError, match=r"a video path ending in .gif or .mp4, received 'x\.avi'"):
        evaluate(EvalConfig(run=tmp_path, output=Path("x.avi")))


def test_few_environments_are_open_at_once_and_each_episode_has_its_seed(monkeypatch):
    monkeypatch.setattr(build, "TOGETHER", 4)
    played = Built(config()).evaluate_random(10)
    assert [e.score for e in played.episodes] == list(range(10))
    assert Rooms.most == 4 and Rooms.now == 0
    assert not any(e.cut for e in played.episodes)


def test_an_environment_of_which_one_can_be_open_is_evaluated_in_turn(monkeypatch, capsys):
    monkeypatch.setattr(Rooms, "allowed", 1)
    built = Built(config())
    assert [e.score for e in built.evaluate_random(3).episodes] == [0, 1, 2]
    assert Rooms.now == 0 and "one environment at a time" in capsys.readouterr().out
    built.evaluate_random(3)
    assert not capsys.readouterr().out


def test_steps_are_collected_by_the_sampled_policy(tmp_path):
    source = AgentSource(config("--logdir", str(tmp_path / "run"), env="gym:Pendulum-v1"))
    source.start(0, None, None)
    assert source.collector.policy is source.learner.policy(greedy=False)
    source.close()


def test_it_is_evaluated_while_it_is_trained_in(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(Rooms, "allowed", 1)
    source = AgentSource(config("--logdir", str(tmp_path / "run"), "--eval-episodes", "2"))
    source.start(0, None, None)

    def evaluate(average: Any, episodes: int, **_: Any) -> Played:
        played = source.learner.evaluate_random(episodes)
        scored = [e._replace(discounted=0.0, foreseen=0.0) for e in played.episodes]
        width = source.learner.agent.model.action_width
        seen = {"observation": np.zeros((1, 3))}
        return Played(scored, seen, np.zeros((1, width)), np.zeros(1))

    monkeypatch.setattr(source.learner, "evaluate", evaluate)
    values = source.evaluate(SimpleNamespace(params=None, average=None), None).values
    assert values["return"] == 0.5 and values["length"] == 3
    assert "closing the training environments and trying again" in capsys.readouterr().out
    source.collector = source._collector().begin()
    assert Rooms.now == 1
    source.close()
    assert Rooms.now == 0
    assert source.replay.steps == 2  # the first records of both, whose episodes end cut


def test_what_a_run_left_that_was_killed_before_its_first_checkpoint_goes(tmp_path):
    for expected in (1, 1):
        source = AgentSource(config("--logdir", str(tmp_path / "run")))
        source.start(0, None, None)
        assert source.replay.episodes == 0
        blank = {name: np.zeros(f.shape, f.dtype) for name, f in source.replay.fields.items()}
        source.replay.append(9, {**blank, "is_first": np.True_}, last=True)
        assert source.replay.episodes == expected and source.owed(0) == 0
        source.close()


def test_runs_of_neighbouring_seeds_share_no_environment(tmp_path, monkeypatch):
    given, make = set(), Built.stepper

    def spied(self: Built, count: int, seed: int) -> Any:
        given.update(range(seed, seed + count))
        return make(self, count, seed)

    monkeypatch.setattr(Built, "stepper", spied)
    for seed in range(20):
        logdir = ("--logdir", str(tmp_path / str(seed)), "--seed", str(seed))
        source = AgentSource(config(*logdir, "--env.num-envs", "16"))
        source.start(0, None, None)
        source.close()
    assert len(given) == 20 * 16 and max(given) < 2**31


def test_what_is_shown_is_compiled_once(tmp_path):
    source = AgentSource(config("--logdir", str(tmp_path / "run")))
    source.start(0, None, None)
    blank = {name: np.zeros(f.shape, f.dtype) for name, f in source.replay.fields.items()}
    source.replay.append(9, {**blank, "is_first": np.True_}, last=True)
    state = source.learner.initial()
    for _ in range(2):
        assert source.show(state, jax.random.key(0)).dtype == np.uint8
    assert source._predict._cache_size() == 1
    source.close()


def test_an_environment_that_cannot_be_made_is_an_error(monkeypatch):
    built = Built(config())
    monkeypatch.setattr(Rooms, "allowed", 0)
    with pytest.raises(EnvironmentFailed, match="the port is taken"):
        built.evaluate_random(2)


@pytest.mark.parametrize("env", ["gym:CliffWalking-v1", f"{__name__}:Rooms"])
def test_an_episode_without_end_is_cut_and_it_is_said(env, capsys, monkeypatch):
    monkeypatch.setattr(schema, "EVAL_STEPS", 20)
    flags = ["--env.options", "length", "-1"] if env.endswith("Rooms") else []
    played = Built(config(*flags, env=env)).evaluate_random(2)
    assert [(e.length, e.cut) for e in played.episodes] == [(20, True)] * 2
    out = capsys.readouterr().out
    assert "2 of 2 episodes were cut short after 20 steps, the limit of evaluations" in out


def test_an_episode_that_a_failure_cut_is_told(capsys):
    """The environment's process ends at its third step."""
    troubled = f"{Path(__file__).parents[1] / 'envs' / 'troubled.py'}:Troubled"
    failing = ["--env.workers", "async", "--env.options", "always", "2", "at", "3"]
    played = Built(config(*failing, env=troubled)).evaluate_random(2)
    assert [(e.length, e.cut) for e in played.episodes] == [(2, True)] * 2
    assert "2 of 2 episodes were cut short because environments failed" in capsys.readouterr().out


def test_no_evaluation_where_none_is_asked_for(tmp_path, monkeypatch):
    source = AgentSource(config("--logdir", str(tmp_path / "run"), "--eval-episodes", "0"))
    monkeypatch.setattr(source.learner, "evaluate", None)
    found = source.evaluate(SimpleNamespace(params=None, average=None), None)
    assert found.values == {} and found.film is None
    source.write_film(SimpleNamespace(average=None), found.film, None)


def length(env: gymnasium.Env[Any, Any]) -> int:
    env.reset(seed=0)
    for step in range(1, 1000):
        if env.step(env.action_space.sample())[3]:
            return step
    raise AssertionError


def test_a_time_limit_beyond_the_environments_own_applies_or_is_refused():
    longer = config("--env.time-limit", "300", env="gym:Pendulum-v1").env
    assert length(make_agent_env(longer)) == 300
    for env, own in (("pure:pendulum", "200"), ("dmc:walker_walk", "1,000")):
        beyond = config("--env.time-limit", "1001", env=env).env
        with pytest.raises(UserError, match=f"expected at most the {own} frames .* received 1,001"):
            make_agent_env(beyond)
