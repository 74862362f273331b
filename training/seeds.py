"""Train several seeds as one compiled program; each seed is a run with its own directory.

For environments in pure JAX. Each run writes the same files as `loop.py` (settings, metrics,
checkpoints, the best of them, evaluation), but no videos during training and no replay: all
collected steps are part of the checkpoint, from which a run resumes as if it had never stopped.
Runs that would collect more than `replay.capacity_steps` are refused. Read next:
`agents/compiled.py`, the program; `curves.py`, the results of all seeds.
"""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jaxtyping import PRNGKeyArray

from agents.compiled import CompiledRun, Orders, Played, Report, RunState, Schedule
from agents.driver import Episode
from agents.memory import resized, with_room
from agents.statistics import summary
from common import RunFailed, UserError, dump_json
from common.signals import first_signal
from configs import TrainConfig
from envs.pure import make_pure_agent_env
from replay.atomic import write_text
from training.agent_source import episode_film, shown, write_episode
from training.build import EVAL_SEED, Built
from training.checkpoint import CHECKPOINTS, MEMORY, CheckpointStore, fill, newest_step
from training.commands import resume_command
from training.config_io import (
    check_same_config,
    holds_run,
    load_config,
    lock_run,
    settings_of,
    write_run_files,
)
from training.counters import Counters
from training.curves import write_curves
from training.device import memory_use
from training.devices import SEEDS, Devices
from training.due import crossed, updates_due
from training.logger import RunLogger
from training.loop import EVALUATION, RECENT, STUCK, best_score, finished, is_better, keep_best
from training.overview import lines
from training.progress import Progress
from training.spaces import ask, keep_spaces, read_spaces
from training.start import open_donor, start_from
from training.trackers import check_trackers, open_trackers
from worldmodel.learner import SKIPPED, Params, TrainState


def run_of(folder: Path, seed: int) -> Path:
    """Directory of one seed's run."""
    return folder / f"seed_{seed}"


def train_seeds(config: TrainConfig, seeds: Sequence[int]) -> list[Path]:
    """Train all seeds until the last step, a signal, or an error; in each case, save.

    Returns the directories of the runs that finished during this call. A seed that skips `STUCK`
    updates in a row ends alone, and the others continue from the step at which it ended.

    Args:
      config: shared settings; its directory contains those of the seeds, its own seed is unused.
    Raises:
      UserError: for an environment that is not in pure JAX, settings that compiled runs do not
        support, or a directory written with other settings.
      RunFailed: if a seed failed; raised after the others have finished.
    """
    check_seeds(config, seeds)
    runs = [replace(config, seed=s, logdir=run_of(config.logdir, s)) for s in seeds]
    for run in runs:
        check_same_config(run.logdir, run)
    pending = [run for run in runs if not finished(run)]
    if not pending:
        print(f"{config.logdir}: all seeds have already finished: nothing to do")
    ended: list[Path] = []
    failed: dict[int, int] = {}
    stopped = False
    built = Built(config, ask(config, check=True)) if pending else None
    if built is not None:
        print(lines(built.spaces.overview))
    groups = list(by_step(pending))
    while groups and not stopped:
        assert built is not None
        together = groups.pop(0)
        try:
            stopped = not Together(config, together, built).go_on()
        except Stuck as stuck:
            print(stuck)
            failed |= stuck.seeds
            if others := [run for run in together if run.seed not in failed]:
                groups.insert(0, others)
        else:
            ended += [] if stopped else [run.logdir for run in together]
    if not stopped:
        write_curves(config.logdir, [run.logdir for run in runs if run.seed not in failed], failed)
    if failed:
        told = ", ".join(f"seed {seed} at step {step:,}" for seed, step in failed.items())
        raise RunFailed(
            f"{config.logdir}: expected finite losses and gradients of every seed, received "
            f"{STUCK} updates in a row without them for {told}, whose states from before these "
            f"updates are kept; the others {'were stopped' if stopped else 'have finished'}; lower "
            "--optimizer.lr, or leave out these seeds"
        )
    return ended


def check_seeds(config: TrainConfig, seeds: Sequence[int]) -> None:
    """Refuse settings that compiled runs do not support, before anything is written; see
    `train_seeds`."""
    if len(set(seeds)) < len(seeds):
        raise UserError(f"seeds: expected each once, received {' '.join(map(str, seeds))}")
    if holds_run(config.logdir):
        raise UserError(
            f"{config.logdir}: expected a directory for the runs of seeds, received one of a "
            "single run; choose another --logdir"
        )
    check_trackers(config.track)
    Devices(config.devices, config.batch, len(seeds))
    make_pure_agent_env(config.env)
    if config.env.workers not in (None, "sync"):
        raise UserError(
            "env.workers: expected none or sync with --seeds, whose environments are part of one "
            f"compiled program, received {config.env.workers}; leave it out, or train seed by seed "
            "(--seed)"
        )
    if config.recordings_share:
        raise UserError("recordings_share: expected 0 with --seeds; train seed by seed (--seed)")
    if config.replay.capacity_steps < config.steps:
        raise UserError(
            f"replay.capacity_steps: expected at least {config.steps:,} steps with --seeds, whose "
            f"runs keep every step, received {config.replay.capacity_steps:,}"
        )


def by_step(runs: Sequence[TrainConfig]) -> Iterator[list[TrainConfig]]:
    """Group runs by their current step: one program trains those at the same step."""
    latest: dict[int | None, list[TrainConfig]] = {}
    for run in runs:
        latest.setdefault(newest_step(run.logdir), []).append(run)
    yield from latest.values()


def make_program(
    config: TrainConfig, built: Built, by_row: NamedSharding | None = None, made: int = 0
) -> CompiledRun:
    """The program of one seed's run.

    Args:
      by_row: sharding of its batches over several devices.
      made: steps already made; there is room for them even if they exceed ``config.steps``.
    """
    n = config.env.num_envs
    rounds = -(-max(config.steps, made) // n)
    schedule = Schedule(rounds, n, config.batch, config.sequence)
    env = make_pure_agent_env(config.env)
    return CompiledRun(built.agent, built.make_agent, env, built.optimizer, schedule, by_row)


def restore(program: CompiledRun, saves: CheckpointStore) -> tuple[RunState, dict[str, Any]] | None:
    """Restore a run and its meta from its newest checkpoint; None if there is none.

    Raises:
      UserError: if the checkpoint is that of an uncompiled run.
    """
    if saves.latest() is None:
        return None
    shapes: RunState = jax.eval_shape(program.initial, jax.random.key(0))
    found = saves.restore(shapes.train)
    if found.carry is None or MEMORY not in found.meta:
        raise UserError(
            f"{saves.directory}: expected checkpoints of a compiled run, received those of an "
            "uncompiled one; leave out --seeds, or choose another --logdir"
        )
    room = jax.eval_shape(lambda m: with_room(m, *found.meta[MEMORY]), shapes.memory)
    acting, memory, in_row = fill((shapes.acting, room, shapes.in_row), found.carry)
    full = shapes.memory.reward.shape[1], len(shapes.memory.steps)
    state = RunState(found.state, acting, resized(memory, *full), in_row % STUCK)  # 0 if it failed
    return state, found.meta


def load_program(run: Path) -> CompiledRun:
    """Build the program of one seed's run from its directory."""
    config = load_config(TrainConfig, run)
    return make_program(config, Built(config, read_spaces(run)), made=newest_step(run) or 0)


def load_state(run: Path) -> RunState:
    """Load the newest saved state of one seed's run.

    Raises:
      UserError: if there is none, or the run was not compiled.
    """
    saves = CheckpointStore(run / CHECKPOINTS, keep=1)
    found = restore(load_program(run), saves)
    saves.close()
    if found is None:
        raise UserError(f"{run}: expected the checkpoint of a run, received none; check the path")
    return found[0]


class Stuck(RunFailed):
    """`STUCK` updates in a row were skipped; ``seeds`` maps each affected seed to its step."""

    def __init__(self, seeds: dict[int, int]) -> None:
        self.seeds = seeds
        super().__init__(f"seeds {list(seeds)}: stopped after {STUCK} non-finite updates in a row")


@dataclass
class Seed:
    """The run of one seed."""

    config: TrainConfig
    saves: CheckpointStore
    logger: RunLogger
    counters: Counters
    best: float | None  # score of the state in `BEST`
    recent: deque[Episode] = field(default_factory=lambda: deque(maxlen=RECENT))


class Together:
    """Runs at the same step, trained as one program.

    Args:
      config: their shared settings.
    """

    def __init__(self, config: TrainConfig, runs: Sequence[TrainConfig], built: Built) -> None:
        self.config, self.runs, self.built = config, runs, built
        self.devices = Devices.most(config.devices, config.batch, len(runs))
        by_row = self.devices.told(self.devices.by_row)
        self.program = make_program(config, built, by_row, newest_step(runs[0].logdir) or 0)
        keys = jnp.stack([jax.random.key(run.seed) for run in runs])
        self.keys = self.devices.put(keys, self.devices.by_seed)
        self.portion = max(1, config.log_every // config.env.num_envs)  # rounds per call, at most
        self.stopped = False
        self.compiled: Any = None

    @property
    def steps(self) -> int:
        """Environment steps of each run so far."""
        return self.seeds[0].counters.steps

    def go_on(self) -> bool:
        """Train until the last step or a signal; return whether the runs finished."""
        with ExitStack() as stack:
            for run in self.runs:
                stack.enter_context(lock_run(run.logdir))
            self.open(stack)
            with (
                Progress(self.config.steps) as progress,
                first_signal("stopping after these steps, to save", self.stop),
            ):
                try:
                    while self.steps < self.config.steps and not self.stopped:
                        self.advance(progress)
                finally:
                    self.save()
            if self.stopped:
                again = resume_command(self.config.logdir)
                print(f"stopped at step {self.steps:,}; to resume:\n  {again}")
            else:
                self.finish()
        return not self.stopped

    def stop(self) -> None:
        """Stop after the current call of the program."""
        self.stopped = True

    def open(self, stack: ExitStack) -> None:
        """Begin the runs, or resume them from their newest checkpoints."""
        if jax.device_count() > 1:
            print(f"training {self.devices.line}")
        self.seeds, states = [], []
        for run in self.runs:
            resumed = holds_run(run.logdir)
            before = load_config(TrainConfig, run.logdir) if resumed else run
            write_run_files(run.logdir, run)
            keep_spaces(run.logdir, self.built.spaces)
            saves = CheckpointStore(run.logdir / CHECKPOINTS, run.keep)
            stack.callback(saves.close)
            state, meta = restore(self.program, saves) or (None, {})
            counters = Counters(**meta.get("counters", {}))
            if meta.get("pace", before.updates_per_step) != run.updates_per_step:
                counters.ahead = counters.updates - updates_due(run, counters.steps)
            (run.logdir / EVALUATION).unlink(missing_ok=True)
            resume_step, settings = counters.steps if resumed else None, settings_of(run)
            trackers = open_trackers(run.track, run.logdir, settings)
            logger = RunLogger(run.logdir, resume_step, None, settings, trackers)
            stack.callback(logger.close)
            self.seeds.append(Seed(run, saves, logger, counters, best_score(run.logdir)))
            states += [] if state is None else [state]
            print(f"{'resuming' if resumed else 'writing'} {run.logdir} at step {counters.steps:,}")
        begun = jax.tree.map(lambda *x: jnp.stack(x), *states) if states else self.first()
        self.state = self.devices.put(begun, self.devices.by_seed)

    def first(self) -> RunState:
        """The states before the first step, with the parameters of `init_from` if it is set."""
        state: RunState = jax.jit(partial(jax.lax.map, self.program.initial))(self.keys)
        if self.config.init_from is None:
            return state
        donor = open_donor(self.built, self.config.init_from)
        print(donor.line)
        begun = [start_from(one(state.train, i), donor) for i in range(len(self.runs))]
        return state._replace(train=jax.tree.map(lambda *x: jnp.stack(x), *begun))

    def orders(self) -> Orders:
        """Orders for the next rounds, up to the one after which something is due."""
        config, counters, n = self.config, self.seeds[0].counters, self.config.env.num_envs
        every = [x for x in (config.log_every, config.eval_every, config.save_every) if x]
        until = min([config.steps, *((counters.steps // x + 1) * x for x in every)])
        rounds = min(self.portion, -(-(until - counters.steps) // n))
        updates, done = np.zeros(self.portion, np.int32), counters.updates
        for i in range(rounds):
            target = updates_due(config, counters.steps + (i + 1) * n) + counters.ahead
            updates[i] = max(0, target - done)
            done += int(updates[i])
        begun = counters.steps // n, counters.updates
        return Orders(np.int32(rounds), updates, *map(np.int32, begun))

    def compile(self) -> Any:
        """Compile the program of all seeds."""
        axis = SEEDS if self.devices.count > 1 else None
        together = jax.vmap(self.program.advance, in_axes=(0, 0, None), spmd_axis_name=axis)
        where = self.devices.told(self.devices.by_seed)
        program = jax.jit(together, donate_argnums=0, out_shardings=where)
        return program.lower(self.state, self.keys, self.orders()).compile()

    def advance(self, progress: Progress) -> None:
        """Run the program up to the next round after which something is due, then do that."""
        orders, before = self.orders(), self.steps
        if self.compiled is None:
            with progress.doing("compiling the program of all seeds"):
                self.compiled = self.compile()
        began = time.monotonic()
        self.state, found = self.compiled(self.state, self.keys, orders)
        report: Report = jax.device_get(found)
        seconds = time.monotonic() - began
        for i, seed in enumerate(self.seeds):
            self.count(seed, orders, one(report, i))
            self.log(seed, orders, one(report, i), seconds)
        counters, recent = self.seeds[0].counters, self.seeds[0].recent
        progress.update(self.steps, counters.updates, recent[-1].score if recent else None)
        for seed in self.seeds:
            seed.saves.check()
        due = partial(crossed, before, self.steps)
        if due(self.config.eval_every) and counters.updates and self.steps < self.config.steps:
            self.evaluate()
        if due(self.config.save_every):
            self.save_soon()
        self.check_learning(report)  # last: the other seeds go on from here, with all of it done

    def count(self, seed: Seed, orders: Orders, report: Report) -> None:
        """Count the steps, updates and episodes of one run, and log its episodes."""
        n, counters = self.config.env.num_envs, seed.counters
        for number, i in zip(*np.nonzero(report.ended[: orders.rounds]), strict=True):
            score, length = float(report.score[number, i]), int(report.length[number, i])
            seed.recent.append(Episode(score, length, None))
            counters.episodes += 1
            values = {"episode/return": score, "episode/length": length}
            seed.logger.scalars(counters.steps + (int(number) + 1) * n, values)
        counters.steps += int(orders.rounds) * n
        counters.updates += int(orders.updates.sum())
        counters.skipped += int(report.skipped)

    def log(self, seed: Seed, orders: Orders, report: Report, seconds: float) -> None:
        """Log a line of metrics. Speeds are those of one seed, not of the whole program."""
        steps = int(orders.rounds) * self.config.env.num_envs
        rate = 1 / max(seconds, 1e-9)
        values = {
            "speed/env_steps_per_s": steps * rate,
            "speed/updates_per_s": float(orders.updates.sum()) * rate,
            "speed/seeds": len(self.seeds),
            "replay/steps": seed.counters.steps,
        } | memory_use()
        if orders.updates.sum() > report.skipped:
            values |= {name: float(x) for name, x in report.metrics.items()}
        if orders.updates.any():
            values[SKIPPED] = seed.counters.skipped
        seed.logger.scalars(seed.counters.steps, values)

    def check_learning(self, report: Report) -> None:
        """Raise `Stuck` if `STUCK` updates in a row were skipped for some seed."""
        pairs = zip(self.seeds, report.in_row, strict=True)
        if stuck := {s.config.seed: self.steps for s, n in pairs if n >= STUCK}:
            raise Stuck(stuck)

    @cached_property
    def _evaluate(self) -> Any:
        """The compiled evaluation of all seeds: greedy and sampled episodes with the averaged
        parameters, and greedy ones with the newest."""
        sizes = self.config.eval_episodes, self.config.eval_steps

        def plays(train: TrainState, key: PRNGKeyArray) -> tuple[Played, Played, Played]:
            def play(params: Params, greedy: bool) -> Played:
                return self.program.evaluate(params, key, *sizes, greedy=greedy)

            average = train.average
            return play(average, True), play(average, False), play(train.params, True)

        return jax.jit(jax.vmap(plays, in_axes=(0, None)))

    def evaluate(self) -> list[dict[str, float]]:
        """Evaluate the averaged parameters of every seed, greedy and sampled, and the newest ones,
        greedy, in the same worlds every time; log the results and keep the best states."""
        if not self.config.eval_episodes:
            return [{} for _ in self.seeds]
        greedy, sampled, newest = jax.device_get(
            self._evaluate(self.state.train, jax.random.key(EVAL_SEED))
        )
        found = []
        for i, seed in enumerate(self.seeds):
            values = summary(episodes(one(greedy, i)))
            values |= {f"sampled_{k}": x for k, x in summary(episodes(one(sampled, i))).items()}
            values["newest_return"] = summary(episodes(one(newest, i)))["return"]
            seed.logger.scalars(self.steps, {f"eval/{name}": x for name, x in values.items()})
            if is_better(values["return"], seed.best):
                train = one(self.state.train, i)
                keep_best(seed.config.logdir, train, seed.counters, values["return"])
                seed.best = values["return"]
            found.append(values)
        return found

    def save(self) -> None:
        """Save as `save_soon` does, and wait until the checkpoints are on disk."""
        self.save_soon()
        for seed in self.seeds:
            seed.saves.wait()

    def save_soon(self) -> None:
        """Checkpoint everything that each run needs to resume, written while the runs continue."""
        for i, seed in enumerate(self.seeds):
            state: RunState = one(self.state, i)
            room = int(state.memory.time), int(state.memory.begun)
            carry = state.acting, resized(state.memory, *room), state.in_row
            meta = {
                "counters": asdict(seed.counters),
                "sampler": None,
                MEMORY: list(room),
                "pace": seed.config.updates_per_step,
            }
            seed.saves.save_soon(self.steps, state.train, meta, carry)

    def finish(self) -> None:
        """Evaluate every finished run, and write a film of one episode."""
        with first_signal("stopping; the runs are saved: run the same command to evaluate them"):
            for i, (seed, values) in enumerate(zip(self.seeds, self.evaluate(), strict=True)):
                logdir = seed.config.logdir
                if values:
                    print(f"seed {seed.config.seed}: greedy   {shown(values)}")
                    params = one(jax.device_get(self.state.train.average), i)
                    played = self.built.evaluate(params, 1, greedy=True, watch=True)
                    film = episode_film(played, self.built.codec)
                    write_episode(film, logdir / "episode.mp4")
                write_text(logdir / EVALUATION, dump_json(values, indent=1) + "\n")


def one(states: Any, number: int) -> Any:
    """Select one seed from the states of all."""
    return jax.tree.map(lambda x: x[number], states)


def episodes(played: Played) -> list[Episode]:
    """Played episodes in the form that `summary` takes."""
    rows = zip(*(np.asarray(x).tolist() for x in played), strict=True)
    return [
        Episode(score, length, None, discounted, foreseen, cut)
        for score, length, discounted, foreseen, cut in rows
    ]
