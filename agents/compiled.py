"""Collection and learning as one program, for environments in pure JAX.

What `train_agent.py` does from Python (act, record, sample, update) is here one function of a
state, so that whole runs compile, and ``vmap`` makes many of them: over seeds, and over settings of
the actor-critic that are numbers. Sequences are cut from episodes in memory by the rule that cuts
them from disk (`replay/layout.py`), but that all steps so far are drawn from, not whole files of
them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from agents.agent import Agent
from agents.dreamer import estimate, initial_aux, make_loss
from agents.factors import decode_array
from agents.policy import PolicyCarry, initial_policy, make_policy
from common import UserError
from envs.pure import PureEnv
from replay.layout import Placed, blocks
from worldmodel.learner import (
    SKIPPED,
    Metrics,
    Params,
    TrainState,
    initial_state,
    make_update,
    split,
)
from worldmodel.records import Records

OBSERVATION = "observation"  # the name under which the model knows what an environment shows


@dataclass(frozen=True)
class Schedule:
    """How much is collected and learned, and in what portions.

    Raises:
      UserError: on sizes below 1.
    """

    steps: int  # environment steps of the whole run, over all environments: what memory is made for
    num_envs: int  # N, stepped together
    updates: int  # per step of all environments together
    batch: int  # B
    length: int  # L, environment steps per sequence, a multiple of the top stride

    def check(self, env: PureEnv) -> None:
        """See the class."""
        if env.terminates:
            raise UserError("expected an environment that ends by time limit alone")
        for name in ("steps", "num_envs", "updates", "batch", "length"):
            if getattr(self, name) < 1:
                raise UserError(f"{name}: expected 1 or more, received {getattr(self, name)}")


class Episodes(NamedTuple):
    """Records by episode and time, [E, T+1, ...], in the arrival convention.

    Episodes of the N environments begin together: number ``b·N + i`` is environment i's b-th.
    """

    obs: Array  # [E, T+1, n]
    action: Array  # [E, T+1, A] as the model reads it
    reward: Array  # [E, T+1]
    begun: Array  # [] episodes of each environment, the present one counted
    time: Array  # [] of the newest record


class RunState(NamedTuple):
    """A run at one moment."""

    train: TrainState
    policy: PolicyCarry
    env: Any  # [N, ...] states of the environments
    episodes: Episodes


class CompiledRun:
    """The program of one run; ``advance`` and ``evaluate`` may be vmapped.

    Map ``initial`` by ``jax.lax.map``: vmapped, its batched QR (orthogonal weights) waits for
    workers of the very pool that it runs in, on 2 cores for ever (docs/adr/0008).

    Args:
      template: an agent; of its parameters only shapes are read (``nnx.eval_shape``).
      make: of a key to a new agent like it.
      env: the environment.
      optimizer: as for ``learner.make_update``.
    Raises:
      UserError: on a schedule that cannot run.
    """

    def __init__(
        self,
        template: Agent,
        make: Any,
        env: PureEnv,
        optimizer: optax.GradientTransformation,
        schedule: Schedule,
    ) -> None:
        schedule.check(env)
        self.agent, self.make, self.env = template, make, env
        self.optimizer, self.schedule = optimizer, schedule
        self.graph, _ = split(template)
        replan = template.config.replan
        self.sampled = make_policy(self.graph, replan, greedy=False)
        self.greedy = make_policy(self.graph, replan, greedy=True)

    def initial(self, key: PRNGKeyArray) -> RunState:
        """Before the first step: new parameters, first records."""
        s, env = self.schedule, self.env
        params_key, env_key = jax.random.split(key)
        params = split(self.make(params_key))[1]
        aux = initial_aux(params, self.agent)
        train = initial_state(params, aux, self.optimizer, keep_average=True)
        state = jax.vmap(env.reset)(jax.random.split(env_key, s.num_envs))
        rows = s.num_envs * (-(-s.steps // (s.num_envs * env.length)) + 1)
        empty = Episodes(
            obs=jnp.zeros((rows, env.length + 1, *env.observation_space.shape)),
            action=jnp.zeros((rows, env.length + 1, self.agent.model.action_width)),
            reward=jnp.zeros((rows, env.length + 1)),
            begun=jnp.ones((), jnp.int32),
            time=jnp.zeros((), jnp.int32),
        )
        policy = initial_policy(self.agent, s.num_envs, self.agent.config.replan)
        zeros = jnp.zeros((s.num_envs, self.agent.model.action_width))
        episodes = self._write(empty, state, zeros, jnp.zeros(s.num_envs))
        return RunState(train, policy, state, episodes)

    def advance(
        self,
        run: RunState,
        key: PRNGKeyArray,
        rounds: int,
        learn: bool,
        behaviour: Mapping[str, Array] | None = None,
    ) -> tuple[RunState, Metrics]:
        """So many rounds: each a step of all environments, then the schedule's updates.

        Args:
          rounds: static; in all no more than the schedule's steps, for which memory was made.
          learn: static; False: only collect.
          behaviour: numbers that override those of the agent's ActorCriticConfig.
        Returns:
          The run, and the mean of every metric over the updates that were not skipped (nan where
          all were), beside `SKIPPED`, how many were.
        """
        loss = make_loss(self.graph, behaviour)
        update = make_update(loss, self.optimizer, estimate)

        def one(run: RunState, key: PRNGKeyArray) -> tuple[RunState, Metrics]:
            act_key, *update_keys = jax.random.split(key, 1 + self.schedule.updates)
            run = self.act(run, act_key)
            metrics: list[Metrics] = []
            for update_key in update_keys if learn else ():
                sample_key, noise_key = jax.random.split(update_key)
                batch = self.sample(run.episodes, sample_key)
                train, found = update(run.train, batch, noise_key)
                run, metrics = run._replace(train=train), [*metrics, found]
            return run, jax.tree.map(lambda *x: jnp.stack(x), *metrics) if learn else {}

        run, metrics = jax.lax.scan(one, run, jax.random.split(key, rounds))
        return run, means(metrics)

    def act(self, run: RunState, key: PRNGKeyArray) -> RunState:
        """One step of every environment, into memory; after an episode's last, the next's first."""
        act_key, step_key, reset_key = jax.random.split(key, 3)
        time = run.episodes.time
        obs = {OBSERVATION: jax.vmap(self.env.observe)(run.env)}
        first = jnp.full(self.schedule.num_envs, time == 0)
        policy, action = self.sampled(run.train.params, run.policy, obs, first, act_key)
        state, reward = self._step(run.env, action, step_key)
        episodes = self._write(run.episodes._replace(time=time + 1), state, action, reward)

        def renew(_: Any) -> tuple[Any, Episodes]:
            fresh = jax.vmap(self.env.reset)(jax.random.split(reset_key, self.schedule.num_envs))
            begun = episodes._replace(begun=episodes.begun + 1, time=jnp.zeros_like(time))
            nothing = jnp.zeros_like(action), jnp.zeros_like(reward)
            return fresh, self._write(begun, fresh, *nothing)

        ended = episodes.time == self.env.length
        state, episodes = jax.lax.cond(ended, renew, lambda _: (state, episodes), None)
        return RunState(run.train, policy, state, episodes)

    def _step(self, state: Any, action: Array, key: PRNGKeyArray) -> tuple[Any, Array]:
        """Every environment by its action, of which it gets what is its own."""
        actions = decode_array(self.env.action_space, action)
        moved = jax.vmap(self.env.step)(state, actions, jax.random.split(key, len(action)))
        return moved.state, moved.reward

    def _write(self, episodes: Episodes, state: Any, action: Array, reward: Array) -> Episodes:
        """The newest record of every environment, at ``episodes.time`` of the present episodes."""
        row = (episodes.begun - 1) * self.schedule.num_envs
        obs = jax.vmap(self.env.observe)(state)

        def put(array: Array, value: Array) -> Array:
            start: list[Any] = [row, episodes.time, *[0] * (value.ndim - 1)]
            return jax.lax.dynamic_update_slice(array, value[:, None].astype(array.dtype), start)

        return episodes._replace(
            obs=put(episodes.obs, obs),
            action=put(episodes.action, action),
            reward=put(episodes.reward, reward),
        )

    def sample(self, episodes: Episodes, key: PRNGKeyArray) -> Records:
        """A batch of sequences, [B, lead+L, ...], L with the agent's burn-in: every record so far
        is drawn equally often."""
        start_key, next_key = jax.random.split(key)
        n, batch, stride = self.schedule.num_envs, self.schedule.batch, self.agent.model.stride
        steps = recorded(episodes, n)
        table = jnp.cumsum(jnp.where(steps > 0, blocks(steps, stride), 0))
        drawn = jax.random.randint(start_key, (batch, 1), 0, table[-1])
        row = jnp.searchsorted(table, drawn, side="right")
        block = drawn[:, 0] - jnp.where(row > 0, table[row - 1], 0)[:, 0]
        length = self.schedule.length + self.agent.config.burn_in_steps
        more = length // stride - 1  # each fills a block or more
        following = jax.random.randint(next_key, (batch, more), 0, episodes.begun * n)
        rows = jnp.concatenate([row, following], axis=1)

        def cut(rows: Array, block: Array) -> Records:
            return cut_sequence(episodes, steps, rows, block, stride, length)

        return jax.vmap(cut)(rows, block)

    def evaluate(self, params: Params, key: PRNGKeyArray, count: int) -> Float[Array, " count"]:
        """Sums of rewards of ``count`` (static) episodes of the greedy policy."""
        reset_key, act_key = jax.random.split(key)
        state = jax.vmap(self.env.reset)(jax.random.split(reset_key, count))
        carry = initial_policy(self.agent, count, self.agent.config.replan)

        def step(now: tuple[Any, PolicyCarry], at: tuple[Array, PRNGKeyArray]) -> Any:
            (state, carry), (time, key) = now, at
            act_key, step_key = jax.random.split(key)
            obs = {OBSERVATION: jax.vmap(self.env.observe)(state)}
            carry, action = self.greedy(params, carry, obs, jnp.full(count, time == 0), act_key)
            state, reward = self._step(state, action, step_key)
            return (state, carry), reward

        times = jnp.arange(self.env.length)
        _, rewards = jax.lax.scan(
            step, (state, carry), (times, jax.random.split(act_key, self.env.length))
        )
        return rewards.sum(0)


def means(metrics: Metrics) -> Metrics:
    """Of arrays over all updates: means of those that were not skipped, and how many were."""
    if not metrics:
        return {}
    done = metrics[SKIPPED] == 0
    over = {name: jnp.mean(x, where=done) for name, x in metrics.items()}
    return over | {SKIPPED: jnp.sum(metrics[SKIPPED])}


def cut_sequence(
    episodes: Episodes,
    steps: Int[Array, " E"],
    rows: Int[Array, " M"],
    block: Int[Array, ""],
    stride: int,
    length: int,
) -> Records:
    """One sequence [lead+L, ...], lead = K - 1, laid out by `replay/layout.py`.

    Args:
      steps: records of every episode.
      rows: of the episodes that it is cut from, in order, as many as it may hold.
      block: of the first of them, at which the sequence starts.
    """
    lead = stride - 1
    filled = blocks(steps[rows], stride).at[0].add(-block) * stride
    ends = lead + jnp.cumsum(filled)
    slot = jnp.arange(lead + length)
    which = jnp.searchsorted(ends, slot, side="right")
    row = rows[which]
    frame = jnp.where(which == 0, block * stride, 0)
    placed = Placed((ends - filled)[which], frame, steps[row])
    time, mask = placed.time(slot), placed.real(slot)
    source = row, jnp.clip(time, 0, placed.steps - 1)
    real: Bool[Array, " S"] = mask & (time > 0)  # led to by an action
    return Records(
        obs={OBSERVATION: jnp.where((time >= 0)[:, None], episodes.obs[source], 0.0)},
        action=jnp.where(real[:, None], episodes.action[source], 0.0),
        action_mask=mask.astype(jnp.float32),
        reward=jnp.where(real, episodes.reward[source], 0.0),
        terminal=jnp.zeros_like(mask),
        is_first=mask & (time == 0),
        mask=mask.astype(jnp.float32),
    )


def recorded(episodes: Episodes, num_envs: int) -> Int[Array, " E"]:
    """Records of every episode so far, 0 of those to come."""
    rows, per = episodes.obs.shape[:2]
    past = episodes.begun - 1 - jnp.arange(rows) // num_envs  # 0: the present ones
    return jnp.where(past > 0, per, jnp.where(past == 0, episodes.time + 1, 0))
