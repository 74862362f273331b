"""Updates on several devices are those on one: on simulated ones, in a process of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from processes import ROOT

from common import UserError
from training.devices import Devices, of_one
from training.metrics import METRICS, read_metrics

FOUR = os.environ | {
    "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=4",
    "PYTHONPATH": str(ROOT),
}
COMPILED = "train_agent.py --env pure:pendulum --size debug --strides 1 --length 8 --batch 4 "
COMPILED += "--prefill 20 --updates-per-step 0.5 --env.num-envs 2 --report False --log-every 4 "
COMPILED += "--eval-episodes 0 --env.time-limit 12 --agent.model.deter 8 --agent.model.hidden 8 "
UPDATES = """
import json
import jax, jax.numpy as jnp
from flax import nnx
from training.devices import Devices, of_one
from worldmodel import OptimizerConfig, make_optimizer
from worldmodel.learner import Learner, join

def make_loss(graph):
    def loss(params, aux, batch, key):
        error = join(graph, params)(batch + 0.1 * jax.random.normal(key, batch.shape)) - batch
        return jnp.mean(error**2), (aux, {})
    return loss

losses = []
for count in (1, 4):
    make = lambda: nnx.Linear(3, 3, rngs=nnx.Rngs(0))
    optimizer = make_optimizer(OptimizerConfig(warmup=0))
    learner = Learner(make, make_loss, lambda *_: jnp.zeros(()), optimizer, keep_average=True)
    devices = Devices(count, 8)
    learner.sharding = devices.told(devices.every)
    state = devices.put(learner.initial(), devices.every)
    for number in range(20):
        key = jax.random.key(number)
        batch = jax.random.normal(jax.random.fold_in(key, 1), (8, 3))
        batch = devices.put(batch, devices.by_row)
        assert len(batch.sharding.device_set) == count
        state, metrics = learner.update(state, batch, key)
    leaves = jax.tree.leaves(state)
    assert all(x.sharding.is_fully_replicated for x in leaves)
    assert {len(x.sharding.device_set) for x in leaves} == {count}
    assert all(len(x.sharding.device_set) == 1 for x in jax.tree.leaves(of_one(state)))
    losses.append([float(metrics["grad_norm"]), *map(float, leaves[0].ravel())])
assert learner.update._cache_size() == 1
lines = [Devices(4, 4, seeds).line for seeds in (1, 2, 3, 4)] + [Devices.most(4, 6, 3).line]
print(json.dumps([*losses, lines]))
"""


def in_four(*command: object) -> str:
    line = [sys.executable, *map(str, command)]
    done = subprocess.run(line, cwd=ROOT, env=FOUR, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_an_update_on_four_is_that_on_one_and_is_compiled_once() -> None:
    one, four, lines = json.loads(in_four("-c", UPDATES))
    np.testing.assert_allclose(one, four, rtol=1e-4)
    assert lines == [
        "on 4 of 4 devices, each with 1 of each batch's 4 rows",
        "on 4 of 4 devices, each with 1 of 2 seeds and 2 of each batch's 4 rows",
        "on 4 of 4 devices, each with 1 of each batch's 4 rows",
        "on 4 of 4 devices, each with 1 of 4 seeds",
        "on 2 of 4 devices, each with 3 of each batch's 6 rows",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["video", "agent"])
def test_a_run_goes_between_one_device_and_four(kind: str, tmp_path: Path) -> None:
    """20 updates on one and on four, then ten more of each on the other number."""
    out = in_four(Path(__file__).with_name("on_devices.py"), kind, tmp_path)
    one, four = json.loads(out.splitlines()[-1])
    assert len(one) == 30
    np.testing.assert_allclose(one, four, rtol=1e-4)
    for count in (1, 4):
        assert f"training on {count} of 4 devices" in out


@pytest.mark.slow
def test_compiled_seeds_and_their_batches_are_divided_among_devices(tmp_path: Path) -> None:
    """Two seeds by two shares of their batches, gone on with on one device; and the reverse."""
    losses = []
    for counts in ((1, 4), (4, 1)):
        folder = tmp_path / str(counts[0])
        for count, steps in zip(counts, (60, 80), strict=True):
            where = ["--logdir", folder, "--devices", count, "--steps", steps]
            out = in_four(*COMPILED.split(), *where, "--seeds", 0, 1)
            assert f"training on {count} of 4 devices" in out
        rows = [read_metrics(folder / f"seed_{seed}" / METRICS) for seed in (0, 1)]
        losses.append([[row["loss/total"] for row in run if "loss/total" in row] for run in rows])
    assert len(losses[0][0]) >= 10
    np.testing.assert_allclose(*losses, rtol=1e-4)


def test_one_device_places_nothing() -> None:
    devices, tree = Devices(1, 3), {"x": np.ones(3)}
    assert devices.put(tree, devices.every) is tree and devices.told(devices.every) is None
    assert of_one(tree)["x"] is tree["x"]


def test_what_cannot_be_shared_is_refused() -> None:
    many = jax.device_count() + 1
    with pytest.raises(
        UserError, match=rf"devices: expected at most {many - 1}, .* {many}; choose"
    ):
        Devices(many, many)
    with pytest.raises(UserError, match="expected a divisor of batch, 6, received 4; choose other"):
        Devices(4, 6)
    with pytest.raises(UserError, match="received 4 of 8 for each seed; .* --batch or --seeds"):
        Devices(8, 6, 2)
