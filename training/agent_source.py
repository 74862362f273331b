"""What an agent's run learns from: environments that it acts in, and the replay of what it did.

Read next: `agents/dreamer.py`, the loss; `configs/schema.py`, every setting.
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
from common import EnvironmentFailed
from configs import TrainConfig
from configs.data import DataConfig
from envs.workers import WorkerVectorEnv
from recordings.data import open_train
from replay import MixedSampler, ReplayStore, SequenceSampler, describe_size
from replay.recorded import check_alike
from training import hosts
from training.build import Built
from training.checkpoint import fill, inner
from training.config_io import holds_run
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

LONGEST = 1000  # frames of an episode's film
SHOWN = 4  # sequences side by side


class AgentSource:
    """Environments, their replay, and recordings beside it where they are asked for."""

    acts, shared = True, False

    def __init__(self, config: TrainConfig):
        self.stride, self.envs = config.env.num_envs, hosts.share("num_envs", config.env.num_envs)
        self.spaces = ask(config, check=True)
        config = replace(config, env=replace(config.env, workers=self.spaces.workers))
        self.config, self.learner = config, Built(config, self.spaces)
        print(lines(self.spaces.overview))
        self.donor: Donor | None = None  # read before anything of a new run is written
        if config.init_from is not None and not holds_run(config.logdir):
            self.donor = open_donor(self.learner, config.init_from)
        self.recorded = open_recordings(self.learner)  # as well
        print(describe_size(self.learner.fields(), config.replay, config.logdir))

    def first_state(self) -> TrainState:
        """With the parameters of another run, where one is asked for."""
        state, run = self.learner.initial(), self.config.init_from
        if run is None:
            return state
        donor = self.donor or open_donor(self.learner, run)
        print(donor.line)
        return start_from(state, donor)

    def start(
        self, steps: int, sampler: Mapping[str, Any] | None, carry: Mapping[str, Any] | None
    ) -> None:
        """Opens the replay, cut back to where it was saved. Environments that tell their state go
        on, if they are as many as then; others begin anew, of seeds that no earlier part of the run
        had, and their episodes in progress end cut."""
        config, built = self.config, self.learner
        self.replay = ReplayStore(config.logdir / "replay", built.fields(), config.replay)
        self.sampler = open_sampler(built, self.replay, self.recorded)
        if sampler is not None:
            self.sampler.restore(dict(sampler))
        self.steps = steps
        collector, leaves = self._collector(), inner(carry or {}, "collector")
        if carry:
            self.replay.cut_back(inner(carry, "replay"))
        goes_on = bool(leaves) and len(leaves["tally/0"]) == self.envs
        if goes_on:
            collector.go_on(fill(collector.state(), leaves))
        self.collector: Collector | None = collector if goes_on else collector.begin()
        self.filled = self._filled()

    def carry(self) -> dict[str, Any]:
        """Replay's open episodes; environments, policy and sums, where environments can tell."""
        collector = None if self.collector is None else self.collector.state()
        return {"replay": self.replay.state(), "collector": collector}

    def _collector(self) -> Collector:
        """Of new environments."""
        built, config = self.learner, self.config
        seed = config.seed + 7919 * self.steps + hosts.index() * self.envs
        stepper = built.stepper(self.envs, seed)
        carry = initial_policy(built.agent, stepper.size, config.agent.replan)
        policy = built.policy(greedy=False)
        return Collector(stepper, policy, carry, self.replay, config.overlap)

    def act(self, params: Params, key: Any) -> list[Episode]:
        """One step of every environment, into replay; the episodes that ended. Where steps overlap
        with updates it is under way still, and the one before is complete."""
        if self.collector is None:
            self.collector = self._collector().begin()
        if hosts.count() > 1:
            key = jax.random.fold_in(key, hosts.index())
        self.steps += self.stride
        episodes = self.collector.step(params, key)
        self.filled = self.filled or self._filled()
        return episodes

    def _filled(self) -> bool:
        """Whether there is something to replay, in all processes."""
        return all(hosts.of_all(self.replay.steps > 0))

    def arrive(self) -> list[Episode]:
        """Waits for a step that is under way, into replay; the episodes that ended."""
        return [] if self.collector is None else self.collector.arrive()

    def owed(self, steps: int) -> int:
        """Updates that so many environment steps call for, once there is something to replay."""
        wanted = int((steps - self.config.prefill) * self.config.updates_per_step)
        return wanted if self.filled else 0

    def sample(self) -> Records:
        """Replayed sequences."""
        return Records(**self.sampler.sample())

    def sampler_state(self) -> dict[str, Any]:
        """The state of the draws, for JSON."""
        return self.sampler.state()

    def stored(self, updates: int) -> dict[str, float]:
        """How much is in replay, of all processes; of environments in workers, how often one was
        started again."""
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
        """Jitted: the prediction under (params, records, key)."""
        length, stride = self.config.sequence, self.learner.agent.model.stride
        context = max(stride, length // 4 // stride * stride)
        return jax.jit(lambda p, r, k: predict(self.learner.join(p).model, r, context, k))

    def evaluate(self, state: TrainState, key: Any) -> Evaluation:
        """The greedy policy of the averaged parameters, in the same worlds every time, and that of
        the newest ones, of which the average hides what has just been learned; nothing where no
        episodes are asked for."""
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
        """The episode."""
        if film is not None:
            write_episode(film, self.config.logdir / "episode.mp4")

    def close(self) -> None:
        """Replay is on disk, environments have ended."""
        self.replay.close()
        self._end()

    def _end(self) -> None:
        """Closes the environments; `act` begins with new ones, and their episodes end cut."""
        if self.collector is not None:
            self.collector.stepper.envs.close()
            self.collector = None


def open_recordings(built: Built) -> ReplayStore | None:
    """The store that batches are shared with, where they are.

    Raises:
      UserError: if it is not of what the agent sees and does.
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
    """Of replay, and of recordings where there are; of several processes this one's rows."""
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
    """What the first agent saw, vectors drawn as bars; step, reward and action above it."""
    assert played.seen is not None and played.action is not None and played.reward is not None
    frames = pictures(played.seen, bar_limits(played.seen))
    texts = episode_texts(played.action, played.reward, codec)
    return thinned(Film(frames, texts), LONGEST)


def write_episode(film: Film, path: Path) -> None:
    """An episode as a video."""
    write_video(path, labelled(film._replace(frames=upscale(film.frames, 4))), 2 * FPS)
    print(f"episode:  {path}")


def shown(values: dict[str, float]) -> str:
    """Numbers of ``summary`` in one line."""
    text = "return " + plus_minus(values["return"], values.get("return_95"), 2, " (95%)")
    if "success" in values:
        text += f", success {values['success']:.0%}"
    text += f", length {values['length']:.1f} steps"
    if "newest_return" in values:
        text += f"; newest parameters {values['newest_return']:.2f}"
    return f"{text}; discounted {values['discounted']:.2f}, foreseen {values['foreseen']:.2f}"
