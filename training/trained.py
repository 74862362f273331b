"""A trained agent in your own loop: its action at each observation, and what it imagines.

    agent = load_agent("runs/mine", env.observation_space)
    action = agent.act(obs, first=True)  # then first=False, until the next episode begins

No environment is built, and the caller handles no keys, carry or codec.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import Space

from agents.agent import Agent
from agents.imagination import imagine_path
from agents.policy import PolicyCarry, initial_policy
from agents.statistics import summary
from common import UserError
from envs import check_named
from envs.spaces import Canonical
from training.build import AgentRun, load_run
from training.checkpoint import BEST, CHECKPOINTS
from training.device import in_float32


class Future(NamedTuple):
    """What an agent predicts for the next H ticks of its top clock, [N, H]; one tick is
    ``TrainedAgent.stride`` environment steps."""

    reward: np.ndarray  # of each window, environment units
    goes_on: np.ndarray  # probability that the episode continues through the window
    value: np.ndarray  # the critic's value after the window
    actions: list[list[Any]]  # [N][H·K] of the action space; empty for agents with a latent codec


@in_float32
def load_agent(
    run: str | Path,
    observation_space: Space[Any] | None = None,
    *,
    newest: bool = False,
    best: bool = False,
    seed: int = 0,
) -> "TrainedAgent":
    """Loads a trained agent from its run's directory.

    Args:
      run: the run's directory, ``--logdir``.
      observation_space: of the environment in which the agent will act; ``act`` then takes that
        environment's observations unchanged. None: ``act`` takes observations that lie in
        ``TrainedAgent.observation_space``.
      newest: use the parameters of the last update instead of their moving average.
      best: use the parameters with the best evaluation.
      seed: of the agent's random numbers.
    Raises:
      UserError: if there is no run or checkpoint, or the agent was trained on other observations.
    """
    folder = BEST if best else CHECKPOINTS
    found = load_run(Path(run), acts=False, folder=folder, newest=newest)
    return TrainedAgent(found, Path(run), observation_space, seed)


class TrainedAgent:
    """See `load_agent`. One object acts in one environment, or in a fixed number in parallel."""

    def __init__(
        self, found: AgentRun, run: Path, observation_space: Space[Any] | None, seed: int
    ) -> None:
        self.built, self.params, self.steps = found.built, found.params, found.step
        self.run, self.agent = run, found.built.agent
        self.observation_space = self.built.spaces.obs
        self.action_space = self.built.spaces.action
        self.stride = self.agent.model.stride
        self._key, self._size = jax.random.key(seed), 0
        self._carry: PolicyCarry | None = None
        env = self.built.config.env
        self._canonical: Canonical | None = None
        if observation_space is not None:
            self._canonical = Canonical(
                observation_space, env.image_size, env.image_fit, tuple(env.keys)
            )
            if self._canonical.space != self.observation_space:
                raise UserError(
                    f"observation_space: expected what {run} was trained on, "
                    f"{self.observation_space}, received {self._canonical.space} of "
                    f"{observation_space}; act in that environment, and of a vector environment, "
                    "give its single_observation_space"
                )

    @in_float32
    def act(self, obs: Any, first: Any, greedy: bool = True) -> Any:
        """The agent's action at an observation.

        Args:
          obs: an observation of one environment, or [N, ...] of several; a dict, or an array if the
            space has a single part.
          first: whether the observation is the first of its episode: a bool, or [N] of several.
            If it is left False there, the agent keeps its memory of the previous episode. By
            default, Gymnasium's vector environments return it one step after an episode's last.
          greedy: take the mode of the policy; otherwise sample, as during exploration.
        Returns:
          An action in `action_space`; for several environments, a list of actions.
        Raises:
          UserError: if an observation has the wrong keys or shape or a number that is not finite,
            or if the first call, or a call with another number of environments, has observations
            that are not first.
        """
        several = np.ndim(first) == 1
        firsts = np.atleast_1d(np.asarray(first, bool))
        seen = self._read(obs, firsts.shape if several else ())
        if self._carry is None or len(firsts) != self._size:
            if not firsts.all():
                raise UserError(
                    f"first: expected True at the first observations of {len(firsts)} "
                    f"environments, received {first}; begin with those of `reset`"
                )
            self._size = len(firsts)
            self._carry = initial_policy(self.agent, self._size, self.agent.config.replan)
        self._key, key = jax.random.split(self._key)
        policy = self.built.policy(greedy)
        self._carry, flat = policy(self.params, self._carry, seen, firsts, key)
        rows = np.asarray(flat)[:, : self.built.codec.width]
        actions = [self.built.codec.decode(row) for row in rows]
        return actions if several else actions[0]

    @in_float32
    def value(self) -> np.ndarray:
        """[N] the critic's value of the last observations: the expected discounted return."""
        return np.asarray(self.built.value(self.params, self._belief))

    @in_float32
    def imagine(self, ticks: int = 15, samples: int = 1) -> Future:
        """Imagines the agent's own policy from the last observations, at the top clock alone.

        Args:
          ticks: H, transitions of the top level to imagine, 1 or more.
          samples: imagined futures per environment, 1 or more.
        Returns:
          Predictions with N = environments · samples, grouped by environment.

        Raises:
          UserError: before the first `act`, for ticks or samples below 1, or for an agent whose
            plans take several ticks.
        """
        config = self.agent.config
        if config.plan_ticks > 1:
            raise UserError(
                f"imagine: expected an agent with plans of one tick, received --agent.plan "
                f"{config.plan} with strides {config.model.strides} in {self.run}; train without "
                "--agent.plan"
            )
        for name, number in (("ticks", ticks), ("samples", samples)):
            if number < 1:
                raise UserError(f"{name}: expected 1 or more, received {number}; raise it")
        state = jax.tree.map(lambda x: jnp.repeat(x, samples, axis=0), self._belief)
        self._key, key = jax.random.split(self._key)
        path, value = self._imagine(self.params, state, key, ticks)
        expected = np.asarray(path.reward), np.asarray(path.cont), np.asarray(value)
        if self.agent.codec.coded:
            return Future(*expected, actions=[])
        flat = np.asarray(path.action).reshape(len(path.action), -1, self.agent.model.action_width)
        rows = flat[..., : self.built.codec.width]
        actions = [[self.built.codec.decode(action) for action in row] for row in rows]
        return Future(*expected, actions)

    @in_float32
    def evaluate(
        self, episodes: int = 20, greedy: bool = True, env: str | None = None
    ) -> dict[str, float]:
        """Evaluates the agent in environments that it builds itself.

        Args:
          episodes: how many to play.
          greedy: as for ``act``.
          env: the environment's name, to be given again if it is not a registered one, as for
            ``train_agent.py --eval``.
        Returns:
          Mean return, length and other statistics by name (`agents.statistics.summary`).
        """
        check_named(self.built.config.env, env, self.run)
        return summary(self.built.evaluate(self.params, episodes, greedy).episodes)

    @property
    def _belief(self) -> Any:
        if self._carry is None:
            raise UserError("expected an observation acted on, received none; call `act` first")
        return self._carry.filter.belief

    @cached_property
    def _imagine(self) -> Any:
        def imagine(params: Any, state: Any, key: Any, ticks: int) -> Any:
            agent: Agent = self.built.join(params)
            alive = jnp.ones(state.h.shape[0])
            path = imagine_path(
                agent.model, agent.act, agent.predict_reward, agent.predict_cont, state, alive,
                ticks, 1, agent.config.behaviour.discount, key,
            )  # fmt: skip
            return path, agent.predict_value(path.features[:, 1:])

        return jax.jit(imagine, static_argnums=3)

    def _read(self, obs: Any, lead: tuple[int, ...]) -> dict[str, np.ndarray]:
        """Convert an observation [*lead, ...] to the model's input, [N, ...] by name; ``lead`` is
        (N,) for several environments and () for one."""
        if self._canonical is not None:
            parts = self._canonical.parts.items()
            nested = {name: (path, part.source.shape or ()) for name, (path, part) in parts}
            return self._canonical.convert(_values(obs, nested, lead, ""))
        spaces = self.observation_space.spaces
        if len(spaces) == 1 and not isinstance(obs, Mapping):
            obs = dict.fromkeys(spaces, obs)
        other = "; or give `load_agent` the environment's observation_space"
        if not isinstance(obs, Mapping) or set(obs) != set(spaces):
            raise UserError(f"observation: {_wrong_keys(spaces, obs)}{other}")
        flat = {name: ((name,), space.shape or ()) for name, space in spaces.items()}
        values = _values(obs, flat, lead, f"{other}, whose observations it then converts")
        return {name: value.astype(spaces[name].dtype) for name, value in values.items()}


def _values(
    obs: Any,
    expected: dict[str, tuple[tuple[Any, ...], tuple[int, ...]]],
    lead: tuple[int, ...],
    remedy: str,
) -> dict[str, np.ndarray]:
    """The parts of an observation as arrays [N, ...] by name, checked to be at the ``expected``
    paths, of the expected shapes after ``lead``, and finite."""
    paths, found = [path for path, _ in expected.values()], {}
    for name, (path, shape) in expected.items():
        value = _numbers(name, _part(obs, path, paths))
        if value.shape != (*lead, *shape):
            raise UserError(
                f"{name}: expected {(*lead, *shape)}, received {value.shape}; for several "
                f"environments `first` is an array{f', here of {lead[0]}' if lead else ''}{remedy}"
            )
        if not (finite := np.isfinite(value)).all():
            raise UserError(
                f"{name}: expected finite numbers, received {value[~finite][0]}; replace them "
                "where they are made"
            )
        found[name] = value if lead else value[None]
    return found


def _part(obs: Any, path: tuple[Any, ...], paths: list[tuple[Any, ...]]) -> Any:
    """The value at a path of keys, one of the ``paths`` of all parts."""
    for depth, key in enumerate(path):
        try:
            obs = obs[key]
        except (KeyError, IndexError, TypeError):
            keys = [other[depth] for other in paths if other[:depth] == path[:depth]]
            where = ".".join(map(str, path[:depth])) or "observation"
            raise UserError(f"{where}: {_wrong_keys(keys, obs)}") from None
    return obs


def _numbers(name: str, value: Any) -> np.ndarray:
    with suppress(ValueError):  # of arrays of several shapes
        array = np.asarray(value)
        if array.dtype.kind in "biuf":
            return array
    raise UserError(f"{name}: expected an array of numbers, received {_kind(value)}")


def _wrong_keys(keys: Iterable[Any], obs: Any) -> str:
    received = ", ".join(map(str, obs)) if isinstance(obs, Mapping) else _kind(obs)
    return f"expected the keys {', '.join(dict.fromkeys(map(str, keys)))}, received {received}"


def _kind(value: Any) -> str:
    name = type(value).__name__
    return f"{name}; of `env.reset()`, give the first part" if isinstance(value, tuple) else name
