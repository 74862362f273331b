"""Padding and other episodes change nothing: not a belief that counts, not a loss, not a gradient.

And the opposite, adr-2: the absorbing steps that close a terminal's window are learned from.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from worldmodel import ClockworkVAE, ObjectiveConfig, Records, model_loss
from worldmodel.learner import Params, join, split
from worldmodel.objective import tick_masks

LENGTH = 16
MASK = np.array([1] * 6 + [0] * 2 + [1] * 5 + [0] * 3)  # episodes from main times 0 and 8
SETTINGS = [
    {"window": "causal"},
    {"window": "lookahead"},
]


def padded(cases: Any, model: ClockworkVAE, terminal: bool) -> Records:
    """Two episodes in each of two rows, both with a padded tail; the second may end terminally."""
    records = cases.records(model, 2, LENGTH, 1, firsts=(0, 8))
    mask = jnp.concatenate([jnp.zeros(model.lead), jnp.asarray(MASK, jnp.float32)])
    mask, last = jnp.stack([mask] * 2), model.lead + 12
    return records._replace(
        mask=mask,
        action=records.action * mask[..., None],
        terminal=records.terminal.at[:, last].set(terminal),
    )


def garbage(records: Records, actions: bool) -> Records:
    """Other numbers wherever the mask is 0."""
    padding = records.mask == 0
    return records._replace(
        obs={"vector": jnp.where(padding[..., None], 1e3, records.obs["vector"])},
        reward=jnp.where(padding, 1e3, records.reward),
        terminal=records.terminal | padding,
        action=jnp.where(padding[..., None] & actions, 1e3, records.action),
    )


class Run:
    """Beliefs, weights of the ticks, loss and gradient of one model, compiled once."""

    def __init__(self, model: ClockworkVAE, kl: str):
        graph, self.params = split(model)
        self.noise = model.draw_noise(jax.random.key(0), 2, LENGTH)

        def loss(params: Params, records: Records) -> tuple[jax.Array, tuple]:
            model = join(graph, params)
            beliefs = model.observe(records, self.noise)
            value, metrics = model_loss(model, records, beliefs, ObjectiveConfig(kl=kl))
            return value, (beliefs, tick_masks(model, records), metrics)

        self._run = jax.jit(jax.value_and_grad(loss, has_aux=True))

    def __call__(self, records: Records) -> Any:
        (loss, (beliefs, masks, metrics)), grads = self._run(self.params, records)
        return beliefs, masks, (loss, metrics, grads)


def same(a: Any, b: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.fixture(scope="module", params=SETTINGS, ids=lambda x: "-".join(map(str, x.values())))
def model(request: pytest.FixtureRequest, cases: Any) -> ClockworkVAE:
    return cases.model(strides=(1, 2, 4), **request.param)


@pytest.fixture(scope="module")
def run(model: ClockworkVAE) -> Run:
    return Run(model, "balanced")


@pytest.mark.parametrize("terminal", [False, True])
def test_observations_and_rewards_in_padding_are_never_read(
    cases: Any, model: ClockworkVAE, run: Run, terminal: bool
) -> None:
    """Bit by bit: all beliefs, also those of padding, the loss, metrics and gradients."""
    records = padded(cases, model, terminal)
    same(run(records), run(garbage(records, actions=False)))


def test_actions_in_padding_do_not_count(cases: Any, model: ClockworkVAE, run: Run) -> None:
    """After a time limit nothing is known: the loss and every belief that counts are the same."""
    records = padded(cases, model, terminal=False)
    a, b = run(records), run(garbage(records, actions=True))
    same(a[1:], b[1:])
    for masks, x, y in zip(a[1], a[0], b[0], strict=True):
        real = np.asarray(masks) > 0
        same(jax.tree.map(lambda v, r=real: v[r], x), jax.tree.map(lambda v, r=real: v[r], y))


def test_the_absorbing_steps_of_a_terminal_count(cases: Any, model: ClockworkVAE, run: Run) -> None:
    """adr-2: a causal tick that closes a terminal's window has a KL; looking ahead none does."""
    counts = [
        [int(np.sum(mask)) for mask in run(padded(cases, model, end))[1]] for end in (False, True)
    ]
    steps = np.flatnonzero(MASK)
    top = steps if model.phased(2) else steps[steps % 4 == 0]
    limit = [2 * len(steps), 2 * len(steps[steps % 2 == 0]), 2 * len(top)]
    assert counts[0] == limit
    # The second episode's last record is at 12. Level 2 ticks there; the top's windows that end at
    # 13, 14 and 15 hold it too, but only chains of other phases tick then.
    more = [0, 0, 2 * 3 if model.phased(2) else 0]
    assert counts[1] == [a + b for a, b in zip(limit, more, strict=True)]


def test_another_row_changes_nothing(cases: Any, model: ClockworkVAE, run: Run) -> None:
    records = padded(cases, model, True)
    others = cases.records(model, 2, LENGTH, 5, firsts=(0, 4))
    mixed = jax.tree.map(lambda x, y: jnp.stack([x[0], y[1]]), records, others)
    a, b = run(records)[0], run(mixed)[0]
    same(jax.tree.map(lambda x: x[0], a), jax.tree.map(lambda x: x[0], b))
    assert not np.any(a[0].post["mean"][1] == b[0].post["mean"][1])


def test_a_padded_tail_is_as_no_tail(cases: Any, model: ClockworkVAE) -> None:
    """8 more steps of padding: the losses, which are per real frame, stay."""
    long = padded(cases, model, False)
    long = long._replace(mask=long.mask.at[:, model.lead + 8 :].set(0))
    short = jax.tree.map(lambda x: x[:, : model.lead + 8], long)
    noise = model.draw_noise(jax.random.key(1), 2, LENGTH)
    cut = tuple(x[:, : x.shape[1] // 2] for x in noise)

    @jax.jit
    def losses(records: Records, noise: tuple[jax.Array, ...]) -> list[jax.Array]:
        beliefs = model.observe(records, noise)
        kinds = ObjectiveConfig(kl="balanced"), ObjectiveConfig(kl="elbo")
        return [model_loss(model, records, beliefs, kind)[0] for kind in kinds]

    cases.close(losses(long, noise), losses(short, cut), 1e-5)
