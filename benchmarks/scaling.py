"""How far environments and devices scale, by a closed form and by a simulation of rounds.

    python -m benchmarks.scaling

A round of the training loop with overlap: the learner sends actions to every worker, each worker
steps its environments one after another, and answers return through the learner's single link while
the updates that are due run; then answers are taken one by one, and the policy acts. Devices sum
gradients by a ring (Patarasuk and Yuan 2009). Nothing here is a run on such a machine: times of
this project are measured elsewhere and cited; those of networks are assumed and marked as such.
"""

import argparse
from dataclasses import dataclass, replace

import numpy as np

from common.entry import enter

GIGABIT = 1e9 / 8
FLOAT = 4
"""Bytes of a parameter's gradient."""


@dataclass(frozen=True)
class Fleet:
    """Environments on other machines."""

    workers: int
    group: int = 1
    """Environments per worker, stepped one after another."""
    step: float = 0.020
    """Mean seconds per step."""
    spread: float = 0.2
    """Share of a step's time that is drawn from an exponential distribution; the rest is fixed."""
    answer: float = 12_400.0
    """Bytes of an environment's record: an image of 64 x 64 x 3, and little else."""

    @property
    def size(self) -> int:
        """Number of environments."""
        return self.workers * self.group


@dataclass(frozen=True)
class Learner:
    """The process that acts and learns."""

    update: float = 0.478
    """Seconds of an update on one device."""
    per_step: float = 0.25
    """Updates per environment step."""
    devices: int = 1
    parameters: float = 2e6
    send: float = 0.00034
    take: float = 0.00064
    """Seconds of the learner per worker: to send it actions, and to take its answer into replay.
    Their sum is the processor time measured with 16 workers (benchmarks/results/actors.md); its
    split is assumed."""
    act: float = 0.0015
    act_each: float = 0.00006
    """Seconds of the policy and the replay per round, and per environment in it; assumed."""
    uneven: float = 0.1
    """Share of a device's update that is drawn from an exponential distribution; assumed."""
    link: float = 10 * GIGABIT
    """Bytes per second into the learner, and between devices; assumed."""
    latency: float = 50e-6
    """Seconds per message; assumed."""

    def all_reduce(self) -> float:
        """Seconds in which n devices sum their gradients in a ring: 2(n - 1) messages of
        parameters / n, so that each device sends and receives 2(n - 1)/n of all bytes."""
        turns = 2 * (self.devices - 1)
        return turns * (FLOAT * self.parameters / self.devices / self.link + self.latency)

    def updating(self) -> float:
        """Seconds of an update whose batch is divided among the devices."""
        return self.update / self.devices + self.all_reduce()


def expected_round(fleet: Fleet, learner: Learner) -> float:
    """Seconds of a round in which every step takes its mean time: the longer of the updates that
    are due and the slowest answer, plus what the learner does alone."""
    sending = fleet.workers * learner.send
    arriving = fleet.size * fleet.answer / learner.link
    stepping = learner.latency * 2 + fleet.group * fleet.step + arriving
    updating = fleet.size * learner.per_step * learner.updating()
    taking = fleet.workers * learner.take
    acting = learner.act + fleet.size * learner.act_each
    return sending + max(updating, stepping) + taking + acting


def simulated_rounds(
    fleet: Fleet, learner: Learner, rounds: int, rng: np.random.Generator
) -> np.ndarray:
    """Seconds of each of ``rounds`` simulated rounds."""
    drawn = rng.exponential(fleet.step, (rounds, fleet.workers, fleet.group))
    steps = ((1 - fleet.spread) * fleet.step + fleet.spread * drawn).sum(-1)
    asked = learner.send * np.arange(1, fleet.workers + 1)
    updated = asked[-1] + fleet.size * learner.per_step * learner.updating()
    ready = asked + learner.latency + steps
    order = np.argsort(ready, axis=1)
    through = queue(np.take_along_axis(ready, order, 1), fleet.group * fleet.answer / learner.link)
    arrived = np.empty_like(through)
    np.put_along_axis(arrived, order, through + learner.latency, 1)
    taken = queue(np.maximum(arrived, updated), learner.take)[:, -1]
    return taken + learner.act + fleet.size * learner.act_each


def queue(ready: np.ndarray, service: float) -> np.ndarray:
    """When each is served, one at a time in order [..., N]: t_k = max(t_{k-1}, ready_k) + s."""
    place = service * np.arange(ready.shape[-1])
    served: np.ndarray = np.maximum.accumulate(ready - place, axis=-1) + place + service
    return served


def simulated_updates(learner: Learner, rounds: int, rng: np.random.Generator) -> np.ndarray:
    """Seconds of each of ``rounds`` simulated updates: every device computes its share, and sends a
    part of its gradient to the next device once it is ready and the previous device has sent."""
    n = learner.devices
    drawn = rng.exponential(1.0, (rounds, n))
    at = learner.update / n * (1 - learner.uneven + learner.uneven * drawn)
    message = FLOAT * learner.parameters / n / learner.link + learner.latency
    for _ in range(2 * (n - 1)):
        at = np.maximum(at, np.roll(at, 1, axis=1)) + message
    slowest: np.ndarray = at.max(axis=1)
    return slowest


def bound(fleet: Fleet, learner: Learner) -> str:
    """The part on which most of a round is spent."""
    shares = {
        "the steps": fleet.group * fleet.step,
        "the updates": fleet.size * learner.per_step * learner.updating(),
        "asking and taking": fleet.workers * (learner.send + learner.take),
        "acting": learner.act + fleet.size * learner.act_each,
        "the link": fleet.size * fleet.answer / learner.link,
    }
    return max(shares, key=lambda name: shares[name])


def environments(learner: Learner, rounds: int, rng: np.random.Generator) -> list[str]:
    """Rows: environments, workers, steps per second by the closed form and the simulation."""
    rows = []
    for workers, group in FLEETS:
        fleet = Fleet(workers, group)
        closed = fleet.size / expected_round(fleet, learner)
        found = fleet.size / simulated_rounds(fleet, learner, rounds, rng).mean()
        megabits = found * fleet.answer * 8 / 1e6
        rows.append(
            f"| {fleet.size:,} | {workers:,} x {group} | {closed:,.0f} | {found:,.0f} | "
            f"{megabits:,.0f} | {bound(fleet, learner)} |"
        )
    return rows


def devices(learner: Learner, rounds: int, rng: np.random.Generator) -> list[str]:
    """Rows: devices, time of an update by the closed form and the simulation, MB each sends."""
    rows = []
    for count in DEVICES:
        one = replace(learner, devices=count)
        found = simulated_updates(one, rounds, rng).mean()
        crosses = 2 * (count - 1) / count * FLOAT * one.parameters / 1e6
        divided = one.update / (count * found)
        whole = one.update / (one.update + one.all_reduce())
        rows.append(
            f"| {count} | {1e3 * one.update / count:.2f} | {1e3 * one.all_reduce():.2f} | "
            f"{1e3 * found:.2f} | {crosses:.0f} | {divided:.2f} | {whole:.2f} |"
        )
    return rows


FLEETS = ((1, 1), (8, 1), (32, 1), (128, 1), (512, 1), (128, 8), (256, 16), (512, 16))
DEVICES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
LEARNERS = {
    "An update of 263 ms, for every fourth step": Learner(update=0.263, per_step=0.25),
    "An update of 20 ms (assumed), for every fourth step": Learner(update=0.02, per_step=0.25),
    "An update of 20 ms (assumed), for every 256th step": Learner(update=0.02, per_step=1 / 256),
}
"""The first update is Navigate's at size s on two cores (benchmarks/results/page_faults.md)."""
MODELS = {
    "12.5 million parameters, 400 ms": Learner(parameters=12.5e6, update=0.4),
    "34 million parameters, 400 ms": Learner(parameters=34e6, update=0.4),
    "34 million parameters, 400 ms, links of 200 Gbit/s and 10 us": Learner(
        parameters=34e6, update=0.4, link=200 * GIGABIT, latency=10e-6
    ),
}
"""CW-VAE of Saxena et al. (2021) for Moving MNIST and for MineRL; update times are assumed."""


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=200)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    print("# Scaling, calculated and simulated\n\n`python -m benchmarks.scaling`\n")
    print("Nothing here is a run. Environments of 20 ms a step, images of 64 x 64.")
    for title, learner in LEARNERS.items():
        print(f"\n{title}:\n\n| environments | workers x each | steps/s | simulated |", end="")
        print(" Mbit/s | most of a round |\n|---|---|---|---|---|---|")
        print("\n".join(environments(learner, args.rounds, rng)))
    for title, learner in MODELS.items():
        print(f"\n{title}:\n\n| devices | share of the update, ms | all-reduce, ms |", end="")
        print(
            " simulated whole, ms | MB each sends | efficiency | of whole batches |\n"
            + "|---" * 7
            + "|"
        )
        print("\n".join(devices(learner, args.rounds, rng)))


if __name__ == "__main__":
    enter(main)
