"""From settings to objects: the agent with its spaces, and a trained one back from its run."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import gymnasium
import jax
import numpy as np
from flax import nnx

from agents import ActionCodec, Agent
from agents.dreamer import estimate, initial_aux, initial_policy, make_loss, make_policy
from agents.driver import AgentAct, Obs, Played, Stepper, play, random_act
from configs.schema import TrainConfig
from envs import make_agent_env, make_vector
from replay import Field, standard_fields
from training.checkpoint import CheckpointStore
from training.config_io import load_config
from worldmodel.learner import (
    Params,
    TrainState,
    initial_state,
    join,
    make_optimizer,
    make_update,
    split,
)

EVAL_SEED = 1_000_003  # worlds of evaluation: away from those of training, the same every time


@dataclass(frozen=True)
class Spaces:
    """What an environment's agent sees and does."""

    obs: gymnasium.spaces.Dict
    action: gymnasium.Space[Any]

    @classmethod
    def of(cls, config: TrainConfig) -> "Spaces":
        """Asks one environment; ValueError if the name is unknown or its spaces do not fit."""
        env = make_agent_env(config.env)
        obs, action = env.observation_space, env.action_space
        env.close()
        assert isinstance(obs, gymnasium.spaces.Dict)
        return cls(obs, action)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Per observation: (64, 64, C) or (n,)."""
        return {name: tuple(space.shape or ()) for name, space in self.obs.spaces.items()}


class Built:
    """The agent of a config: module, update, policies, spaces."""

    def __init__(self, config: TrainConfig):
        self.config, self.spaces = config, Spaces.of(config)
        self.codec = ActionCodec(self.spaces.action, config.agent.actions)
        self.agent: Agent = nnx.eval_shape(self._agent)  # its parameters are shapes only
        self.optimizer = make_optimizer(config.optimizer, apart=("actor", "critic"))
        self.graph, _ = split(self.agent)
        self.params = jax.jit(lambda: split(self._agent())[1])()  # one program, not one per array

    def _agent(self) -> Agent:
        return Agent(self.config.agent, self.spaces.shapes, self.codec, nnx.Rngs(self.config.seed))

    @cached_property
    def update(self) -> Any:
        """The jitted update."""
        return make_update(
            make_loss(self.graph), self.optimizer, self.config.agent.average_rate, estimate
        )

    def join(self, params: Params) -> Agent:
        """The agent with these parameters."""
        agent: Agent = join(self.graph, params)
        return agent

    def initial(self) -> TrainState:
        """State before the first update."""
        aux = initial_aux(self.params, self.agent)
        return initial_state(self.params, aux, self.optimizer, keep_average=True)

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


def load_run(run: Path) -> tuple[Built, Params, int]:
    """A trained agent from its directory: objects, averaged parameters, environment steps trained.

    Raises:
      ValueError: if there is no run, no checkpoint, or it does not fit its config.
    """
    built = Built(load_config(TrainConfig, run))
    store = CheckpointStore(run / "checkpoints", built.config.keep)
    restored = store.restore(jax.eval_shape(built.initial))
    store.close()
    return built, restored.state.average, restored.step
