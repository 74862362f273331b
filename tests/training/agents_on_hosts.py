"""Updates of an agent in one of several processes, which `test_hosts.py` starts: the losses of six,
as JSON, of the same batches whatever their number.

python tests/training/agents_on_hosts.py --hosts ADDRESS:PORT,INDEX,COUNT
"""

import json
import sys

import jax

from benchmarks.page_faults import random_records
from common.entry import enter
from configs import parse_train
from training import hosts
from training.build import Built
from training.devices import Devices

FLAGS = "--env pure:pendulum --size debug --strides 1,2 --length 16 --batch 6 "
FLAGS += "--agent.model.deter 8 --agent.model.hidden 8"


def main() -> None:
    hosts.join(sys.argv[1:])
    built = Built(parse_train(FLAGS.split(), False, "float32"))
    devices, rows = Devices(1, 6), hosts.share("batch", 6)
    built.sharding = devices.told(devices.every)
    state = devices.put(built.initial(), devices.every)
    batch = jax.tree.map(lambda x: x[hosts.index() * rows :][:rows], random_records(built))
    batch, losses = devices.put(batch, devices.by_row), []
    for number in range(6):
        state, metrics = built.update(state, batch, jax.random.key(number))
        losses.append(float(metrics["loss/total"]))
    print(json.dumps(losses))


if __name__ == "__main__":
    enter(main)
