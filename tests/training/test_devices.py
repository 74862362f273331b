"""Updates on several devices are those on one: on simulated ones, in a process of their own."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from processes import ROOT

from common import UserError
from training.devices import Devices, of_one
from training.metrics import METRICS, read_metrics

FOUR = os.environ | {
    "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=4"
}
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
    learner.sharding = devices.every if count > 1 else None
    state = devices.copy(learner.initial())
    for number in range(20):
        key = jax.random.key(number)
        batch = devices.share(jax.random.normal(jax.random.fold_in(key, 1), (8, 3)))
        assert len(batch.sharding.device_set) == count
        state, metrics = learner.update(state, batch, key)
    leaves = jax.tree.leaves(state)
    assert all(x.sharding.is_fully_replicated for x in leaves)
    assert {len(x.sharding.device_set) for x in leaves} == {count}
    assert all(len(x.sharding.device_set) == 1 for x in jax.tree.leaves(of_one(state)))
    losses.append([float(metrics["grad_norm"]), *map(float, leaves[0].ravel())])
assert learner.update._cache_size() == 1
print(json.dumps(losses))
"""


def in_four(*command: object) -> str:
    line = [sys.executable, *map(str, command)]
    done = subprocess.run(line, cwd=ROOT, env=FOUR, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_an_update_on_four_is_that_on_one_and_is_compiled_once():
    one, four = json.loads(in_four("-c", UPDATES))
    np.testing.assert_allclose(one, four, rtol=1e-4)


AGENT = "train_agent.py --env pure:pendulum --size debug --strides 1,4 --length 32 --prefill 100 "
AGENT += "--steps 200 --updates-per-step 0.2 --env.num-envs 2 --batch 4 --eval-episodes 2 "
AGENT += "--log-every 10 --video-every 0 --report False --env.time-limit 20"
VIDEO = (
    "pretrain_video.py --data moving_digits --size debug --strides 1,2,4 --context 8 --length 12 "
)
VIDEO += "--batch 4 --steps 20 --log-every 1 --data.episodes 4 --data.length 30 --eval-every 0 "
VIDEO += "--data.test-episodes 2 --data.test-length 30 --data.image-size 32"


@pytest.mark.slow
@pytest.mark.parametrize("flags", [AGENT, VIDEO])
def test_a_run_on_four_learns_as_on_one_and_its_checkpoint_goes_on_there(flags, tmp_path):
    """To 1e-4 over 20 updates; then ten more on one device, from what four have saved."""
    data = ["--data.folder", tmp_path / "data"] if flags == VIDEO else []
    losses = []
    for count in (1, 4):
        run = tmp_path / str(count)
        in_four(*flags.split(), *data, "--devices", count, "--logdir", run)
        rows = [row for row in read_metrics(run / METRICS) if "grad_norm" in row]
        losses.append([row["loss/total"] for row in rows])
    assert len(losses[0]) >= 10
    np.testing.assert_allclose(*losses, rtol=1e-4)
    more = ["--steps", "30" if flags == VIDEO else "250"]
    in_four(*flags.split(), *data, *more, "--logdir", run)


@pytest.mark.slow
def test_seeds_divided_among_devices_are_those_on_one(tmp_path):
    flags = AGENT.replace("--video-every 0 ", "").split()
    losses = []
    for count in (1, 4):
        where = ["--logdir", tmp_path / str(count), "--devices", count]
        in_four(*flags, *where, "--seeds", 0, 1, 2, 3)
        runs = [tmp_path / str(count) / f"seed_{seed}" / METRICS for seed in range(4)]
        losses.append([[row.get("loss/total", 0) for row in read_metrics(run)] for run in runs])
    np.testing.assert_allclose(*losses, rtol=1e-4)


def test_one_device_places_nothing():
    devices, tree = Devices(1, 3), {"x": np.ones(3)}
    assert devices.copy(tree) is tree and devices.share(tree) is tree
    assert of_one(tree)["x"] is tree["x"]


def test_what_cannot_be_shared_is_refused():
    with pytest.raises(UserError, match=r"devices: expected at most \d+, of kind cpu, received 64"):
        Devices(64, 64)
    with pytest.raises(UserError, match="expected a divisor of batch, 6, received 4"):
        Devices(4, 6)
    with pytest.raises(UserError, match=r"expected a divisor of seeds, 3, .* --devices or --seeds"):
        Devices(2, 3, "seeds")
