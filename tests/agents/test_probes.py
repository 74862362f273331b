"""It learns: on every probe the greedy policy comes within 5% of the best return.

Through the real replay store, sampler, vector of environments and policy. All probes share one
compiled update per setting of the strides. A probe stops as soon as two evaluations in a row, with
re-planning at every step and with whole chunks, have reached the bar.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from agents import ActionCodec, ActionDistribution, ActorCriticConfig, Agent, AgentConfig
from agents.dreamer import initial_aux, make_loss
from agents.driver import Collector, Stepper, agent_act, play
from agents.policy import initial_policy, make_policy
from envs import EnvConfig, make_vector
from replay import Field, ReplayConfig, ReplayStore, SequenceSampler, standard_fields
from tests.agents import probes
from worldmodel import ClockworkConfig, OptimizerConfig, Records, make_optimizer, make_update
from worldmodel.learner import initial_state, split

pytestmark = pytest.mark.usefixtures("unchecked")

SHAPES = {"observation": (4,)}
ENVS, PREFILL, RATIO, BATCH, LENGTH = 8, 2_000, 4, 32, 8  # RATIO: environment steps per update
EVERY, MOST = 100, 1_500  # updates between evaluations, and at the most
TRAIN_LIMIT = 8  # steps at which Invest is cut in training
PROBES = ("OneStep", "Delayed", "Commit", "Exit", "Invest")


@dataclass(frozen=True)
class Kit:
    """What the probes of one setting share: the compiled programs."""

    agent: Agent
    codec: ActionCodec
    optimizer: Any
    update: Any
    sampled: Any
    greedy: dict[int, Any]  # by the interval between plans

    @property
    def stride(self) -> int:
        return self.agent.model.stride

    def params(self) -> Any:
        """A copy, for the update consumes what it is given."""
        return jax.tree.map(jnp.copy, split(self.agent)[1])


@pytest.fixture(scope="module", params=[(1,), (1, 4), (1, 2, 4)], ids=["1", "1-4", "1-2-4"])
def kit(request: pytest.FixtureRequest) -> Kit:
    stride = request.param[-1]
    model = ClockworkConfig(
        strides=request.param, deter=64, hidden=64, embed=64, stoch=8, vector_std=0.1
    )
    behaviour = ActorCriticConfig(
        horizon=max(4, 8 // stride), discount=0.95, lam=0.9, starts=256, hidden=64, layers=1
    )
    config = AgentConfig(model=model, behaviour=behaviour)
    codec = ActionCodec(probes.Probe.action_space, ActionDistribution())
    agent = Agent(config, SHAPES, codec, nnx.Rngs(0))
    graph, _ = split(agent)
    optimizer = make_optimizer(OptimizerConfig(lr=3e-3, warmup=20))
    greedy = {replan: make_policy(graph, replan, greedy=True) for replan in {1, stride}}
    sampled = make_policy(graph, 1, greedy=False)
    return Kit(agent, codec, optimizer, make_update(make_loss(graph), optimizer), sampled, greedy)


def config(probe: str, **options: str) -> EnvConfig:
    return EnvConfig(name=f"tests.agents.probes:{probe}", options=options)


def evaluate(kit: Kit, params: Any, probe: str) -> float:
    """The smaller of the mean returns with re-planning at every step and with whole chunks."""
    results = []
    limit = probes.Invest.LIMIT if probe == "Invest" else None
    for replan, policy in kit.greedy.items():
        scores = []
        for cue in ("1", "-1"):
            env = EnvConfig(**{**vars(config(probe, cue=cue)), "time_limit": limit})
            stepper = Stepper(make_vector(env, 4, 999), kit.codec)
            carry = initial_policy(kit.agent, 4, replan)
            act = agent_act(policy, params, carry, jax.random.key(5))
            scores += [episode.score for episode in play(stepper, act).episodes]
            stepper.envs.close()
        results.append(float(np.mean(scores)))
    return min(results)


@pytest.mark.parametrize("probe", PROBES)
def test_the_greedy_policy_comes_within_5_percent_of_the_best(
    kit: Kit, probe: str, tmp_path: Any
) -> None:
    best = getattr(probes, probe).best
    agent, params = kit.agent, kit.params()
    state = initial_state(params, initial_aux(params, agent), kit.optimizer)
    limit = TRAIN_LIMIT if probe == "Invest" else None
    env = EnvConfig(**{**vars(config(probe)), "time_limit": limit})
    fields = standard_fields({"observation": Field((4,), "float32")}, kit.codec.width)
    store = ReplayStore(tmp_path, fields, ReplayConfig(chunk_steps=32))
    stepper = Stepper(make_vector(env, ENVS, 0), kit.codec)
    collector = Collector(stepper, kit.sampled, initial_policy(agent, ENVS, 1), store)
    sampler = SequenceSampler(store, batch=BATCH, length=LENGTH, stride=kit.stride, seed=0)
    scores: list[float] = []
    updates = steps = 0
    bar = best - 0.05 * abs(best)
    while updates < MOST and (len(scores) < 2 or min(scores[-2:]) < bar):
        collector.step(state.params, jax.random.fold_in(jax.random.key(1), steps))
        steps += ENVS
        while updates < min(MOST, (steps - PREFILL) // RATIO):
            batch = Records(**sampler.sample())
            state, _ = kit.update(state, batch, jax.random.fold_in(jax.random.key(2), updates))
            updates += 1
            if updates % EVERY == 0:
                scores.append(evaluate(kit, state.params, probe))
    stepper.envs.close()
    store.close()
    assert min(scores[-2:]) >= bar, f"best {best:.2f}, evaluations {np.round(scores, 2)}"
