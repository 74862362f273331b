"""A trained agent in one's own loop: what it does at each observation, and what it imagines.

    agent = load_agent("runs/mine", env.observation_space)
    action = agent.act(obs, first=True)  # then first=False, until the next episode begins

No environment is built, and no key, carry or codec is the caller's to handle.
"""

from collections.abc import Mapping
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
    """What an agent expects of the next H ticks of its top clock, [N, H]; one tick is
    ``TrainedAgent.stride`` environment steps."""

    reward: np.ndarray  # of each window, environment units
    goes_on: np.ndarray  # probability that the episode goes on over the window
    value: np.ndarray  # the critic's after it
    actions: list[list[Any]]  # [N][H·K] of the action space; none of agents with a latent codec


@in_float32
def load_agent(
    run: str | Path,
    observation_space: Space[Any] | None = None,
    *,
    newest: bool = False,
    best: bool = False,
    seed: int = 0,
) -> "TrainedAgent":
    """A trained agent from its run's directory.

    Args:
      observation_space: of the environment that it will act in, whose observations it is then given
        as they are; None: it is given what ``TrainedAgent.observation_space`` holds.
      newest: the parameters of the last update, in place of their average over the last ones.
      best: those that were evaluated best.
      seed: of its random numbers.
    Raises:
      UserError: if there is no run or checkpoint, or it sees other observations than these.
    """
    folder = BEST if best else CHECKPOINTS
    found = load_run(Path(run), acts=False, folder=folder, newest=newest)
    return TrainedAgent(found, Path(run), observation_space, seed)


class TrainedAgent:
    """See `load_agent`. One object acts in one environment, or in a fixed number side by side."""

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
                    f"{observation_space}; act in that environment"
                )

    @in_float32
    def act(self, obs: Any, first: Any, greedy: bool = True) -> Any:
        """What it does at an observation.

        Args:
          obs: of one environment, or [N, ...] of several; an array where there is but one.
          first: whether it is its episode's first: a bool, or [N] of several. Whoever skips it
            leaves the agent with the memory of another episode.
          greedy: by modes; else sampled, as it explored.
        Returns:
          An action of `action_space`, a list of them for several environments.
        Raises:
          UserError: for observations of other shapes, another number of environments than before
            without all being first, or a first call that is none.
        """
        several = np.ndim(first) == 1
        firsts = np.atleast_1d(np.asarray(first, bool))
        seen = self._read(obs, several)
        if others := [len(x) for x in seen.values() if len(x) != len(firsts)]:
            raise UserError(
                f"observation: expected a row for each of {len(firsts)} environments, as `first` "
                f"has, received {others[0]}"
            )
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
        """[N] the critic's, of the observations last acted on: the discounted return to come."""
        return np.asarray(self.built.value(self.params, self._belief))

    @in_float32
    def imagine(self, ticks: int = 15, samples: int = 1) -> Future:
        """What it expects if it goes on as it would from the observations last acted on, imagined
        at the top clock alone; N = samples · environments, those of one environment together.

        Raises:
          UserError: before the first `act`.
        """
        state = jax.tree.map(lambda x: jnp.repeat(x, samples, axis=0), self._belief)
        self._key, key = jax.random.split(self._key)
        plans = -(-ticks // self.agent.config.plan_ticks)
        path, value = self._imagine(self.params, state, key, plans)
        flat = np.asarray(path.action).reshape(len(path.action), -1, self.agent.model.action_width)
        rows = flat[..., : self.built.codec.width] if not self.agent.codec.coded else flat[:0]
        actions = [[self.built.codec.decode(action) for action in row] for row in rows]
        return Future(np.asarray(path.reward), np.asarray(path.cont), np.asarray(value), actions)

    @in_float32
    def evaluate(
        self, episodes: int = 20, greedy: bool = True, env: str | None = None
    ) -> dict[str, float]:
        """Plays so many episodes in environments of its own: mean return, length and others, by
        name (`agents.statistics.summary`).

        Args:
          env: the environment's name where it is none that is registered, said again as for
            ``train_agent.py --eval``.
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
        def imagine(params: Any, state: Any, key: Any, plans: int) -> Any:
            agent: Agent = self.built.join(params)
            alive = jnp.ones(state.h.shape[0])
            path = imagine_path(
                agent.model, agent.act, agent.predict_reward, agent.predict_cont, state, alive,
                plans, agent.config.plan_ticks, agent.config.behaviour.discount, key,
            )  # fmt: skip
            return path, agent.predict_value(path.features[:, 1:])

        return jax.jit(imagine, static_argnums=3)

    def _read(self, obs: Any, several: bool) -> dict[str, np.ndarray]:
        """[N, ...] by name, as the model reads it."""
        if self._canonical is not None:
            given = obs if several else jax.tree.map(lambda x: np.asarray(x)[None], obs)
            return self._canonical.series(given)
        parts = self.observation_space.spaces
        named = obs if isinstance(obs, Mapping) else dict.fromkeys(parts, obs)
        if set(named) != set(parts) or (len(parts) > 1 and not isinstance(obs, Mapping)):
            raise UserError(
                f"observation: expected a dict of {', '.join(parts)}, received "
                f"{', '.join(named) if isinstance(obs, Mapping) else type(obs).__name__}; or give "
                "`load_agent` the environment's observation_space"
            )
        found = {}
        for name, space in parts.items():
            value = np.asarray(named[name])
            value = value if several else value[None]
            if value.shape[1:] != space.shape:
                raise UserError(
                    f"{name}: expected the shape {space.shape}"
                    f"{' after the first axis' if several else ''}, received "
                    f"{value.shape[1 - several :]}; give `load_agent` the environment's "
                    "observation_space, whose observations it then converts"
                )
            found[name] = value.astype(space.dtype)
        return found
