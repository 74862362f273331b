"""From settings to objects: the agent with its spaces, and a trained one back from its run."""

from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx

from agents import ActionCodec, Agent
from agents.dreamer import estimate, initial_aux, initial_policy, make_loss, make_policy
from agents.driver import AgentAct, Obs, Played, Stepper, play, random_act
from configs.schema import TrainConfig
from envs import make_vector
from replay import Field, standard_fields
from training.checkpoint import restore_newest
from training.config_io import load_config
from training.spaces import Spaces, ask, read_spaces
from worldmodel.learner import Learner, Params, make_optimizer

EVAL_SEED = 1_000_003  # worlds of evaluation: away from those of training, the same every time


class Built(Learner[Agent]):
    """The agent of a config: module, update, policies, environments.

    Args:
      spaces: what it sees and does; None: its environment is asked.
    """

    def __init__(self, config: TrainConfig, spaces: Spaces | None = None):
        self.config, self.spaces = config, spaces or ask(config)
        self.codec = ActionCodec(self.spaces.action)
        super().__init__(
            self._agent,
            make_loss,
            initial_aux,
            make_optimizer(config.optimizer, apart=("actor", "critic")),
            estimate,
            keep_average=True,
        )
        self.agent = self.module

    def _agent(self) -> Agent:
        return Agent(self.config.agent, self.spaces.shapes, self.codec, nnx.Rngs(self.config.seed))

    def fields(self) -> dict[str, Field]:
        """Fields of a replayed record."""
        obs = {
            name: Field(tuple(space.shape or ()), str(space.dtype))
            for name, space in self.spaces.obs.spaces.items()
        }
        return standard_fields(obs, self.agent.model.action_width)

    def stepper(self, num_envs: int, seed: int) -> Stepper:
        """New environments."""
        envs = make_vector(self.config.env, num_envs, seed)
        return Stepper(envs, self.codec, self.agent.model.action_width)

    def policy(self, greedy: bool) -> Any:
        """The jitted policy; compiled once each."""
        return self._greedy if greedy else self._sampled

    @cached_property
    def _greedy(self) -> Any:
        return make_policy(self.graph, self.config.agent.replan, greedy=True)

    @cached_property
    def _sampled(self) -> Any:
        return make_policy(self.graph, self.config.agent.replan, greedy=False)

    @cached_property
    def _value(self) -> Any:
        return jax.jit(lambda params, top: self.join(params).predict_value(top.features))

    def evaluate(self, params: Params, episodes: int, greedy: bool, watch: bool = False) -> Played:
        """Plays ``episodes`` episodes, each in its own environment with seeds of their own."""
        stepper = self.stepper(episodes, EVAL_SEED)
        carry = initial_policy(self.agent, episodes, self.config.agent.replan)
        agent = AgentAct(self.policy(greedy), params, carry, jax.random.key(EVAL_SEED))
        foreseen: list[float] = []

        def act(obs: Obs, is_first: np.ndarray, step: int) -> np.ndarray:
            action = agent(obs, is_first, step)
            if step == 0:
                foreseen.extend(self._value(params, agent.carry.filter.belief).tolist())
            return action

        try:
            played = play(stepper, act, watch, self.config.agent.behaviour.discount)
        finally:
            stepper.envs.close()
        pairs = zip(played.episodes, foreseen, strict=True)
        return played._replace(episodes=[e._replace(foreseen=v) for e, v in pairs])

    def evaluate_random(self, episodes: int) -> Played:
        """The same episodes under uniformly random actions."""
        stepper = self.stepper(episodes, EVAL_SEED)
        try:
            return play(stepper, random_act(stepper.envs, self.codec, EVAL_SEED))
        finally:
            stepper.envs.close()


class AgentRun(NamedTuple):
    """A trained agent from its run."""

    built: Built
    params: Params  # averaged
    step: int  # environment steps trained


def load_run(run: Path) -> AgentRun:
    """A trained agent from its directory. Its environment is asked only for what the run did not
    record; no parameters are made but those that are read.

    Raises:
      UserError: if there is no run, no checkpoint, or it does not fit its config.
    """
    built = Built(load_config(TrainConfig, run), read_spaces(run))
    restored = restore_newest(run, built.abstract())
    return AgentRun(built, restored.state.average, restored.step)
