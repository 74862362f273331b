"""Between environments and replay: the arrival convention, episode ends, sums."""

import gymnasium
import jax
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from agents import ActionCodec
from agents.driver import Collector, Episode, Stepper, Tally, play
from agents.statistics import summary


class Counter(gymnasium.Env):
    """Observation [episode, time]; reward 10·episode + time; `length` steps to the end."""

    observation_space = spaces.Dict({"x": spaces.Box(-np.inf, np.inf, (2,), np.float32)})
    action_space = spaces.Box(-2, 2, (1,), np.float32)

    def __init__(self, length, terminal):
        self.length, self.terminal, self.episode, self.seen = length, terminal, 0, []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode, self.time = self.episode + 1, 0
        return self.observe(), {}

    def step(self, action):
        self.seen.append((self.episode, self.time, float(action[0])))
        self.time += 1
        over = self.time == self.length
        info = {"success": self.episode > 1} if over else {}
        terminal, limit = over and self.terminal, over and not self.terminal
        return self.observe(), 10 * self.episode + self.time, terminal, limit, info

    def observe(self):
        return {"x": np.array([self.episode, self.time], np.float32)}


class Store:
    """Keeps what is appended, by stream."""

    def __init__(self):
        self.records: dict[int, list] = {0: [], 1: []}

    def append(self, stream, record, last):
        self.records[stream].append({**record, "last": last})


@pytest.fixture
def stepper():
    envs = [lambda: Counter(3, True), lambda: Counter(2, False)]
    vector = SyncVectorEnv(envs, autoreset_mode=AutoresetMode.NEXT_STEP)
    return Stepper(vector, ActionCodec(Counter.action_space))


def test_records_hold_what_led_to_them_and_what_arrived(stepper):
    """By hand: stream 0 has episodes of 3 steps that end in a terminal, stream 1 of 2, a limit."""
    store, calls = Store(), []

    def policy(params, carry, obs, is_first, key):
        calls.append(np.array(is_first))
        return carry, np.full((2, 1), (len(calls)) / 10, np.float32)

    collector = Collector(stepper, policy, None, store).begin()
    ended = [collector.step(None, jax.random.key(0)) for _ in range(6)]
    zero, one = store.records[0], store.records[1]
    assert [r["obs/x"].tolist() for r in zero] == [
        [1, 0], [1, 1], [1, 2], [1, 3], [2, 0], [2, 1], [2, 2],
    ]  # fmt: skip
    action = [round(float(r["action"][0]), 1) for r in zero]
    assert action == [0, 0.1, 0.2, 0.3, 0, 0.5, 0.6]  # the one given at the end, 0.4, is ignored
    assert [float(r["reward"]) for r in zero] == [0, 11, 12, 13, 0, 21, 22]
    assert [bool(r["terminal"]) for r in zero] == [False, False, False, True, False, False, False]
    assert [bool(r["is_first"]) for r in zero] == [True, False, False, False, True, False, False]
    assert [r["last"] for r in zero] == [False, False, False, True, False, False, False]
    assert [bool(r["terminal"]) for r in one] == [False] * 7  # a time limit is no terminal
    assert [r["last"] for r in one] == [False, False, True, False, False, True, False]
    assert [c.tolist() for c in calls[:5]] == [
        [True, True], [False, False], [False, False], [False, True], [True, False],
    ]  # fmt: skip
    assert ended == [
        [], [Episode(23.0, 2, False)], [Episode(36.0, 3, False)], [], [Episode(43.0, 2, True)], [],
    ]  # fmt: skip
    applied = [call for call in stepper.envs.envs[0].seen]
    assert [round(a / 2, 1) for _, _, a in applied] == [0.1, 0.2, 0.3, 0.5, 0.6]  # scaled to ±2


def test_what_is_for_the_model_alone_is_recorded_and_not_done(stepper):
    """An action of the codec's one float and one more; the environment has actions to ±2."""
    store = Store()
    marked = Stepper(stepper.envs, stepper.codec, width=2)

    def policy(params, carry, obs, is_first, key):
        return carry, np.array([[0.5, 1], [-0.5, 0]], np.float32)

    collector = Collector(marked, policy, None, store).begin()
    collector.step(None, jax.random.key(0))
    assert [r["action"].tolist() for r in store.records[0]] == [[0, 0], [0.5, 1]]
    assert [r["action"].tolist() for r in store.records[1]] == [[0, 0], [-0.5, 0]]
    assert [env.seen for env in stepper.envs.envs] == [[(1, 0, 1.0)], [(1, 0, -1.0)]]


def test_play_takes_the_first_episode_of_every_environment(stepper):
    played = play(stepper, lambda obs, first, step: np.zeros((2, 1), np.float32), watch=True)
    assert played.episodes == [Episode(36.0, 3, False), Episode(23.0, 2, False)]
    assert played.seen is not None
    assert played.seen["x"].tolist() == [[1, 0], [1, 1], [1, 2]]
    assert played.action is not None and played.reward is not None
    assert played.action.tolist() == [[0], [0], [0]] and played.reward[0] == 0
    assert 0 < played.reward[1:].sum() < 36  # the last record is not among what is watched


def test_tally_starts_anew_at_every_first_record(stepper):
    """Rewards 11, 12, 13 in one; 11, 12 in the other, then its next episode's first record."""
    tally, arrival, ended = Tally(2, discount=0.5), stepper.reset(), {}
    for _ in range(3):
        arrival = stepper.step(arrival, np.zeros((2, 1), np.float32))
        ended |= tally.add(arrival)
    assert tally.score.tolist() == [36, 0] and tally.length.tolist() == [3, 0]
    assert tally.discounted.tolist() == [11 + 6 + 3.25, 0]
    assert ended[0].discounted == 20.25 and ended[1].discounted == 17


class Logged(gymnasium.Env):
    """Writes down what it emits, every number once; episodes of 1 to 4 steps by its seed."""

    observation_space = spaces.Dict({"x": spaces.Box(0, np.inf, (1,), np.float64)})
    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, index):
        self.index, self.emitted, self.log = index, 0, []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = int(self.np_random.integers(1, 5))
        return self.emit(None, 0.0, False, False), {}

    def step(self, action):
        self.left -= 1
        over, terminal = self.left == 0, bool(self.np_random.integers(2))
        ends = over and terminal, over and not terminal
        reward = float(self.np_random.random())
        return self.emit(float(action[0]), reward, *ends), reward, *ends, {"success": over}

    def emit(self, action, reward, terminal, limit):
        self.emitted += 1
        number = 1000.0 * self.index + self.emitted
        self.log.append((number, action, reward, terminal, terminal or limit))
        return {"x": np.array([number])}


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_replay_holds_what_environments_emitted_whatever_the_autoreset(mode):
    """Every observation once and in order; actions that were taken, rewards that they earned; first
    records have neither; what an environment ignored is not there."""
    envs = [Logged(0), Logged(1)]
    vector = SyncVectorEnv([lambda: envs[0], lambda: envs[1]], autoreset_mode=mode)
    store, given, ended = Store(), iter(np.linspace(-1, 1, 120, dtype=np.float32)), []

    def policy(params, carry, obs, is_first, key):
        return carry, np.array([[next(given)], [next(given)]])

    collector = Collector(Stepper(vector, ActionCodec(Logged.action_space)), policy, None, store)
    collector.begin()
    for _ in range(60):
        ended += collector.step(None, jax.random.key(0))
    for env, records in zip(envs, store.records.values(), strict=True):
        stored = [
            (
                float(r["obs/x"][0]),
                None if r["is_first"] else float(r["action"][0]),
                pytest.approx(float(r["reward"])),
                bool(r["terminal"]),
                r["last"],
            )
            for r in records
        ]
        assert stored == env.log and len(stored) > 60
    logs = [row for env in envs for row in env.log]
    assert len(ended) == sum(last for *_, last in logs) and all(e.success for e in ended)
    done = sum(e.score for e in ended) + collector.tally.score[collector.tally.open].sum()
    assert done == pytest.approx(sum(reward for _, _, reward, *_ in logs), rel=1e-5)


def test_an_autoreset_that_is_not_told_is_refused():
    vector = SyncVectorEnv([lambda: Counter(3, True)])
    vector.metadata["autoreset_mode"] = None
    with pytest.raises(ValueError, match="expected metadata"):
        Stepper(vector, ActionCodec(Counter.action_space))


def test_summary_by_hand():
    """Scores 1 and 3: mean 2, s = √2, 12.706·√2/√2 = 12.706."""
    values = summary([Episode(1.0, 4, True), Episode(3.0, 6, False)])
    assert values == pytest.approx({"return": 2, "return_95": 12.7062, "success": 0.5, "length": 5})
    assert set(summary([Episode(1.0, 4, None)])) == {"return", "length"}
    values = summary([Episode(1.0, 4, None, 0.5, 2.0), Episode(3.0, 6, None, 1.5, 4.0)])
    assert values["discounted"] == 1 and values["foreseen"] == 3
    with pytest.raises(ValueError, match="at least one episode"):
        summary([])
