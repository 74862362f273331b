"""The `Source` of an agent's run: environments to act in, and the replay of their episodes.

Read next: `agents/dreamer.py`, the loss; `configs/schema.py`, all settings.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from agents.actions import ActionCodec
from agents.agent import plans_marked
from agents.driver import Collector, Episode, Played
from agents.policy import initial_policy
from agents.statistics import plus_minus, summary
from common import EnvironmentFailed, UserError
from configs import TrainConfig
from configs.data import DataConfig
from envs.workers import WorkerVectorEnv
from recordings.data import open_train
from replay import MixedSampler, ReplayStore, SequenceSampler, describe_size
from replay.recorded import check_alike
from training import hosts
from training.build import Built
from training.checkpoint import CHECKPOINTS, MEMORY, CheckpointStore, fill, inner, newest_step
from training.config_io import holds_run, load_config
from training.due import updates_due
from training.labels import episode_texts
from training.loop import FPS, Evaluation, thinned
from training.overview import lines
from training.picture import bar_limits, pictures, true_above_imagined
from training.spaces import ask
from training.start import Donor, open_donor, recordings_of, start_from
from training.video import Film, labelled, upscale, write_video
from worldmodel.learner import Params, TrainState
from worldmodel.openloop import predict
from worldmodel.records import Records

LONGEST = 1000  # frames of an episode's film, at most
SHOWN = 4  # sequences side by side


class AgentSource:
    """Environments, their replay and, if requested, recordings."""

    acts, shared = True, False

    def __init__(self, config: TrainConfig):
        check_uncompiled(config.logdir)
        self.stride, self.envs = config.env.num_envs, hosts.share("num_envs", config.env.num_envs)
        self.spaces = ask(config, check=True)
        config = replace(config, env=replace(config.env, workers=self.spaces.workers))
        self.config, self.learner = config, Built(config, self.spaces)
        print(lines(self.spaces.overview))
        self.donor: Donor | None = None  # read before a new run writes anything
        if config.init_from is not None and not holds_run(config.logdir):
            self.donor = open_donor(self.learner, config.init_from)
        self.recorded = open_recordings(self.learner)  # likewise
        print(describe_size(self.learner.fields(), config.replay, config.logdir / "replay"))

    def first_state(self) -> TrainState:
        """The state before the first update, with the parameters of `init_from` if it is set."""
        state, run = self.learner.initial(), self.config.init_from
        if run is None:
            return state
        donor = self.donor or open_donor(self.learner, run)
        print(donor.line)
        return start_from(state, donor)

    def start(
        self, steps: int, sampler: Mapping[str, Any] | None, carry: Mapping[str, Any] | None
    ) -> None:
        """Open the replay, truncated to the restored checkpoint, and the environments. Those that
        can save their state resume, if their number is unchanged; others start again with seeds
        that the run has not used before, and their unfinished episodes count as cut."""
        config, built = self.config, self.learner
        self.replay = ReplayStore(config.logdir / "replay", built.fields(), config.replay)
        self.sampler = open_sampler(built, self.replay, self.recorded)
        if sampler is not None:
            self.sampler.restore(dict(sampler))
        self.steps = steps
        collector, leaves = self._collector(), inner(carry or {}, "collector")
        if carry:
            self.replay.cut_back(inner(carry, "replay"))
        elif not steps:  # left by a run that was killed before its first checkpoint
            self.replay.drop_from(0)
        goes_on = bool(leaves) and len(leaves["tally/0"]) == self.envs
        if goes_on:
            collector.go_on(fill(collector.state(), leaves))
        self.collector: Collector | None = collector if goes_on else collector.begin()
        self.filled = self._filled()

    def carry(self) -> dict[str, Any]:
        """State of the replay's unfinished episodes and, if the environments can save theirs, of
        environments, policy and running sums."""
        collector = None if self.collector is None else self.collector.state()
        return {"replay": self.replay.state(), "collector": collector}

    def _collector(self) -> Collector:
        """Create a collector with new environments."""
        built, config = self.learner, self.config
        entropy = np.random.SeedSequence([config.seed, self.steps, hosts.index()])
        seed = int(entropy.generate_state(1)[0]) >> 2  # seed + i fits the int32 of many libraries
        stepper = built.stepper(self.envs, seed)
        carry = initial_policy(built.agent, stepper.size, config.agent.replan)
        policy = built.policy(greedy=False)
        return Collector(stepper, policy, carry, self.replay, config.overlap)

    def act(self, params: Params, key: Any) -> list[Episode]:
        """Step every environment once, into replay, and return the finished episodes. If steps
        overlap with updates, this step is still under way, and the previous one is complete."""
        if self.collector is None:
            self.collector = self._collector().begin()
        if hosts.count() > 1:
            key = jax.random.fold_in(key, hosts.index())
        self.steps += self.stride
        episodes = self.collector.step(params, key)
        self.filled = self.filled or self._filled()
        return episodes

    def _filled(self) -> bool:
        """Whether every process has something to replay."""
        return all(hosts.of_all(self.replay.steps > 0))

    def arrive(self) -> list[Episode]:
        """Wait for a step under way to reach replay, and return the finished episodes."""
        return [] if self.collector is None else self.collector.arrive()

    def owed(self, steps: int) -> int:
        """Number of updates due after ``steps`` environment steps; 0 while replay is empty."""
        return updates_due(self.config, steps) if self.filled else 0

    def sample(self) -> Records:
        """Replayed sequences."""
        return Records(**self.sampler.sample())

    def sampler_state(self) -> dict[str, Any]:
        """State of the random draws, as JSON-compatible values."""
        return self.sampler.state()

    def stored(self, updates: int) -> dict[str, float]:
        """Size of the replay, summed over processes, and the number of restarts of environments
        in workers."""
        values = {"replay/steps": self.replay.steps, "replay/gb": self.replay.bytes / 1e9}
        envs = None if self.collector is None else self.collector.stepper.envs
        if isinstance(envs, WorkerVectorEnv):
            values["env/restarts"] = sum(envs.restarts)
        every = hosts.of_all(values)
        return {name: sum(told[name] for told in every) for name in values}

    def show(self, state: TrainState, key: Any) -> np.ndarray | None:
        """Open-loop prediction of replayed sequences."""
        records = jax.tree.map(lambda x: x[:SHOWN], self.sample())
        loop = self._predict(state.params, records, key)
        true, drawn = jax.device_get((loop.true, loop.predicted))
        return true_above_imagined(true, drawn, int(loop.context))

    @cached_property
    def _predict(self) -> Any:
        """Open-loop prediction: a jitted function of (params, records, key)."""
        length, stride = self.config.sequence, self.learner.agent.model.stride
        context = max(stride, length // 4 // stride * stride)
        return jax.jit(lambda p, r, k: predict(self.learner.join(p).model, r, context, k))

    def evaluate(self, state: TrainState, key: Any) -> Evaluation:
        """Evaluate the greedy policy, in the same worlds every time, with the averaged parameters
        and with the newest ones, since the average lags behind what was just learned. Without
        evaluation episodes (`eval_episodes` 0), do nothing."""
        episodes = self.config.eval_episodes
        if not episodes:
            return Evaluation({}, "no evaluation (--eval-episodes 0)", None)
        evaluate = partial(self.learner.evaluate, state.average, episodes, greedy=True, watch=True)
        try:
            played = evaluate()
        except EnvironmentFailed as error:
            if self.collector is None:
                raise
            print(f"evaluation: closing the training environments and trying again, after {error}")
            self._end()
            played = evaluate()
        values = summary(played.episodes)
        newest = self.learner.evaluate(state.params, episodes, greedy=True)
        values["newest_return"] = summary(newest.episodes)["return"]
        film, line = episode_film(played, self.learner.codec), f"greedy   {shown(values)}"
        return Evaluation(values, line, film, values["return"])

    def write_film(self, state: TrainState, film: Film | None, key: Any) -> None:
        """Write the episode as a video."""
        if film is not None:
            write_episode(film, self.config.logdir / "episode.mp4")

    def close(self) -> None:
        """Write the replay to disk and close the environments."""
        self.replay.close()
        self._end()

    def _end(self) -> None:
        """Close the environments, which cuts their episodes; `act` then creates new ones."""
        if self.collector is not None:
            self.collector.stepper.envs.close()
            self.collector = None


def check_uncompiled(logdir: Path) -> None:
    """Raise UserError for the run of one of several seeds, which `seeds.py` alone can resume."""
    newest = newest_step(logdir)
    if newest is None or MEMORY not in CheckpointStore(logdir / CHECKPOINTS, 1).meta(newest):
        return
    seed, folder = load_config(TrainConfig, logdir).seed, logdir.absolute().parent
    raise UserError(
        f"{logdir}: expected a run without --seeds, received one with, at step {newest:,}; add "
        f"--seeds {seed} and give the folder above: --logdir {folder}"
    )


def open_recordings(built: Built) -> ReplayStore | None:
    """Open the recordings that make up a share of each batch; None if there are none.

    Raises:
      UserError: if their observations or actions differ from the agent's.
    """
    config = built.config
    if not config.recorded_rows:
        return None
    if config.recordings is not None:
        data = DataConfig(name=str(config.recordings))
    else:
        assert config.init_from is not None  # `schema.check`
        data = recordings_of(config.init_from)
    store = open_train(data)
    check_alike(built.fields(), store.fields, plans_marked(config.agent))
    return store


def open_sampler(
    built: Built, replay: ReplayStore, video: ReplayStore | None
) -> SequenceSampler | MixedSampler:
    """Sampler of replay and recordings, if any; with several processes, of this one's rows."""
    config, stride = built.config, built.agent.model.stride
    rows = hosts.share("recorded sequences of a batch", config.recorded_rows)
    sizes: dict[str, Any] = {"length": config.sequence, "stride": stride}
    sizes["seed"] = config.seed + hosts.OTHER_PROCESS * hosts.index()
    own = SequenceSampler(replay, batch=hosts.share("batch", config.batch) - rows, **sizes)
    if video is None:
        return own
    recorded = SequenceSampler(video, batch=rows, **sizes)
    return MixedSampler(own, recorded, marked=plans_marked(config.agent))


def episode_film(played: Played, codec: ActionCodec) -> Film:
    """What the agent saw in the first episode, vectors drawn as bars, below the step, reward and
    action."""
    assert played.seen is not None and played.action is not None and played.reward is not None
    frames = pictures(played.seen, bar_limits(played.seen))
    texts = episode_texts(played.action, played.reward, codec)
    return thinned(Film(frames, texts), LONGEST)


def write_episode(film: Film, path: Path) -> None:
    """Write an episode as a video."""
    write_video(path, labelled(film._replace(frames=upscale(film.frames, 4))), 2 * FPS)
    print(f"episode:  {path}")


def shown(values: dict[str, float]) -> str:
    """The numbers of ``summary`` in one line."""
    text = "return " + plus_minus(values["return"], values.get("return_95"), 2, " (95%)")
    if "success" in values:
        text += f", success {values['success']:.0%}"
    text += f", length {values['length']:.1f} steps"
    if "newest_return" in values:
        text += f"; newest parameters {values['newest_return']:.2f}"
    return f"{text}; discounted {values['discounted']:.2f}, foreseen {values['foreseen']:.2f}"
