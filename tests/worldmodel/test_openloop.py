"""Open-loop prediction sees its context and nothing later, and lays times one above the other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from worldmodel.networks import symexp
from worldmodel.openloop import predict


@pytest.mark.parametrize(
    "strides",
    [
        pytest.param((1,), marks=pytest.mark.slow),
        pytest.param((1, 4), marks=pytest.mark.slow),
        (1, 2, 4),
    ],
)
def test_context_is_filtered_and_the_future_imagined(cases, strides):
    model = cases.model(strides=strides)
    records = cases.records(model, 2, 16, seed=0, firsts=(0,))

    @jax.jit
    def run(r):
        key = jax.random.key(0)
        beliefs = model.observe(r, model.draw_noise(jax.random.split(key)[0], 2, 16))
        seen = symexp(model.decode(beliefs[0].state.features)["vector"])
        return predict(model, r, 8, jax.random.key(0)), seen[:, :9]

    loop, seen = run(records)
    last = 8 + (16 - 1 - 8) // model.stride * model.stride
    assert loop.context == 9 and loop.true["vector"].shape == (2, last + 1, 3)
    assert (loop.true["vector"] == records.after(model.lead).obs["vector"][:, : last + 1]).all()
    np.testing.assert_allclose(loop.predicted["vector"][:, :9], seen, rtol=1e-4, atol=1e-5)


def test_nothing_after_the_context_is_seen(cases):
    model = cases.model()
    records = cases.records(model, 1, 16, seed=1, firsts=(0,))
    run = jax.jit(lambda r: predict(model, r, 8, jax.random.key(3)).predicted["vector"])

    def changed(time):
        obs = records.obs["vector"].at[:, model.lead + time].add(1.0)
        return np.asarray(run(records._replace(obs={"vector": obs})) != run(records)).any(-1)[0]

    assert not changed(9).any() and not changed(12).any()
    assert changed(8)[8:].all() and not changed(8)[:8].any()


def test_imagined_top_states_may_come_from_elsewhere(cases):
    model = cases.model()
    records = cases.records(model, 1, 16, seed=1, firsts=(0,))
    run = jax.jit(lambda r, top: predict(model, r, 4, jax.random.key(0), top).predicted["vector"])
    zeros = model.top.initial((1, 1))
    a, b = run(records, zeros), run(records, jax.tree.map(jnp.ones_like, zeros))
    assert a.shape[1] == 4 + 4 + 1
    same = np.asarray(a == b).all((0, 2))
    assert same[:8].all() and not same[8]  # from the top's first imagined tick on


def test_a_context_that_leaves_no_window_is_refused(cases):
    model = cases.model()
    records = cases.records(model, 1, 16, seed=1, firsts=(0,))
    with pytest.raises(ValueError, match="shorten the context"):
        predict(model, records, 12, jax.random.key(0))
