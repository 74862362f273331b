"""Memory of compiled runs: every record so far, in arrays, and sequences drawn from them.

Each of N environments is a stream of records in the arrival convention (`worldmodel/clock.py`), one
per step of all environments together; after an episode's last record comes the next one's first.
Sequences are cut by the same rule as from disk (`replay/layout.py`), except that they are drawn
from all steps so far, not from whole files of them. Read next: `compiled.py`, which fills the
memory.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, PRNGKeyArray

from common import UserError
from replay.layout import Placed, blocks
from worldmodel.records import Records

OBSERVATION = "observation"  # the model's name for what an environment shows


class Arrival(NamedTuple):
    """What has just arrived from every environment."""

    obs: Array  # [N, n]
    action: Array  # [N, A] leading there, as the model reads it; 0 at an episode's first record
    reward: Array  # [N]
    terminal: Array  # [N] bool
    first: Array  # [N] bool


class Memory(NamedTuple):
    """Streams of at most C records, and a table of up to E episodes in them."""

    obs: Array  # [N, C, n]
    action: Array  # [N, C, A]
    reward: Array  # [N, C]
    terminal: Array  # [N, C]
    time: Array  # [] records in each stream
    stream: Array  # [E] stream of an episode
    start: Array  # [E] index of its first record there
    steps: Array  # [E] number of its records so far; 0 if it has not begun
    present: Array  # [N] index of each environment's current episode
    begun: Array  # [] number of episodes so far


def empty(records: int, shortest: int, like: Arrival) -> Memory:
    """A memory without records.

    Args:
      records: C.
      shortest: fewest records of a whole episode.
      like: shapes and types of what arrives.
    """
    streams = like.obs.shape[0]
    episodes = streams * (1 + -(-records // shortest))

    def room(x: Array) -> Array:
        return jnp.zeros((streams, records, *x.shape[1:]), x.dtype)

    table = jnp.zeros(episodes, jnp.int32)
    none = jnp.zeros((), jnp.int32)
    held = (room(like.obs), room(like.action), room(like.reward), room(like.terminal))
    return Memory(*held, none, table, table, table, jnp.zeros(streams, jnp.int32), none)


def write(memory: Memory, now: Arrival) -> Memory:
    """The memory with one more record in every stream."""

    def put(array: Array, value: Array) -> Array:
        at = [jnp.zeros((), jnp.int32), memory.time] + [jnp.zeros((), jnp.int32)] * (value.ndim - 1)
        return jax.lax.dynamic_update_slice(array, value[:, None], at)

    number = memory.begun + jnp.cumsum(now.first) - 1
    present = jnp.where(now.first, number, memory.present).astype(jnp.int32)
    start = jnp.where(now.first, memory.time, memory.start[present])
    return Memory(
        obs=put(memory.obs, now.obs),
        action=put(memory.action, now.action),
        reward=put(memory.reward, now.reward),
        terminal=put(memory.terminal, now.terminal),
        time=memory.time + 1,
        stream=memory.stream.at[present].set(jnp.arange(len(present))),
        start=memory.start.at[present].set(start),
        steps=memory.steps.at[present].add(1),
        present=present,
        begun=memory.begun + now.first.sum(),
    )


def resized(memory: Memory, records: int, episodes: int) -> Memory:
    """The memory with room for another number of records and episodes.

    Raises:
      UserError: if there is no room for its contents.
    """
    held = int(memory.time), int(memory.begun)
    if records < held[0] or episodes < held[1]:
        raise UserError(
            f"memory: expected room for its {held[0]:,} records per stream and {held[1]:,} "
            f"episodes, received {records:,} and {episodes:,}; make a program of more steps"
        )
    return with_room(memory, records, episodes)


def with_room(memory: Memory, records: int, episodes: int) -> Memory:
    """As `resized`, also of shapes alone: whether the contents fit is not checked."""

    def fit(x: Array, size: int, axis: int) -> Array:
        held = x[:, :size] if axis else x[:size]
        more = [(0, size - held.shape[axis] if i == axis else 0) for i in range(x.ndim)]
        return jnp.pad(held, more) if size > held.shape[axis] else held

    streams = ("obs", "action", "reward", "terminal")
    held = {name: fit(getattr(memory, name), records, 1) for name in streams}
    table = {name: fit(getattr(memory, name), episodes, 0) for name in ("stream", "start", "steps")}
    return memory._replace(**held, **table)


def sample(memory: Memory, key: PRNGKeyArray, batch: int, length: int, stride: int) -> Records:
    """A batch of sequences, [B, lead+L, ...]: every record so far is drawn equally often.

    Args:
      batch: B.
      length: L, a multiple of the top's stride.
    """
    start_key, next_key = jax.random.split(key)
    steps = memory.steps
    table = jnp.cumsum(jnp.where(steps > 0, blocks(steps, stride), 0))
    drawn = jax.random.randint(start_key, (batch, 1), 0, table[-1])
    row = jnp.searchsorted(table, drawn, side="right")
    block = drawn[:, 0] - jnp.where(row > 0, table[row - 1], 0)[:, 0]
    more = length // stride - 1  # each episode fills a block or more
    following = jax.random.randint(next_key, (batch, more), 0, memory.begun)
    rows = jnp.concatenate([row, following], axis=1)

    def cut(rows: Array, block: Array) -> Records:
        return cut_sequence(memory, rows, block, stride, length)

    return jax.vmap(cut)(rows, block)


def cut_sequence(
    memory: Memory, rows: Int[Array, " M"], block: Int[Array, ""], stride: int, length: int
) -> Records:
    """One sequence [lead+L, ...], lead = K - 1, laid out by `replay/layout.py`.

    Args:
      rows: indices of the episodes that it is cut from, in order, as many as it may contain.
      block: the block of the first episode at which the sequence starts.
    """
    lead, steps = stride - 1, memory.steps
    filled = blocks(steps[rows], stride).at[0].add(-block) * stride
    ends = lead + jnp.cumsum(filled)
    slot = jnp.arange(lead + length)
    which = jnp.searchsorted(ends, slot, side="right")
    row = rows[which]
    frame = jnp.where(which == 0, block * stride, 0)
    placed = Placed((ends - filled)[which], frame, steps[row])
    time, mask = placed.time(slot), placed.real(slot)
    held = jnp.clip(time, 0, placed.steps - 1)  # an absorbing step shows the last observation
    source = memory.stream[row], memory.start[row] + held
    led: Bool[Array, " S"] = mask & (time > 0)  # records that an action led to
    obs = memory.obs[source].astype(jnp.float32)
    return Records(
        obs={OBSERVATION: jnp.where((time >= 0)[:, None], obs, 0.0)},
        action=jnp.where(led[:, None], memory.action[source], 0.0),
        action_mask=mask.astype(jnp.float32),
        reward=jnp.where(led, memory.reward[source], 0.0),
        terminal=led & memory.terminal[source],
        is_first=mask & (time == 0),
        mask=mask.astype(jnp.float32),
    )


def of_episodes(obs: Array, action: Array, reward: Array) -> Memory:
    """Memory of whole episodes of one length, [E, T+1, ...], ended by time limit: a stream each."""
    episodes, records = reward.shape
    numbers, zeros = jnp.arange(episodes), jnp.zeros(episodes, jnp.int32)
    return Memory(
        obs=obs,
        action=action,
        reward=reward,
        terminal=jnp.zeros((episodes, records), bool),
        time=jnp.array(records, jnp.int32),
        stream=numbers,
        start=zeros,
        steps=zeros + records,
        present=numbers,
        begun=jnp.array(episodes, jnp.int32),
    )


def rewards(memory: Memory, number: int) -> np.ndarray:
    """Rewards of the episode with index ``number``, for its records so far."""
    stream, start, steps = (int(x[number]) for x in (memory.stream, memory.start, memory.steps))
    return np.asarray(memory.reward[stream])[start : start + steps]
