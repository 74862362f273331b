"""The training loop of agents and of video models: act, store, learn, report, save.

A `Source` holds all that differs between the two: `agent_source.py` acts in environments and
samples their replay, `video_source.py` samples videos. The update is opaque here: a function of
(state, batch, key). Read next: `logger.py` and `checkpoint.py`, what a run leaves on disk.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
from rich.console import Console

from agents.driver import Episode
from common import EnvironmentFailed, RunFailed, UserError, dump_json
from common.signals import Stopped, first_signal
from configs.tracking import Tracking
from replay.atomic import write_arrays, write_text
from training import hosts
from training.checkpoint import BEST, CHECKPOINTS, CheckpointStore, newest_step
from training.commands import resume_command
from training.config_io import (
    check_same_config,
    holds_run,
    load_config,
    lock_run,
    placeless,
    settings_of,
    write_run_files,
)
from training.counters import ACTING, ASSESSING, LEARNING, Counters, Means
from training.device import memory_use
from training.devices import Devices, of_one
from training.due import crossed
from training.logger import RunLogger
from training.progress import Progress, Sample
from training.spaces import Spaces, keep_spaces
from training.trackers import check_trackers, open_trackers
from training.video import Film
from worldmodel.learner import SKIPPED, Learner, Params, TrainState

LEARN, EVALUATE, SHOW, ACT = range(4)  # what a PRNG key is used for
RECENT = 20  # episodes that the displayed success rate averages over
LOGGED = 200  # frames logged of an evaluation's film, at most
FPS = 10
EVALUATION = "evaluation.json"
"""File in the run's directory that holds the results of the final evaluation."""
STUCK = 100
"""Consecutive skipped updates at which a run ends. A skipped update leaves the state unchanged, so
a cause that affects every batch does not go away by itself; if one batch in ten is good, 100 bad
ones in a row have probability 3 in 10⁵."""
ASK_EVERY = 10
"""Rounds between exchanges of stop signals among processes, which wait for each other."""
NOTHING_LEARNED = (
    "NO UPDATE WAS MADE: expected, before --steps, a finished episode or --replay.chunk-steps "
    "steps of one environment, and --prefill steps over all; raise --steps, or lower one of these"
)
"""Printed if updates were requested but the environments never provided records to learn from."""
BAD_BATCH = "bad_batch.npz"
"""File in the run's directory that holds the batch at which the run failed."""


class Settings(Protocol):
    """The settings common to all runs."""

    logdir: Path
    seed: int
    steps: int
    log_every: int
    save_every: int
    eval_every: int
    video_every: int
    keep: int
    track: tuple[Tracking, ...]


class Evaluation(NamedTuple):
    """The result of evaluating a state."""

    values: dict[str, float]
    line: str  # the most important values, to be printed
    film: Film | None  # what was seen during the evaluation
    score: float | None = None  # used to compare states; higher is better


class Source(Protocol):
    """The data that a run learns from, and the evaluation of what it has learned.

    Before `start`, nothing is written and no environment is stepped.
    """

    acts: bool  # whether there are environments; if so, steps are theirs, otherwise updates
    shared: bool  # whether all processes draw the same batches from the same data
    stride: int  # steps per round of the loop, summed over all processes
    spaces: Spaces

    @property
    def learner(self) -> Learner[Any]:
        """The model being trained and its update."""

    def first_state(self) -> TrainState:
        """The state before the first update."""

    def start(
        self, steps: int, sampler: Mapping[str, Any] | None, carry: Mapping[str, Any] | None
    ) -> None:
        """Open the data or environments after ``steps`` steps of the run. ``sampler`` and ``carry``
        are the values of `sampler_state` and `carry` at that step, the latter as leaves by path."""

    def carry(self) -> Any:
        """State needed to resume besides that of the draws: a pytree of arrays and PRNG keys, or
        None. It is part of every checkpoint."""

    def act(self, params: Params, key: Any) -> list[Episode]:
        """Step every environment once, record it in replay, and return the finished episodes."""

    def arrive(self) -> list[Episode]:
        """Wait for the steps started by `act`, and return the episodes that they finished."""

    def owed(self, steps: int) -> int:
        """Number of updates due after ``steps`` steps."""

    def sample(self) -> Any:
        """A batch for the update."""

    def sampler_state(self) -> dict[str, Any]:
        """State of the random draws, as JSON-compatible values."""

    def stored(self, updates: int) -> dict[str, float]:
        """Metrics of the data after ``updates`` updates."""

    def show(self, state: TrainState, key: Any) -> np.ndarray | None:
        """Open-loop prediction, true above imagined: uint8 [T, H, W, 3]; None if not available."""

    def evaluate(self, state: TrainState, key: Any) -> Evaluation:
        """Evaluate a state on data or worlds that it was not trained on."""

    def write_film(self, state: TrainState, film: Film | None, key: Any) -> None:
        """Write a video of the result into the run's directory, and print its path."""

    def close(self) -> None:
        """Write all data to disk and close the environments."""


@dataclass
class Run:
    """The state of a training run from round to round, and the objects it writes to."""

    config: Settings
    source: Source
    state: TrainState  # checkpointed; donated to the update
    devices: Devices  # that hold the state
    counters: Counters
    saves: CheckpointStore
    logger: RunLogger
    measured: Sample  # start of the interval over which speeds are measured
    means: Means  # over the updates not yet logged; checkpointed
    recent: deque[Episode]  # checkpointed
    progress: Progress
    ended: list[Episode] = field(default_factory=list)  # finished in this process, not yet counted
    compiled: set[str] = field(default_factory=set)  # programs compiled in this process
    newest: Any = None  # batch and metrics of the newest update
    saved: Any = None  # counters and number of rows of the newest checkpoint
    best: float | None = None  # score of the state in `BEST`
    asked: bool = False  # whether this process was asked to stop
    stopped: bool = False

    @cached_property
    def root(self) -> Any:
        """The key of the run's seed."""
        return jax.random.key(self.config.seed)

    @property
    def place(self) -> str:
        """The run's current step or update, in words."""
        return f"{'step' if self.source.acts else 'update'} {self.counters.steps:,}"

    def key(self, purpose: int, count: int) -> Any:
        """A unique PRNG key for every use, derived from the seed, the purpose and a counter."""
        return fold(self.root, np.uint32(purpose), np.uint32(count))

    def due(self, every: int) -> bool:
        """Whether the last round crossed a multiple of ``every`` steps; always False for 0."""
        return crossed(self.counters.steps - self.source.stride, self.counters.steps, every)

    def stop(self) -> None:
        """End the loop after the current round, or once the other processes have been told."""
        self.asked, self.stopped = True, self.devices.hosts == 1


@jax.jit
def fold(key: Any, purpose: Any, count: Any) -> Any:
    """The key of a purpose and a counter, as one program: separate calls are slow."""
    return jax.random.fold_in(jax.random.fold_in(key, purpose), count)


def train(config: Any, source: Callable[[Any], Source]) -> bool:
    """Train until the last step, a signal, or one of the errors below; in each case, save. After
    any other error, the run resumes from its newest checkpoint.

    Returns whether the run finished during this call: False if it was stopped, or had already
    finished and is left untouched.

    Args:
      config: a TrainConfig or PretrainConfig.
      source: constructs what the run learns from.
    Raises:
      UserError, EnvironmentFailed: if the source raises them.
      RunFailed: if `STUCK` updates in a row are skipped.
    """
    started = time.monotonic()
    with hosts.told(), hosts.own_place(config, stays=hasattr(config, "env")) as config:
        given = settings_of(config).items()
        shared = {k: placeless(k, x) for k, x in given if k not in hosts.OWN}
        hosts.check_same("settings", shared)
        check_same_config(config.logdir, config)
        if hosts.of_all(finished(config))[0]:
            print(f"{config.logdir} has already finished: nothing to do; raise --steps to continue")
            return False
        check_trackers(config.track)
        devices = Devices(config.devices, config.batch)
        if jax.device_count() > 1:
            print(f"training {devices.line}")
        with hosts.in_turn():
            made = source(config)
        with lock_run(config.logdir):
            return go_on(open_run(config, made, devices, started))


def finished(config: Any) -> bool:
    """Whether a run with these settings (as for `train`) has made all its steps and been
    evaluated."""
    if not (config.logdir / EVALUATION).is_file():
        return False
    newest = newest_step(config.logdir)
    return newest is not None and newest >= config.steps


def go_on(run: Run) -> bool:
    """Run the loop of `train`."""
    config = run.config
    try:
        with run.progress, first_signal("stopping after this step, to save", run.stop):
            while unfinished(run) and not stops(run):
                go_round(run)
                run.saves.check()
                if run.due(config.save_every):
                    save_soon(run)
            save(run)
        if run.stopped:
            print(f"stopped at {run.place}; to resume:\n  {resume_command(config.logdir)}")
        else:
            with first_signal("stopping; the run is saved: run the same command to evaluate it"):
                finish(run)
        return not run.stopped
    except (UserError, EnvironmentFailed, RunFailed):
        if run.devices.hosts == 1:  # other processes may be at another point of the loop
            save(run)
        raise
    finally:
        with first_signal("closing the files", lambda: None), ExitStack() as closing:
            for part in (run.saves, run.logger, run.source):
                closing.callback(part.close)  # if one fails, the others are still closed


def open_run(config: Any, source: Source, devices: Devices, started: float) -> Run:
    """Begin a run, or resume it from its newest checkpoint."""
    resumed, meta = holds_run(config.logdir), dict[str, Any]()
    before = load_config(type(config), config.logdir) if resumed else config
    write_run_files(config.logdir, config)
    keep_spaces(config.logdir, source.spaces)
    saves = CheckpointStore(config.logdir / CHECKPOINTS, config.keep)
    reached = hosts.of_all(saves.latest())[0]
    newest = None if reached is None else saves.latest(reached)
    if newest is None:
        print("compiling the first state …", flush=True)
        state, carry = source.first_state(), None
    else:
        _, state, meta, carry = saves.restore(source.learner.abstract(), newest)
    drawn = meta.get("sampler")
    state, meta = hosts.of_first(state), hosts.of_all(meta)[0]
    pace = meta.get("pace", hosts.of_all(_pace(before))[0])  # older checkpoints lack it
    counted = meta.get("counters", {})  # older runs lack "logged": assume logged up to their end
    counters = Counters(**{"logged": counted.get("steps", 0)} | counted)
    if counters.in_row >= STUCK:
        counters.in_row = 0  # a run that failed may skip as many again
    saved = (asdict(counters), meta.get("rows")) if counted else None
    (config.logdir / EVALUATION).unlink(missing_ok=True)  # it describes an outdated state
    source.start(counters.steps, meta.get("sampler") if source.shared else drawn, carry)
    with ExitStack() as opened:  # closed if anything below fails
        opened.callback(source.close)
        if pace != _pace(config):  # the new one applies from here on
            counters.ahead = counters.updates - source.owed(counters.steps)
        resume_step = counters.steps if resumed else None
        shown = settings_of(config)
        trackers = open_trackers(config.track, config.logdir, shown)
        logger = RunLogger(config.logdir, resume_step, meta.get("rows"), shown, trackers)
        opened.callback(logger.close)
        measured = Sample(started, counters.steps, counters.updates)
        means = Means(**meta.get("means", {"sums": {}, "count": 0}))
        recent = deque((Episode(*values) for values in meta.get("recent", [])), RECENT)
        source.learner.sharding = devices.told(devices.every)
        state = devices.put(state, devices.every)
        console = None if hosts.first() else Console(quiet=True)
        progress = Progress(config.steps, source.acts, console=console)
        own = counters, saves, logger, measured, means, recent, progress
        run = Run(config, source, state, devices, *own)
        run.saved, run.best = saved, best_score(config.logdir)
        opened.pop_all()  # `go_on` closes them
    print(f"{'resuming' if resumed else 'writing'} {config.logdir} at {run.place}")
    return run


def _pace(config: Any) -> float:
    """Updates per step; 1 without an environment, where a step is an update."""
    return getattr(config, "updates_per_step", 1.0)


def unfinished(run: Run) -> bool:
    """Whether there are steps left, or part of the last round."""
    return run.counters.steps < run.config.steps or run.counters.phase != ACTING


def stops(run: Run) -> bool:
    """Whether the loop ends here: the same answer in all processes, which exchange stop signals
    every `ASK_EVERY` rounds."""
    if run.devices.hosts > 1 and run.due(ASK_EVERY * run.source.stride):
        run.stopped = any(hosts.of_all(run.asked))
        count(run)
    return run.stopped


def go_round(run: Run) -> None:
    """Step every environment once, then make the updates and reports that are due. If a signal
    interrupts a round, the resumed run completes it first, so that the result is the same."""
    counters = run.counters
    if counters.phase == ACTING:
        act(run)
        counters.phase = LEARNING
    if counters.phase == LEARNING:
        learn(run)
        if run.stopped:
            return
        report(run)
        counters.phase = ASSESSING
    assess(run)


def act(run: Run) -> None:
    """Step every environment once, into replay; without environments, count the next update."""
    counters = run.counters
    with run.progress.part("updates"):  # the policy waits for them
        jax.block_until_ready(run.newest)
    acts = run.source.acts
    part = run.progress.part("environments" if acts else "updates")
    with first(run, "the policy" if acts else None), part:
        episodes = run.source.act(of_one(run.state.params), run.key(ACT, counters.steps))
    counters.steps += run.source.stride
    note(run, episodes)


def note(run: Run, episodes: list[Episode]) -> None:
    """Count and log finished episodes; with several processes, at their next exchange."""
    run.ended += episodes
    if run.devices.hosts == 1:
        count(run)


def count(run: Run) -> None:
    """Count and log the episodes that have finished in any process."""
    counters, here, run.ended = run.counters, run.ended, []
    for episode in [Episode(*values) for told in hosts.of_all(here) for values in told]:
        run.recent.append(episode)
        counters.episodes += 1
        values = {"episode/return": episode.score, "episode/length": episode.length}
        if episode.success is not None:
            values["episode/success"] = float(episode.success)
        run.logger.scalars(counters.steps, values)


def learn(run: Run) -> None:
    """Make the updates that are due after the steps so far."""
    counters, update = run.counters, run.source.learner.update
    owed = run.source.owed(counters.steps) + counters.ahead
    while counters.updates < owed and not run.stopped:
        with run.progress.part("data"):
            key, sampled = run.key(LEARN, counters.updates), run.source.sample()
            batch = run.devices.put(sampled, run.devices.by_row)
        before = run.newest
        with first(run, "the update"), run.progress.part("updates"):  # on one core, the call waits
            run.state, metrics = update(run.state, batch, key)
            counters.updates += 1
            run.means.add(metrics)
            run.newest = sampled, metrics
        with run.progress.part("updates"):
            jax.block_until_ready(before)  # so that one update is queued, not a thousand
        if run.means.unseen >= STUCK:
            watch(run)


@contextmanager
def first(run: Run, what: str | None) -> Iterator[None]:
    """Report that a program is being compiled when this process calls it for the first time. A
    program that an earlier process compiled is loaded from the cache, within seconds. None: no
    program."""
    if what is None or what in run.compiled:
        yield
        return
    run.compiled.add(what)
    with run.progress.doing(f"compiling {what}"):
        yield
        jax.block_until_ready(run.newest)


def watch(run: Run) -> None:
    """Count the updates skipped since the last call. Called at each line of metrics, at each
    checkpoint, and after at most `STUCK` updates.

    Raises:
      RunFailed: if `STUCK` or more in a row were skipped; the last batch has been written.
    """
    counters = run.counters
    with run.progress.part("updates"):
        flags = run.means.look()
    for skipped in flags:
        counters.skipped += skipped
        counters.in_row = counters.in_row + 1 if skipped else 0
    if flags and counters.in_row >= STUCK:
        path, (batch, _) = run.config.logdir / BAD_BATCH, run.newest
        write_batch(path, batch)
        raise RunFailed(
            f"{run.place}: expected finite losses and gradients, received {counters.in_row} "
            f"updates in a row without them; the batch of the last one is in {path}: look there "
            "for numbers that are not finite or very large, or lower --optimizer.lr; the state "
            "before these updates is kept"
        )


def write_batch(path: Path, batch: Any) -> None:
    """Write the arrays of a batch as npz, each under its path in the batch."""
    leaves = jax.tree_util.tree_leaves_with_path(batch)
    named = {jax.tree_util.keystr(at, simple=True, separator="/"): x for at, x in leaves}
    write_arrays(path, {name: np.asarray(x) for name, x in named.items()})


def report(run: Run) -> None:
    """Update the live line; write metrics and videos when due."""
    counters, config = run.counters, run.config
    successes = [e.success for e in run.recent if e.success is not None]
    rate = float(np.mean(successes)) if successes else None
    score = run.recent[-1].score if run.recent else None
    run.progress.update(counters.steps, counters.updates, score, rate)
    if run.due(config.log_every):
        log(run)
    if run.due(config.video_every) and counters.updates:
        shown = run.source.show(of_one(run.state), run.key(SHOW, 0))
        if shown is not None:
            run.logger.video(counters.steps, "open_loop", shown, FPS)


def assess(run: Run) -> None:
    """Evaluate when due, and end the round."""
    counters, config = run.counters, run.config
    if run.due(config.eval_every) and counters.updates and counters.steps < config.steps:
        if run.stopped:
            return
        if run.devices.hosts > 1:  # not interruptible: all processes stay in step
            evaluate(run)
            counters.phase = ACTING
            return
        try:
            with first_signal("stopping during this evaluation, to save"):
                evaluate(run)
        except Stopped:
            return run.stop()
    counters.phase = ACTING


def log(run: Run) -> None:
    """Log means over the unskipped updates since the last line, the number of updates skipped since
    the start, speeds, data and memory."""
    watch(run)
    counters, before = run.counters, run.measured
    now = run.progress.sample(counters.steps, counters.updates)
    seconds = now.time - before.time
    unit = "env_steps" if run.source.acts else "steps"
    values: dict[str, float] = {
        f"speed/{unit}_per_s": (now.steps - before.steps) / seconds,
        "speed/updates_per_s": (now.updates - before.updates) / seconds,
    }
    values |= {f"speed/share_{name}": share for name, share in now.shares(before).items()}
    values |= run.source.stored(counters.updates) | memory_use()
    if counters.updates:
        values |= run.means.take() | {SKIPPED: counters.skipped}
    run.logger.scalars(counters.steps, values)
    counters.logged, run.measured = counters.steps, now


def evaluate(run: Run) -> Evaluation:
    """Evaluate the state by the source, log the result, and keep the state if it is the best."""
    with run.progress.part("evaluations"):
        found = run.source.evaluate(of_one(run.state), run.key(EVALUATE, 0))
    steps = run.counters.steps
    if found.values:
        run.logger.scalars(steps, {f"eval/{name}": value for name, value in found.values.items()})
    if found.film is not None:
        run.logger.video(steps, "episode", thinned(found.film, LOGGED).frames, FPS)
    if found.score is not None and is_better(found.score, run.best):
        keep_best(run.config.logdir, run.state, run.counters, found.score)
        run.best = found.score
    return found


def is_better(score: float, best: float | None) -> bool:
    """Whether a score, which may be nan, is above the best one before it."""
    return math.isfinite(score) and (best is None or score > best)


def keep_best(logdir: Path, state: TrainState, counters: Counters, score: float) -> None:
    """Save the state with the best evaluation as a checkpoint of its own, in `BEST`."""
    saves = CheckpointStore(logdir / BEST, keep=1)
    saves.save(counters.steps, state, {"score": score, "counters": asdict(counters)})
    saves.close()


def best_score(logdir: Path) -> float | None:
    """Score of the best state kept; None if there is none or it is damaged."""
    saves = CheckpointStore(logdir / BEST, keep=1)
    try:
        step = saves.latest()
        score = None if step is None else saves.meta(step)["score"]
        return None if score is None else float(score)  # of an older run, null for nan
    except UserError as error:
        print(f"{error}: the next evaluation replaces it")
        return None
    finally:
        saves.close()


def thinned(film: Film, most: int) -> Film:
    """At most ``most`` frames of a film, evenly spaced."""
    every = -(-len(film.frames) // most)
    return Film(film.frames[::every], film.texts[::every])


def save(run: Run) -> None:
    """Save as `save_soon` does, and wait until the checkpoint is on disk."""
    save_soon(run)
    run.saves.wait()


def save_soon(run: Run) -> None:
    """Checkpoint everything needed to resume, unless the newest checkpoint is already up to date.
    The checkpoint is written while the run continues."""
    watch(run)
    note(run, run.source.arrive())
    if run.devices.hosts > 1:
        count(run)
    counters, drawn = asdict(run.counters), run.source.sampler_state()
    hosts.check_same("batches", [run.counters.updates, drawn if run.source.shared else None])
    now = counters, run.logger.rows
    if now == run.saved:
        return
    meta = {
        "counters": counters,
        "sampler": drawn,
        "means": run.means.state(),
        "recent": [list(episode) for episode in run.recent],
        "rows": run.logger.rows,
        "pace": _pace(run.config),
    }
    run.saves.save_soon(counters["steps"], run.state, meta, run.source.carry())
    run.saved = now


def finish(run: Run) -> None:
    """Evaluate the finished run, and write its video."""
    if run.counters.steps > run.counters.logged:
        log(run)
    if not run.counters.updates and _pace(run.config):
        print(NOTHING_LEARNED)
    found = evaluate(run)
    write_text(run.config.logdir / EVALUATION, dump_json(found.values, indent=1) + "\n")
    print(found.line)
    save(run)  # with the rows of the evaluation, which the run keeps if it is extended
    run.source.write_film(of_one(run.state), found.film, run.key(SHOW, 0))
