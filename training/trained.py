"""A trained agent in your own loop: its action at each observation, and what it imagines.

    agent = load_agent("runs/mine", env.observation_space)
    action = agent.act(obs, first=True)  # then first=False, until the next episode begins

No environment is built, and the caller handles no keys, carry or codec.
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
                    f"{observation_space}; act in that environment"
                )

    @in_float32
    def act(self, obs: Any, first: Any, greedy: bool = True) -> Any:
        """The agent's action at an observation.

        Args:
          obs: an observation of one environment, or [N, ...] of several; a dict, or an array if the
            space has a single part.
          first: whether the observation is the first of its episode: a bool, or [N] of several.
            If it is left False there, the agent keeps its memory of the previous episode.
          greedy: take the mode of the policy; otherwise sample, as during exploration.
        Returns:
          An action in `action_space`; for several environments, a list of actions.
        Raises:
          UserError: if an observation has the wrong shape, or if the first call, or a call with
            another number of environments, has observations that are not first.
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
        """[N] the critic's value of the last observations: the expected discounted return."""
        return np.asarray(self.built.value(self.params, self._belief))

    @in_float32
    def imagine(self, ticks: int = 15, samples: int = 1) -> Future:
        """Imagines the agent's own policy from the last observations, at the top clock alone.

        Args:
          ticks: H, transitions of the top level to imagine.
          samples: imagined futures per environment.
        Returns:
          Predictions with N = environments · samples, grouped by environment.

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
        """Convert an observation to the model's input: [N, ...] by name."""
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
