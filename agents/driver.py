"""Between environments and replay: step environments under a policy and record what arrives.

Environments are a Gymnasium vector with any autoreset mode. With NEXT_STEP, after an episode's last
record the next step ignores that environment's action and returns the reset observation, which is
exactly the next episode's first record (arrival convention, ``worldmodel/clock.py``). With the
other modes, an episode's last record and the next one's first arrive in the same step.
"""

from collections.abc import Callable, Iterable
from functools import partial
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
    success: bool | None  # None if the environment does not report it
    discounted: float | None = None  # Σ_t γ^(t-1) r_t, if γ was given
    foreseen: float | None = None  # the critic's value at its first observation, if any
    cut: bool = False  # ended early, by the caller or by its environment's failure


@runtime_checkable
class Sink(Protocol):
    """Anything that takes records, such as a replay store."""

    def append(self, stream: int, record: dict[str, np.ndarray], last: bool) -> None:
        """Take one environment step of one stream."""


@runtime_checkable
class Resumable(Protocol):
    """A vector of environments that may be able to resume where it was."""

    def state(self) -> dict[str, Any] | None:
        """All that its future depends on, as a pytree of arrays; None if it cannot be saved."""

    def go_on(self, state: dict[str, Any]) -> None:
        """Resume where `state()` was taken, in place of `reset()`."""


@runtime_checkable
class Waiting(Protocol):
    """A vector of environments that step in the background until they are waited for."""

    def step_async(self, actions: Any) -> None:
        """Begin a step."""

    def step_wait(self) -> Any:
        """Finish the step that was begun; return what `step` would."""


class Arrival(NamedTuple):
    """What has just arrived from every environment, [N, ...]. An environment that failed and was
    started again has a first record, although the last record of its episode never arrived."""

    obs: Obs
    action: np.ndarray  # flat, leading here; 0 where is_first
    reward: np.ndarray
    terminal: np.ndarray
    is_first: np.ndarray
    last: np.ndarray
    success: list[bool | None]
    ended: Any = None
    """If an environment was reset within the step: the `Arrival` before this one, of which only
    the rows that are `last` count."""


class Stepper:
    """A vector of environments in the arrival convention.

    Args:
      width: A, floats of a recorded action: the codec's, which the environment gets, followed by
        any that are for the model alone (``agent.action_width``); None: the codec's.
    Raises:
      UserError: if the vector does not state its autoreset mode.
    """

    def __init__(
        self, envs: VectorEnv[Any, Any, Any], codec: ActionCodec, width: int | None = None
    ):
        mode = envs.metadata.get("autoreset_mode")
        if not isinstance(mode, AutoresetMode):
            raise UserError(
                "environments: expected metadata['autoreset_mode'] of gymnasium.vector."
                f"AutoresetMode, received {mode!r}"
            )
        self.envs, self.codec, self.size, self.mode = envs, codec, envs.num_envs, mode
        self.width = codec.width if width is None else width
        self._begun: tuple[Callable[[], Any], Arrival, np.ndarray] | None = None

    def reset(self) -> Arrival:
        """First records of all environments."""
        return self._first(self.envs.reset()[0])

    def nothing(self) -> Arrival:
        """What `reset` returns, filled with zeros."""
        space = self.envs.single_observation_space
        return self._first(create_empty_array(space, self.size, fn=np.zeros))

    def _first(self, obs: Any) -> Arrival:
        no, zeros = np.zeros(self.size, bool), np.zeros(self.size, np.float32)
        action = np.zeros((self.size, self.width), np.float32)
        return Arrival(obs, action, zeros, no, ~no, no, [None] * self.size)

    def step(self, before: Arrival, flat: np.ndarray) -> Arrival:
        """Apply flat actions [N, A]; those of environments whose episode has ended are ignored."""
        self.send(before, flat)
        return self.receive()

    @property
    def under_way(self) -> bool:
        """Whether a step was begun but not yet received."""
        return self._begun is not None

    def send(self, before: Arrival, flat: np.ndarray) -> None:
        """Begin a step; environments that are `Waiting` step in the background from here on."""
        space, envs = self.envs.single_action_space, self.envs
        actions = [self.codec.decode(row) for row in flat[:, : self.codec.width]]
        empty: Any = create_empty_array(space, self.size)
        batched = concatenate(space, actions, empty)
        wait: Callable[[], Any] = partial(envs.step, batched)
        if isinstance(envs, Waiting):
            envs.step_async(batched)
            wait = envs.step_wait
        self._begun = wait, before, flat

    def receive(self) -> Arrival:
        """Finish the step that `send` began."""
        assert self._begun is not None
        (wait, before, flat), self._begun = self._begun, None
        obs, reward, terminal, truncated, infos = wait()
        next_step = self.mode == AutoresetMode.NEXT_STEP
        last, first = terminal | truncated, infos.get("restarted", np.zeros(self.size, bool))
        first = first | before.last if next_step else first
        action = np.where(first[:, None], 0, flat).astype(np.float32)
        reward = np.where(first, 0, reward).astype(np.float32)
        if next_step or not last.any():
            return Arrival(obs, action, reward, terminal, first, last, self._success(infos))
        if self.mode == AutoresetMode.SAME_STEP:
            new, obs, infos = obs, _with(obs, infos["final_obs"], last), infos["final_info"]
        else:
            new, _ = self.envs.reset(options={"reset_mask": last})
        ended = Arrival(obs, action, reward, terminal, first, last, self._success(infos))
        return _rows(last, self._first(new), ended)

    def _success(self, infos: dict[str, Any]) -> list[bool | None]:
        known = infos.get("_success", np.zeros(self.size, bool))
        return [bool(infos["success"][i]) if known[i] else None for i in range(self.size)]


def _with(obs: Obs, rows: np.ndarray, where: np.ndarray) -> Obs:
    """``obs``, with those of ``rows``, given one by one, in the rows ``where``."""
    found = {name: np.array(value) for name, value in obs.items()}
    for i in np.flatnonzero(where):
        for name, value in rows[i].items():
            found[name][i] = value
    return found


def _rows(where: np.ndarray, new: Arrival, ended: Arrival) -> Arrival:
    """The arrival after ``ended``: new records in the rows ``where``, the same ones elsewhere."""

    def pick(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        return np.where(where.reshape(-1, *[1] * (one.ndim - 1)), one, other)

    obs, *rest = jax.tree.map(pick, tuple(new)[:-2], tuple(ended)[:-2])
    action, reward, terminal, first, last = rest
    return Arrival(obs, action, reward, terminal, first, last, ended.success, ended)


class Tally:
    """Running sums of episodes, [N].

    Args:
      discount: γ per step; None leaves out discounted sums.
    """

    def __init__(self, size: int, discount: float | None = None):
        self.discount = discount
        self.score, self.length = np.zeros(size), np.zeros(size, int)
        self.discounted, self.open = np.zeros(size), np.zeros(size, bool)

    def add(self, arrival: Arrival) -> dict[int, Episode]:
        """Count an arrival; return the episodes that it ended, by environment, including those cut
        because their environment was started again."""
        before = arrival.ended
        found = {} if before is None else self._count(before, before.last)
        return found | self._count(arrival, ~arrival.is_first)

    def _count(self, arrival: Arrival, rows: np.ndarray) -> dict[int, Episode]:
        """Count the records of ``rows``, none of which is a first one."""
        cut = np.flatnonzero(arrival.is_first & self.open).tolist()
        found = {i: self.episode(i, None)._replace(cut=True) for i in cut}
        for total in (self.score, self.length, self.discounted):
            total[arrival.is_first] = 0
        reward = np.where(rows, arrival.reward, 0)
        self.score += reward
        self.discounted += (self.discount or 0.0) ** self.length * reward
        self.length += rows
        last = arrival.last & rows
        self.open = (self.open | rows) & ~last & ~arrival.is_first
        ended = np.flatnonzero(last).tolist()
        return found | {i: self.episode(i, arrival.success[i]) for i in ended}

    def episode(self, i: int, success: bool | None) -> Episode:
        """Environment i's episode, up to its newest record."""
        discounted = None if self.discount is None else float(self.discounted[i])
        return Episode(float(self.score[i]), int(self.length[i]), success, discounted)


class Collector:
    """Acts in environments and appends every record to replay.

    Args:
      policy: from ``dreamer.make_policy``.
      carry: from ``dreamer.initial_policy``, for as many environments.
      overlap: let environments that are `Waiting` step in the background, and receive a step only
        when the next one is to begin, or in `arrive`.
    """

    def __init__(
        self, stepper: Stepper, policy: Act, carry: Any, replay: Sink, overlap: bool = False
    ):
        self.stepper, self.policy, self.carry, self.replay = stepper, policy, carry, replay
        self.tally, self.arrival = Tally(stepper.size), stepper.nothing()
        self.overlap, self._carry = overlap and isinstance(stepper.envs, Waiting), carry

    def begin(self) -> "Collector":
        """Append the first records; call this or `go_on` before `step` or `state`."""
        self.arrival = self.stepper.reset()
        self._store()
        return self

    def state(self) -> dict[str, Any] | None:
        """All that it resumes from, as a pytree of arrays; None if environments cannot be saved."""
        envs = self.stepper.envs
        told = envs.state() if isinstance(envs, Resumable) else None
        if told is None:
            return None
        t, arrival = self.tally, self.arrival._replace(success=[])  # counted on arrival
        tally = [t.score, t.length, t.discounted]
        return {"envs": told, "policy": self.carry, "arrival": arrival, "tally": tally}

    def go_on(self, state: dict[str, Any]) -> None:
        """Resume where `state()` was taken: nothing is reset, nothing appended."""
        assert isinstance(self.stepper.envs, Resumable)
        self.stepper.envs.go_on(state["envs"])
        self.carry, arrival = state["policy"], state["arrival"]
        self.arrival = arrival._replace(success=[None] * self.stepper.size)
        self.tally.score, self.tally.length, self.tally.discounted = map(np.array, state["tally"])

    def step(self, params: Params, key: PRNGKeyArray) -> list[Episode]:
        """Step every environment; return the episodes that ended or, with ``overlap``, those that
        ended in the step before."""
        ended = self.arrive()
        now = self.arrival
        self._carry, action = self.policy(params, self.carry, now.obs, now.is_first, key)
        self.stepper.send(now, np.asarray(action))
        return ended if self.overlap else self.arrive()

    def arrive(self) -> list[Episode]:
        """Wait for a step under way, if any, and append its records; return the episodes that it
        ended, except those cut by a failure."""
        if not self.stepper.under_way:
            return []
        self.arrival = self.stepper.receive()
        self.carry = self._carry  # only now: if `receive` raised, nothing has moved
        self._store()
        ended = self.tally.add(self.arrival).values()
        return [episode for episode in ended if not episode.cut]

    def _store(self) -> None:
        before, now = self.arrival.ended, self.arrival
        if before is not None:
            self._append(before, np.flatnonzero(before.last).tolist())
        self._append(now, range(self.stepper.size))

    def _append(self, a: Arrival, rows: Iterable[int]) -> None:
        for i in rows:
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
    """Episodes that ``play`` finished, and what the first environment's agent saw, did and got."""

    episodes: list[Episode]
    seen: Obs | None  # [T, ...]
    action: np.ndarray | None = None  # [T, A] flat, leading to what was seen
    reward: np.ndarray | None = None  # [T] received on arrival


def play(
    stepper: Stepper,
    act: Callable[[Obs, np.ndarray, int], np.ndarray],
    watch: bool = False,
    discount: float | None = None,
    most: int | None = None,
) -> Played:
    """Play one episode in every environment, to its end or for ``most`` steps.

    Args:
      act: maps (observations, is_first, step) to flat actions [N, A].
      watch: keep what environment 0's agent saw, did and got, except in the last step.
      discount: as in ``Tally``.
      most: environment steps after which episodes that have not ended are cut; None: never.
    """
    arrival, tally = stepper.reset(), Tally(stepper.size, discount)
    done: dict[int, Episode] = {}
    seen: list[Obs] = []
    acted: list[tuple[np.ndarray, float]] = []
    step = 0
    while len(done) < stepper.size and step != most:
        if watch and 0 not in done:
            seen.append({name: np.array(value[0]) for name, value in arrival.obs.items()})
            acted.append((np.array(arrival.action[0]), float(arrival.reward[0])))
        arrival = stepper.step(arrival, act(arrival.obs, arrival.is_first, step))
        for index, episode in tally.add(arrival).items():
            done.setdefault(index, episode)
        step += 1
    for index in set(range(stepper.size)) - set(done):
        done[index] = tally.episode(index, arrival.success[index])._replace(cut=True)
    episodes = [done[index] for index in range(stepper.size)]
    if not seen:
        return Played(episodes, None)
    stacked = {name: np.stack([obs[name] for obs in seen]) for name in seen[0]}
    action, reward = map(np.array, zip(*acted, strict=True))
    return Played(episodes, stacked, action, reward)


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
    """A uniform policy over the environments' action space, as ``play`` takes it."""
    space = envs.single_action_space
    space.seed(seed)

    def act(obs: Obs, is_first: np.ndarray, step: int) -> np.ndarray:
        return np.stack([codec.encode(space.sample()) for _ in range(envs.num_envs)])

    return act
