"""A trained agent in one's own loop: shapes, memory, what it expects, what it refuses."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from common import UserError
from training.metrics import METRICS, metrics_frame, read_metrics
from training.trained import load_agent

pytestmark = pytest.mark.usefixtures("unchecked")


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
    with pytest.raises(UserError, match=r"observation: expected the shape \(3,\), received \(4,\)"):
        agent.act(np.zeros(4), True)
    with pytest.raises(UserError, match=r"expected a dict of observation, received state; or give"):
        agent.act({"state": np.zeros(3)}, True)
    with pytest.raises(UserError, match="a row for each of 2 environments, .*, received 3"):
        agent.act(np.zeros((3, 3)), [True, True])
    agent.act(np.zeros((2, 3)), [True, True])
    with pytest.raises(UserError, match="of 3 environments"):
        agent.act(np.zeros((3, 3)), [True, False, True])


def test_metrics_as_a_frame(agent_run, tmp_path):
    frame = metrics_frame(agent_run.path)
    rows = read_metrics(agent_run.path / METRICS)
    assert frame.index.tolist() == [row["step"] for row in rows]
    assert frame["loss/total"].count() == sum("loss/total" in row for row in rows) > 0
    with pytest.raises(UserError, match=r"metrics\.jsonl: expected the metrics of a run"):
        metrics_frame(tmp_path)
