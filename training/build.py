"""Build an agent and its spaces from settings, or load a trained agent from its run."""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jax
import numpy as np
import tyro
from flax import nnx
from jaxtyping import PRNGKeyArray

from agents import ActionCodec, Agent
from agents.dreamer import estimate, initial_aux, initial_policy, make_loss, make_policy
from agents.driver import AgentAct, Obs, Played, Stepper, play, random_act
from common import EnvironmentFailed
from configs.schema import TrainConfig
from envs import as_said, check_named, make_vector, same_env
from envs.spaces import chosen
from replay import Field, standard_fields
from training.checkpoint import CHECKPOINTS, restore_newest
from training.config_io import holds_run, load_config, read_config
from training.spaces import Spaces, ask, read_spaces
from worldmodel.learner import Learner, Params, make_optimizer

EVAL_SEED = 1_000_003  # evaluation worlds: unlike those of training, and the same every time


TOGETHER = 16  # environments open at once during an evaluation

SAID = """Name of the run's environment, needed if it is not registered here: code that only the
run's own files name is neither imported nor called."""
SaidAgain = Annotated[str | None, tyro.conf.arg(help=SAID)]
"""Type of the `env` setting of commands that load a run and act."""


def kept_settings(logdir: Path, env: str | None) -> TrainConfig | None:
    """Settings of the run in a directory, or of the first of its seeds; None if it has no run.

    They stay as they were, even if the presets have changed since.

    Args:
      env: the environment's name as given by the user.
    Raises:
      UserError: if the settings cannot be read, or `envs.as_said` rejects the environment.
    """
    for run in (logdir, *sorted(logdir.glob("seed_*"))):
        if holds_run(run) and "env" in read_config(run):  # video models have no env
            config = load_config(TrainConfig, run)
            return replace(config, env=as_said(config.env, env, run))
    return None


class Built(Learner[Agent]):
    """The agent described by a config: module, update, policies, environments.

    Args:
      spaces: its observation and action spaces; None: taken from its environment.
    """

    def __init__(self, config: TrainConfig, spaces: Spaces | None = None):
        self.config, self.spaces = config, spaces or ask(config)
        self.codec = ActionCodec(self.spaces.action)
        self.predicted = chosen(self.spaces.shapes, config.env.predict)
        super().__init__(
            lambda: self.make_agent(config.seed),
            make_loss,
            initial_aux,
            make_optimizer(config.optimizer, apart=("actor", "critic")),
            estimate,
            keep_average=True,
        )
        self.agent, self.together = self.module, TOGETHER

    def make_agent(self, seed: int | PRNGKeyArray) -> Agent:
        """Create the module with random parameters."""
        shapes, rngs = self.spaces.shapes, nnx.Rngs(seed)
        return Agent(self.config.agent, shapes, self.codec, rngs, self.predicted)

    def fields(self) -> dict[str, Field]:
        """Fields of a replayed record."""
        obs = {
            name: Field(tuple(space.shape or ()), str(space.dtype))
            for name, space in self.spaces.obs.spaces.items()
        }
        return standard_fields(obs, self.agent.model.action_width)

    def stepper(self, num_envs: int, seed: int) -> Stepper:
        """Create new environments."""
        envs = make_vector(self.config.env, num_envs, seed)
        return Stepper(envs, self.codec, self.agent.model.action_width)

    def policy(self, greedy: bool) -> Any:
        """The jitted policy, greedy or sampled; each is compiled once."""
        return self._greedy if greedy else self._sampled

    @cached_property
    def _greedy(self) -> Any:
        return make_policy(self.graph, self.config.agent.replan, greedy=True)

    @cached_property
    def _sampled(self) -> Any:
        return make_policy(self.graph, self.config.agent.replan, greedy=False)

    @cached_property
    def value(self) -> Any:
        """The critic's value of top-level states: a jitted function of (params, state)."""
        return jax.jit(lambda params, top: self.join(params).predict_value(top.features))

    def evaluate(self, params: Params, episodes: int, greedy: bool, watch: bool = False) -> Played:
        """Play ``episodes`` episodes with the agent.

        Args:
          watch: keep what the agent saw in the first episode.
        """

        def wave(stepper: Stepper, first: bool) -> Played:
            carry = initial_policy(self.agent, stepper.size, self.config.agent.replan)
            agent = AgentAct(self.policy(greedy), params, carry, jax.random.key(EVAL_SEED))
            foreseen: list[float] = []

            def act(obs: Obs, is_first: np.ndarray, step: int) -> np.ndarray:
                action = agent(obs, is_first, step)
                if step == 0:
                    foreseen.extend(self.value(params, agent.carry.filter.belief).tolist())
                return action

            discount = self.config.agent.behaviour.discount
            played = play(stepper, act, watch and first, discount, self.config.eval_steps)
            pairs = zip(played.episodes, foreseen, strict=True)
            return played._replace(episodes=[e._replace(foreseen=v) for e, v in pairs])

        return self._in_waves(episodes, wave)

    def evaluate_random(self, episodes: int) -> Played:
        """Play the same episodes with uniformly random actions."""

        def wave(stepper: Stepper, first: bool) -> Played:
            act = random_act(stepper.envs, self.codec, EVAL_SEED)
            return play(stepper, act, most=self.config.eval_steps)

        return self._in_waves(episodes, wave)

    def _in_waves(self, episodes: int, wave: Callable[[Stepper, bool], Played]) -> Played:
        """Play episodes, each with its own seed and environment, at most `self.together` at once:
        one at a time if several environments cannot be open together."""
        try:
            played = self._waves(episodes, wave)
        except EnvironmentFailed as error:
            if min(self.together, episodes) == 1:
                raise
            print(f"evaluation: trying again with one environment at a time, after {error}")
            self.together = 1
            played = self._waves(episodes, wave)
        cut = [e.length for e in played.episodes if e.cut]
        if long := sum(length >= self.config.eval_steps for length in cut):
            print(
                f"evaluation: {long} of {episodes} episodes were cut short after "
                f"{self.config.eval_steps:,} steps, the limit of evaluations, before the "
                "environment ended them; raise --env.time-limit to let them continue"
            )
        if failed := len(cut) - long:
            print(
                f"evaluation: {failed} of {episodes} episodes were cut short because environments "
                "failed"
            )
        return played

    def _waves(self, episodes: int, wave: Callable[[Stepper, bool], Played]) -> Played:
        waves = -(-episodes // self.together)
        size = -(-episodes // waves)  # equal waves share one compiled program; surplus is dropped
        found = []
        for number in range(waves):
            stepper = self.stepper(size, EVAL_SEED + number * size)
            try:
                found.append(wave(stepper, number == 0))
            finally:
                stepper.envs.close()
        every = [episode for part in found for episode in part.episodes]
        return found[0]._replace(episodes=every[:episodes])


class AgentRun(NamedTuple):
    """A trained agent loaded from its run."""

    built: Built
    params: Params  # averaged, or the newest
    step: int  # environment steps trained


def load_run(
    run: Path,
    env: str | None = None,
    acts: bool = True,
    folder: str = CHECKPOINTS,
    newest: bool = False,
) -> AgentRun:
    """Load a trained agent from its run's directory.

    Its environment is only queried for spaces that the run did not record; no parameters are
    initialised besides those that are read.

    Args:
      env: the environment's name, if the user gave it (`envs.as_said`).
      acts: whether the agent will act; otherwise its environment is created only if it must be
        queried, and may differ from ``env``.
      folder: folder of its checkpoints; ``checkpoint.BEST``: the one with the best evaluation.
      newest: use the parameters of the last update instead of their moving average.
    Raises:
      UserError: if there is no run or checkpoint, the checkpoint does not fit its config, or the
        environment would have to be created and cannot be trusted.
    """
    config, spaces = load_config(TrainConfig, run), read_spaces(run)
    if acts or (spaces is None and env is not None and same_env(env, config.env.name)):
        config = replace(config, env=as_said(config.env, env, run))
    elif spaces is None:
        check_named(config.env, None, run)
    built = Built(config, spaces)
    restored = restore_newest(run, built.abstract(), folder)
    state = restored.state
    return AgentRun(built, state.params if newest else state.average, restored.step)
