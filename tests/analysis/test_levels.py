"""What a level takes from a sequence: KL summed over its real ticks, by hand and by a slow twin."""

import jax
import jax.numpy as jnp
import numpy as np

from analysis.levels import sequence_kl
from worldmodel.level import Belief, State

VIDEO = {"strides": (1, 2, 4), "window": "lookahead"}


def test_kl_per_sequence_sums_active_ticks_alone(cases):
    """Slow twin; the last two frames are padding, so 6, 3 and 2 ticks count."""
    model = cases.model(actions=0, **VIDEO)
    records = cases.records(model, 2, 8, seed=0, firsts=(0,))
    records = records._replace(mask=records.mask.at[:, 6:].set(0))
    noise = model.draw_noise(jax.random.key(0), 2, 8)
    beliefs = jax.jit(model.observe)(records, noise)
    totals = np.asarray(sequence_kl(model, records, beliefs))
    assert totals.shape == (2, 3)
    for row in range(2):
        for level, ticks in enumerate((6, 3, 2)):
            post, prior = (
                {k: np.asarray(v[row], float) for k, v in stats.items()}
                for stats in (beliefs[level].post, beliefs[level].prior)
            )
            total = 0.0
            for tick in range(ticks):
                q, p = post["std"][tick], prior["std"][tick]
                gap = post["mean"][tick] - prior["mean"][tick]
                total += (np.log(p / q) + (q**2 + gap**2) / (2 * p**2) - 0.5).sum()
            np.testing.assert_allclose(totals[row, level], total, rtol=1e-4)


def test_kl_of_known_gaussians(cases):
    """KL[N(1, 1) ‖ N(0, 1)] = 1/2 per dimension: 3 dimensions, 8 / K_l ticks."""
    model = cases.model(actions=0, **VIDEO)
    records = cases.records(model, 1, 8, seed=0, firsts=(0,))

    def belief(ticks):
        one = jnp.ones((1, ticks, 3))
        return Belief(State(one, one), {"mean": 0 * one, "std": one}, {"mean": one, "std": one})

    beliefs = (belief(8), belief(4), belief(2))
    np.testing.assert_allclose(sequence_kl(model, records, beliefs), [[12, 6, 3]], rtol=1e-6)
