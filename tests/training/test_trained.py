"""A trained agent in one's own loop: shapes, memory, what it expects, what it refuses."""

from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from common import UserError
from configs import parse_train
from envs.spaces import Canonical
from training.build import AgentRun, Built
from training.metrics import METRICS, metrics_frame, read_metrics
from training.spaces import Spaces
from training.trained import TrainedAgent, load_agent

pytestmark = pytest.mark.usefixtures("unchecked")

PICTURE = np.zeros((16, 16, 3), np.uint8)


@pytest.fixture(scope="module")
def env():
    env = gymnasium.make("Pendulum-v1")
    yield env
    env.close()


@pytest.fixture(scope="module")
def agent(agent_run, env):
    return load_agent(agent_run.path, env.observation_space)


def test_it_acts_in_an_environment_of_the_user_s_own(agent_run, env):
    agent = load_agent(agent_run.path, env.observation_space)
    obs, _ = env.reset(seed=0)
    first, total = True, 0.0
    for _ in range(200):
        action = agent.act(obs, first)
        obs, reward, _, truncated, _ = env.step(action)
        total, first = total + reward, False
    assert truncated and env.action_space.contains(action) and -2000 < total < 0
    assert np.isfinite(agent.value()).all() and agent.value().shape == (1,)


def test_what_it_does_depends_on_its_episode_alone(agent_run):
    """Not on the episodes before; nor does one of several on the others."""
    rng = np.random.default_rng(0)
    acts = []
    for other in (0.0, 1.0):
        agent = load_agent(agent_run.path)
        before = other + rng.normal(size=(2, 3)).astype(np.float32)
        for first, obs in ([True, True], before), ([False, False], before):
            agent.act(obs, first)
        obs = np.stack([np.full(3, 0.5), np.full(3, other)]).astype(np.float32)
        acts.append(agent.act(obs, [True, False]))
    np.testing.assert_array_equal(acts[0][0], acts[1][0])
    assert not np.array_equal(acts[0][1], acts[1][1])


def test_what_it_expects(agent, env):
    agent.act(env.reset(seed=1)[0], True)
    future = agent.imagine(ticks=3, samples=4)
    for x in (future.reward, future.goes_on, future.value):
        assert x.shape == (4, 3) and np.isfinite(x).all()
    assert (future.goes_on <= 1).all() and len({*future.reward[:, 0]}) == 4
    assert [len(path) for path in future.actions] == [3 * agent.stride] * 4
    assert all(env.action_space.contains(action) for action in future.actions[0])


def untrained(*flags):
    """An agent of 7 actions that has seen one observation."""
    config = parse_train(["--env", "gym:CartPole-v1", "--size", "debug", *flags], False, "float32")
    seen = spaces.Dict(observation=spaces.Box(-np.inf, np.inf, (3,), np.float32))
    built = Built(config, Spaces(seen, spaces.Discrete(7)))
    agent = TrainedAgent(AgentRun(built, built.initial().params, 0), Path("run"), None, 0)
    agent.act(np.zeros(3, np.float32), True)
    return agent


def test_an_agent_with_a_latent_codec_imagines_without_actions():
    future = untrained("--agent.codec", "latent").imagine(ticks=3, samples=2)
    assert future.reward.shape == future.goes_on.shape == future.value.shape == (2, 3)
    assert future.actions == []


def test_an_agent_whose_plans_take_several_ticks_does_not_imagine():
    agent = untrained("--strides", "1", "--agent.plan", "4", "--agent.keep-plan", "0")
    with pytest.raises(UserError, match=r"imagine: expected .* one tick, received --agent.plan 4 "):
        agent.imagine(ticks=6)


def test_it_is_evaluated(agent):
    found = agent.evaluate(episodes=2)
    assert found["length"] == 200 and found["return"] < 0


def test_what_does_not_fit_is_refused(agent_run):
    with pytest.raises(UserError, match=r"observation_space: expected what .*pendulum was trained"):
        load_agent(agent_run.path, spaces.Box(-1, 1, (4,)))
    agent = load_agent(agent_run.path)
    with pytest.raises(UserError, match="call `act` first"):
        agent.imagine()
    with pytest.raises(UserError, match=r"first: expected True at the first observations of 1 "):
        agent.act(np.zeros(3), False)
    with pytest.raises(UserError, match=r"expected \(3,\), received \(4,\); .*or give `load_a"):
        agent.act(np.zeros(4), True)
    with pytest.raises(UserError, match=r"the keys observation, received state; or give `load_"):
        agent.act({"state": np.zeros(3)}, True)
    with pytest.raises(UserError, match=r"\(2, 3\), received \(3, 3\); .* an array, here of 2"):
        agent.act(np.zeros((3, 3)), [True, True])
    agent.act(np.zeros((2, 3)), [True, True])
    with pytest.raises(UserError, match="of 3 environments"):
        agent.act(np.zeros((3, 3)), [True, False, True])


@pytest.mark.parametrize("given", ["the environment's space", "none"])
@pytest.mark.parametrize(
    ("obs", "first", "message"),
    [
        (np.zeros(4), True, r"^observation: expected \(3,\), received \(4,\); for several environ"),
        (np.zeros((2, 3)), True, r"\(3,\), received \(2, 3\); for several environments `first` is"),
        (np.zeros(3), [True], r"expected \(1, 3\), received \(3,\)"),
        ((np.zeros(3), {}), True, r"an array of numbers, received tuple; of `env.reset\(\)`, give"),
        (np.array([0, np.nan, 0]), True, r"^observation: expected finite numbers, received nan; r"),
        (np.full((2, 3), np.inf), [True, True], r"expected finite numbers, received inf"),
    ],
)
def test_an_observation_of_another_form_is_refused(agent_run, env, given, obs, first, message):
    agent = load_agent(agent_run.path, None if given == "none" else env.observation_space)
    with pytest.raises(UserError, match=message):
        agent.act(obs, first)


@pytest.mark.parametrize(
    ("obs", "message"),
    [
        ({"picture": PICTURE}, "^observation: expected the keys picture, state, received picture$"),
        (({"picture": PICTURE}, {}), r"keys picture, state, received tuple; of `env.reset\(\)`"),
        ({"picture": PICTURE, "state": {"x": 0}}, r"^state: expected the keys angle, received x$"),
        ({"picture": PICTURE, "state": 1}, r"^state: expected the keys angle, received int$"),
        (
            {"picture": PICTURE, "state": {"angle": np.zeros(4)}},
            r"^state\.angle: expected \(3,\), received \(4,\); for several environments `first` is",
        ),
    ],
)
def test_a_part_that_is_missing_or_wrong_is_named(obs, message):
    space = spaces.Dict(
        picture=spaces.Box(0, 255, PICTURE.shape, np.uint8),
        state=spaces.Dict(angle=spaces.Box(-1, 1, (3,))),
    )
    agent = TrainedAgent.__new__(TrainedAgent)  # no agent has been trained on such a space
    agent._canonical = Canonical(space, 16)
    right = {"picture": PICTURE, "state": {"angle": [0.5, 0, 0]}, "ignored": "x"}
    read = agent._read(right, ())
    assert read["picture"].shape == (1, 16, 16, 3)
    np.testing.assert_array_equal(read["state.angle"], [[0.5, 0, 0]])
    with pytest.raises(UserError, match=message):
        agent._read(obs, ())


def test_a_space_of_several_environments_is_refused(agent_run):
    envs = gymnasium.make_vec("Pendulum-v1", num_envs=2)
    with pytest.raises(UserError, match="vector environment, give its single_observation_space"):
        load_agent(agent_run.path, envs.observation_space)
    agent = load_agent(agent_run.path, envs.single_observation_space)
    assert len(agent.act(envs.reset(seed=0)[0], [True, True])) == 2
    envs.close()


def test_at_least_one_future_of_one_tick_is_imagined(agent, env):
    agent.act(env.reset(seed=1)[0], True)
    with pytest.raises(UserError, match="ticks: expected 1 or more, received -1"):
        agent.imagine(ticks=-1)
    with pytest.raises(UserError, match="samples: expected 1 or more, received 0"):
        agent.imagine(samples=0)


def test_metrics_as_a_frame(agent_run, tmp_path):
    frame = metrics_frame(agent_run.path)
    rows = read_metrics(agent_run.path / METRICS)
    assert frame.index.tolist() == [row["step"] for row in rows]
    assert frame["loss/total"].count() == sum("loss/total" in row for row in rows) > 0
    for given in (agent_run.path, str(agent_run.path), agent_run.path / METRICS):
        assert read_metrics(given) == rows and metrics_frame(given).equals(frame)
    for read in (metrics_frame, read_metrics):
        with pytest.raises(UserError, match=r"metrics\.jsonl: expected the metrics of a run.*path"):
            read(tmp_path)


def test_metrics_before_the_first_are_a_frame_without_rows(tmp_path):
    (tmp_path / METRICS).touch()
    frame = metrics_frame(tmp_path)
    assert len(frame) == 0 and frame.index.name == "step" and read_metrics(tmp_path) == []


def test_metrics_of_several_seeds_are_those_of_one_of_them(tmp_path):
    for seed in (10, 0, 1):
        (tmp_path / f"seed_{seed}").mkdir()
        (tmp_path / f"seed_{seed}" / METRICS).touch()
    with pytest.raises(UserError, match="received none; its runs are seed_0, seed_1, seed_10$"):
        metrics_frame(tmp_path)
