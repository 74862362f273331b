"""Between environments and replay: steps them under a policy, records what arrives.

Environments are a Gymnasium vector with NEXT_STEP autoreset: after an episode's last record the
next step ignores that environment's action and returns the reset observation, which is exactly the
next episode's first record (arrival convention, ``worldmodel/clock.py``).
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import concatenate, create_empty_array
from jaxtyping import PRNGKeyArray

from agents.actions import ActionCodec
from agents.policy import Act, PolicyCarry
from common import UserError
from worldmodel.learner import Params

Obs = dict[str, np.ndarray]


class Episode(NamedTuple):
    """One finished episode."""

    score: float  # sum of rewards
    length: int  # environment steps
    success: bool | None  # None where the environment does not say
    discounted: float | None = None  # Σ_t γ^(t-1) r_t, where γ was given
    foreseen: float | None = None  # the critic's value at its first observation, where there is one
    cut: bool = False  # ended by who played it, not by its environment


@runtime_checkable
class Sink(Protocol):
    """What takes records; a replay store does."""

    def append(self, stream: int, record: dict[str, np.ndarray], last: bool) -> None:
        """Takes one environment step of one stream."""


@runtime_checkable
class Resumable(Protocol):
    """A vector of environments that may be able to go on where it was."""

    def state(self) -> dict[str, Any] | None:
        """All that its future depends on, as a pytree of arrays; None where it cannot tell."""

    def go_on(self, state: dict[str, Any]) -> None:
        """Goes on where `state()` was taken, in place of `reset()`."""


class Arrival(NamedTuple):
    """What has just arrived from every environment, [N, ...]."""

    obs: Obs
    action: np.ndarray  # flat, that led here; 0 where is_first
    reward: np.ndarray
    terminal: np.ndarray
    is_first: np.ndarray
    last: np.ndarray
    success: list[bool | None]


class Stepper:
    """A vector of environments in the arrival convention.

    Args:
      width: A, floats of an action as it is recorded: the codec's, which the environment gets, and
        any for the model alone after them (``agent.action_width``); None: the codec's.
    Raises:
      UserError: unless the vector resets on the next step.
    """

    def __init__(
        self, envs: VectorEnv[Any, Any, Any], codec: ActionCodec, width: int | None = None
    ):
        mode = envs.metadata.get("autoreset_mode")
        if mode != AutoresetMode.NEXT_STEP:
            raise UserError(f"environments: expected autoreset NEXT_STEP, received {mode}")
        self.envs, self.codec, self.size = envs, codec, envs.num_envs
        self.width = codec.width if width is None else width

    def reset(self) -> Arrival:
        """First records of all environments."""
        return self._first(self.envs.reset()[0])

    def nothing(self) -> Arrival:
        """What `reset` returns, of zeros."""
        space = self.envs.single_observation_space
        return self._first(create_empty_array(space, self.size, fn=np.zeros))

    def _first(self, obs: Any) -> Arrival:
        no, zeros = np.zeros(self.size, bool), np.zeros(self.size, np.float32)
        action = np.zeros((self.size, self.width), np.float32)
        return Arrival(obs, action, zeros, no, ~no, no, [None] * self.size)

    def step(self, before: Arrival, flat: np.ndarray) -> Arrival:
        """Applies flat actions [N, A]; one whose environment's episode has ended is ignored."""
        space = self.envs.single_action_space
        actions = [self.codec.decode(row) for row in flat[:, : self.codec.width]]
        empty: Any = create_empty_array(space, self.size)
        batched = concatenate(space, actions, empty)
        obs, reward, terminal, truncated, infos = self.envs.step(batched)
        known = infos.get("_success", np.zeros(self.size, bool))
        success = [bool(infos["success"][i]) if known[i] else None for i in range(self.size)]
        first = before.last
        action = np.where(first[:, None], 0, flat).astype(np.float32)
        reward = np.where(first, 0, reward).astype(np.float32)
        return Arrival(obs, action, reward, terminal, first, terminal | truncated, success)


class Tally:
    """Running sums of episodes, [N].

    Args:
      discount: γ per step; None leaves out discounted sums.
    """

    def __init__(self, size: int, discount: float | None = None):
        self.discount = discount
        self.score, self.length = np.zeros(size), np.zeros(size, int)
        self.discounted = np.zeros(size)

    def add(self, arrival: Arrival) -> dict[int, Episode]:
        """Counts an arrival; returns the episodes that it ended, by environment."""
        for total in (self.score, self.length, self.discounted):
            total[arrival.is_first] = 0
        self.score += arrival.reward
        self.discounted += (self.discount or 0.0) ** self.length * arrival.reward
        self.length += ~arrival.is_first
        ended = np.nonzero(arrival.last)[0].tolist()
        return {i: self.episode(i, arrival.success[i]) for i in ended}

    def episode(self, i: int, success: bool | None) -> Episode:
        """Environment i's, up to its newest record."""
        discounted = None if self.discount is None else float(self.discounted[i])
        return Episode(float(self.score[i]), int(self.length[i]), success, discounted)


class Collector:
    """Acts in environments and appends every record to replay.

    Args:
      policy: from ``dreamer.make_policy``.
      carry: from ``dreamer.initial_policy``, of as many environments.
    """

    def __init__(self, stepper: Stepper, policy: Act, carry: Any, replay: Sink):
        self.stepper, self.policy, self.carry, self.replay = stepper, policy, carry, replay
        self.tally, self.arrival = Tally(stepper.size), stepper.nothing()

    def begin(self) -> "Collector":
        """Appends the first records; `step` or `state` come after it, or after `go_on`."""
        self.arrival = self.stepper.reset()
        self._store()
        return self

    def state(self) -> dict[str, Any] | None:
        """All that it goes on from, as a pytree of arrays; None where environments cannot tell."""
        envs = self.stepper.envs
        told = envs.state() if isinstance(envs, Resumable) else None
        if told is None:
            return None
        t, arrival = self.tally, self.arrival._replace(success=[])  # counted on arrival
        tally = [t.score, t.length, t.discounted]
        return {"envs": told, "policy": self.carry, "arrival": arrival, "tally": tally}

    def go_on(self, state: dict[str, Any]) -> None:
        """Goes on where `state()` was taken: nothing is reset, nothing appended."""
        assert isinstance(self.stepper.envs, Resumable)
        self.stepper.envs.go_on(state["envs"])
        self.carry, arrival = state["policy"], state["arrival"]
        self.arrival = arrival._replace(success=[None] * self.stepper.size)
        self.tally.score, self.tally.length, self.tally.discounted = map(np.array, state["tally"])

    def step(self, params: Params, key: PRNGKeyArray) -> list[Episode]:
        """One step of every environment; returns the episodes that ended."""
        now = self.arrival
        carry, action = self.policy(params, self.carry, now.obs, now.is_first, key)
        self.arrival = self.stepper.step(now, np.asarray(action))
        self.carry = carry  # an environment that raised has not moved
        self._store()
        return list(self.tally.add(self.arrival).values())

    def _store(self) -> None:
        a = self.arrival
        for i in range(self.stepper.size):
            record = {f"obs/{name}": value[i] for name, value in a.obs.items()}
            record |= {
                "action": a.action[i],
                "action_mask": np.float32(1),
                "reward": a.reward[i],
                "terminal": a.terminal[i],
                "is_first": a.is_first[i],
            }
            self.replay.append(i, record, bool(a.last[i]))


class Played(NamedTuple):
    """Episodes that ``play`` finished, and what the first environment's agent saw."""

    episodes: list[Episode]
    seen: Obs | None  # [T, ...]


def play(
    stepper: Stepper,
    act: Callable[[Obs, np.ndarray, int], np.ndarray],
    watch: bool = False,
    discount: float | None = None,
    most: int | None = None,
) -> Played:
    """Plays one episode in every environment, to its end or for so many steps.

    Args:
      act: of (observations, is_first, step) to flat actions [N, A].
      watch: keep the observations of environment 0.
      discount: as ``Tally``.
      most: environment steps after which what has not ended is cut; None: never.
    """
    arrival, tally = stepper.reset(), Tally(stepper.size, discount)
    done: dict[int, Episode] = {}
    seen: list[Obs] = []
    step = 0
    while len(done) < stepper.size and step != most:
        if watch and 0 not in done:
            seen.append({name: np.array(value[0]) for name, value in arrival.obs.items()})
        arrival = stepper.step(arrival, act(arrival.obs, arrival.is_first, step))
        for index, episode in tally.add(arrival).items():
            done.setdefault(index, episode)
        step += 1
    for index in set(range(stepper.size)) - set(done):
        done[index] = tally.episode(index, arrival.success[index])._replace(cut=True)
    episodes = [done[index] for index in range(stepper.size)]
    stacked = {name: np.stack([obs[name] for obs in seen]) for name in seen[0]} if seen else None
    return Played(episodes, stacked)


class AgentAct:
    """The agent as ``play`` takes it; ``carry`` is its memory after the last step."""

    def __init__(self, policy: Act, params: Params, carry: PolicyCarry, key: PRNGKeyArray):
        self.policy, self.params, self.carry, self.key = policy, params, carry, key

    def __call__(self, obs: Obs, is_first: np.ndarray, step: int) -> np.ndarray:
        """Flat actions [N, A]."""
        key = jax.random.fold_in(self.key, step)
        self.carry, action = self.policy(self.params, self.carry, obs, is_first, key)
        return np.asarray(action)


def random_act(envs: VectorEnv[Any, Any, Any], codec: ActionCodec, seed: int) -> Any:
    """Uniform over the environments' action space, as ``play`` takes it."""
    space = envs.single_action_space
    space.seed(seed)

    def act(obs: Obs, is_first: np.ndarray, step: int) -> np.ndarray:
        return np.stack([codec.encode(space.sample()) for _ in range(envs.num_envs)])

    return act
