"""Collection and learning as one program, for environments in pure JAX.

What `train_agent.py` does from Python (act, record, sample, update) is here one function of a
state, so that whole runs compile and ``vmap`` makes many of them: over seeds, and over numeric
settings of the actor-critic. Nothing interrupts the rounds of one call: `training/seeds.py`
requests a number of rounds at a time, and logs, evaluates and saves between calls. Read next:
`memory.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from agents import memory as memories
from agents.agent import Agent
from agents.dreamer import estimate, initial_aux, make_loss
from agents.factors import decode_array
from agents.memory import OBSERVATION, Arrival, Memory
from agents.policy import PolicyCarry, initial_policy, make_policy
from common import UserError
from envs.pure import PureEnv, Transition
from worldmodel.learner import (
    SKIPPED,
    Metrics,
    Params,
    TrainState,
    initial_state,
    join,
    make_update,
    split,
)

ACT, LEARN = range(2)  # purposes of keys


@dataclass(frozen=True)
class Schedule:
    """How much is collected, and what an update reads.

    Raises:
      UserError: if a size is below 1.
    """

    rounds: int  # of the whole run, each one step of all environments; memory has room for them
    num_envs: int  # N, stepped together
    batch: int  # B
    length: int  # L, environment steps per sequence, a multiple of the top stride

    def __post_init__(self) -> None:
        for name in ("rounds", "num_envs", "batch", "length"):
            if getattr(self, name) < 1:
                raise UserError(f"{name}: expected 1 or more, received {getattr(self, name)}")


class Acting(NamedTuple):
    """Environments and the policy that acts in them."""

    policy: PolicyCarry
    env: Any  # [N, ...] states of the environments
    first: Array  # [N] whether the newest record is its episode's first
    last: Array  # [N] whether it is its last
    time: Array  # [N] steps of the current episodes
    score: Array  # [N] sums of their rewards


class RunState(NamedTuple):
    """A run at one moment."""

    train: TrainState
    acting: Acting
    memory: Memory
    in_row: Array  # [] consecutive skipped updates, up to the newest


class Orders(NamedTuple):
    """What ``CompiledRun.advance`` is to do."""

    rounds: Any  # [] at most R
    updates: Any  # [R] updates after each round
    begun: Any  # [] rounds of the run before these, so that none repeats random numbers
    learned: Any  # [] updates of the run before these, likewise


class Report(NamedTuple):
    """Results of ``CompiledRun.advance``."""

    metrics: Metrics  # means over the updates that were not skipped (nan without any)
    skipped: Array  # [] number of skipped updates
    in_row: Array  # [] most of them in a row, counting those before these
    ended: Array  # [R, N] whether a round ended an environment's episode
    score: Array  # [R, N] sum of that episode's rewards
    length: Array  # [R, N] its number of steps


class Played(NamedTuple):
    """Episodes of an evaluation, [M]."""

    score: Array  # sum of rewards
    length: Array  # environment steps
    discounted: Array  # Σ_t γ^(t-1) r_t
    foreseen: Array  # the critic's value at the first observation
    cut: Array  # bool: neither terminated nor at the environment's limit


class CompiledRun:
    """The program of one run; ``advance`` and ``evaluate`` may be vmapped.

    Map ``initial`` with ``jax.lax.map``: under ``vmap``, its batched QR (orthogonal weights) waits
    for workers of the very pool that it runs in, on 2 cores forever (docs/adr/0008).

    Args:
      template: an agent, of whose parameters only the shapes are read (``nnx.eval_shape``).
      make: maps a key to a new agent like ``template``.
      env: the environment.
      optimizer: as in ``learner.make_update``.
      by_row: how a batch's rows are divided among devices; None: they are not.
    """

    def __init__(
        self,
        template: Agent,
        make: Any,
        env: PureEnv,
        optimizer: optax.GradientTransformation,
        schedule: Schedule,
        by_row: jax.sharding.Sharding | None = None,
    ) -> None:
        self.agent, self.make, self.env = template, make, env
        self.optimizer, self.schedule, self.by_row = optimizer, schedule, by_row
        self.graph, _ = split(template)
        replan = template.config.replan
        self.sampled = make_policy(self.graph, replan, greedy=False)
        self.greedy = make_policy(self.graph, replan, greedy=True)

    def initial(self, key: PRNGKeyArray) -> RunState:
        """State before the first step: new parameters, first records."""
        s = self.schedule
        params_key, env_key = jax.random.split(key)
        params = split(self.make(params_key))[1]
        aux = initial_aux(params, self.agent)
        train = initial_state(params, aux, self.optimizer, keep_average=True)
        state = self._reset(env_key, s.num_envs)
        no = jnp.zeros(s.num_envs, bool)
        now = Arrival(
            obs=jax.vmap(self.env.observe)(state),
            action=jnp.zeros((s.num_envs, self.agent.model.action_width)),
            reward=jnp.zeros(s.num_envs),
            terminal=no,
            first=~no,
        )
        shortest = 2 if self.env.terminates else self.env.length + 1
        memory = memories.write(memories.empty(s.rounds + 1, shortest, now), now)
        policy = initial_policy(self.agent, s.num_envs, self.agent.config.replan)
        zeros = jnp.zeros(s.num_envs, jnp.int32)
        acting = Acting(policy, state, ~no, no, zeros, jnp.zeros(s.num_envs))
        return RunState(train, acting, memory, jnp.zeros((), jnp.int32))

    def advance(
        self,
        run: RunState,
        key: PRNGKeyArray,
        orders: Orders,
        behaviour: Mapping[str, Array] | None = None,
    ) -> tuple[RunState, Report]:
        """Run the ordered rounds: each one step of all environments, then updates. All orders with
        the same R share one program.

        Args:
          key: the same for a whole run.
          behaviour: numbers that override settings of the agent's ActorCriticConfig.
        """
        s, stride = self.schedule, self.agent.model.stride
        update = make_update(make_loss(self.graph, behaviour), self.optimizer, estimate)
        act_key, learn_key = (jax.random.fold_in(key, purpose) for purpose in (ACT, LEARN))

        def learn(number: Array, now: tuple[RunState, Sums]) -> tuple[RunState, Sums]:
            run, sums = now
            sample_key, noise_key = jax.random.split(jax.random.fold_in(learn_key, number))
            batch = memories.sample(run.memory, sample_key, s.batch, s.length, stride)
            if self.by_row is not None:
                batch = jax.lax.with_sharding_constraint(batch, self.by_row)
            train, found = update(run.train, batch, noise_key)
            in_row = jnp.where(found[SKIPPED] > 0, run.in_row + 1, 0)
            return run._replace(train=train, in_row=in_row), sums.add(found, in_row)

        def one(number: Array, now: tuple[RunState, Sums, Array, Ends]) -> Any:
            run, sums, learned, ends = now
            run, *told = self.act(run, jax.random.fold_in(act_key, orders.begun + number))
            until = learned + orders.updates[number]
            run, sums = jax.lax.fori_loop(learned, until, learn, (run, sums))
            ends = Ends(*(x.at[number].set(y) for x, y in zip(ends, told, strict=True)))
            return run, sums, until, ends

        batch = jax.eval_shape(lambda: memories.sample(run.memory, key, s.batch, s.length, stride))
        sums = Sums.of(jax.eval_shape(update, run.train, batch, key)[1], run.in_row)
        shape = (len(orders.updates), s.num_envs)
        ends = Ends(jnp.zeros(shape, bool), jnp.zeros(shape), jnp.zeros(shape, jnp.int32))
        begin = (run, sums, orders.learned, ends)
        run, sums, _, ends = jax.lax.fori_loop(0, orders.rounds, one, begin)
        return run, Report(sums.means(), sums.skipped, sums.in_row, *ends)

    def act(self, run: RunState, key: PRNGKeyArray) -> tuple[RunState, Array, Array, Array]:
        """Step every environment and write the records to memory; where an episode is over, write
        the next one's first record instead. Also return which episodes the step ended, their scores
        and their lengths."""
        act_key, step_key, reset_key = jax.random.split(key, 3)
        before, count = run.acting, self.schedule.num_envs
        obs = {OBSERVATION: self._seen(before.env)}
        policy, action = self.sampled(run.train.params, before.policy, obs, before.first, act_key)
        moved = self._step(before.env, action, step_key)
        first = before.last
        state = choose(first, self._reset(reset_key, count), moved.state)
        time = jnp.where(first, 0, before.time + 1)
        reward = jnp.where(first, 0.0, moved.reward)
        terminal = moved.terminated & ~first
        last = terminal | (time == self.env.length)
        score = jnp.where(first, 0.0, before.score + reward)
        now = Arrival(
            obs=jax.vmap(self.env.observe)(state),
            action=jnp.where(first[:, None], 0.0, action),
            reward=reward,
            terminal=terminal,
            first=first,
        )
        acting = Acting(policy, state, first, last, time, score)
        run = run._replace(acting=acting, memory=memories.write(run.memory, now))
        return run, last, score, time

    def evaluate(
        self, params: Params, key: PRNGKeyArray, count: int, most: int, greedy: bool
    ) -> Played:
        """Play episodes with these parameters, adding nothing to the memory.

        Args:
          count: M; static.
          most: steps after which unfinished episodes are cut; static.
          greedy: act by modes; static.
        """
        reset_key, act_key = jax.random.split(key)
        policy = self.greedy if greedy else self.sampled
        limit, discount = min(most, self.env.length), self.agent.config.behaviour.discount
        zeros = jnp.zeros(count)
        played = Played(zeros, jnp.zeros(count, jnp.int32), zeros, zeros, jnp.ones(count, bool))
        state = self._reset(reset_key, count)
        carry = initial_policy(self.agent, count, self.agent.config.replan)

        def step(now: Any) -> Any:
            time, state, carry, played = now
            policy_key, step_key = jax.random.split(jax.random.fold_in(act_key, time))
            first = jnp.full(count, time == 0)
            obs = {OBSERVATION: self._seen(state)}
            carry, action = policy(params, carry, obs, first, policy_key)
            value = join(self.graph, params).predict_value(carry.filter.belief.features)
            moved = self._step(state, action, step_key)
            going = played.cut  # `cut` is True while an episode is not over
            reward = jnp.where(going, moved.reward, 0.0)
            played = Played(
                score=played.score + reward,
                length=played.length + going,
                discounted=played.discounted + discount**time * reward,
                foreseen=jnp.where(first, value, played.foreseen),
                cut=going & ~moved.terminated,
            )
            return time + 1, moved.state, carry, played

        def goes_on(now: Any) -> Bool[Array, ""]:
            return (now[0] < limit) & now[-1].cut.any()

        begin = (jnp.zeros((), jnp.int32), state, carry, played)
        *_, played = jax.lax.while_loop(goes_on, step, begin)
        return played._replace(cut=played.cut & (limit < self.env.length))

    def _reset(self, key: PRNGKeyArray, count: int) -> Any:
        return jax.vmap(self.env.reset)(jax.random.split(key, count))

    def _seen(self, state: Any) -> Float[Array, "N n"]:
        """Observations as the model reads them."""
        return jax.vmap(self.env.observe)(state).astype(jnp.float32)

    def _step(self, state: Any, action: Array, key: PRNGKeyArray) -> Transition:
        """Step every environment by its action, without the part that only the model reads."""
        actions = decode_array(self.env.action_space, action)
        moved: Transition = jax.vmap(self.env.step)(
            state, actions, jax.random.split(key, len(action))
        )
        return moved


class Ends(NamedTuple):
    """The last three fields of a `Report`."""

    ended: Array
    score: Array
    length: Array


class Sums(NamedTuple):
    """Sums of metrics over the updates that were not skipped."""

    total: Metrics
    done: Array  # [] number of these updates
    skipped: Array  # [] number of skipped updates
    in_row: Array  # [] most skipped updates in a row

    @classmethod
    def of(cls, metrics: Any, in_row: Array) -> "Sums":
        """Sums over no updates, for metrics of these shapes."""
        total = {name: jnp.zeros(x.shape, x.dtype) for name, x in metrics.items()}
        del total[SKIPPED]
        return cls(total, jnp.zeros(()), jnp.zeros(()), in_row)

    def add(self, found: Metrics, in_row: Array) -> "Sums":
        """Sums that include one more update."""
        done = found[SKIPPED] == 0
        total = {name: x + jnp.where(done, found[name], 0.0) for name, x in self.total.items()}
        most = jnp.maximum(self.in_row, in_row)
        return Sums(total, self.done + done, self.skipped + ~done, most)

    def means(self) -> Metrics:
        """Means over the updates that were not skipped."""
        return {name: x / self.done for name, x in self.total.items()}


def choose(which: Bool[Array, " N"], here: Any, there: Any) -> Any:
    """States [N, ...] from ``here`` where ``which``, else from ``there``."""

    def one(x: Array, y: Array) -> Array:
        return jnp.where(which.reshape(-1, *[1] * (x.ndim - 1)), x, y)

    return jax.tree.map(one, here, there)
