"""Implementation of `imagine.py`: a run's context and imagined future, as a video and as arrays.

Read next: `worldmodel/openloop.py`.
"""

from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.errors import JaxRuntimeError

from agents import Agent
from agents.driver import AgentAct, Arrival
from agents.policy import initial_policy
from agents.returns import window_targets
from analysis.agent.what_if import check_plans
from analysis.own_video import own_records, read_own
from common import Count, CountOrZero, EnvironmentFailed, UserError, check_bounds
from envs import describe_backend
from recordings.data import open_test
from replay.atomic import write_arrays
from training.build import EVAL_SEED, Built, SaidAgain, load_run
from training.build_video import (
    VideoRun,
    beginnings,
    is_video_run,
    load_video_run,
    marks_plans,
)
from training.labels import imagined_texts
from training.picture import true_above_imagined
from training.video import Film, labelled, write_video
from worldmodel.learner import join, split
from worldmodel.level import State
from worldmodel.openloop import OpenLoop, predict, predict_video
from worldmodel.records import Records


@dataclass(frozen=True)
class ImagineConfig:
    """Imagine a future with a trained agent or video model, and decode it."""

    run: Path
    """Directory of the run."""
    output: Path | None = None
    """Output video, .mp4 or .gif, with the predictions as .npz beside it; None: `imagined.mp4` in
    the run's directory."""
    context: Count = 32
    """Environment steps (video run: frames) played and observed before imagination starts; rounded
    up to whole windows, and shortened if an episode ends too early."""
    ticks: Count = 12
    """Ticks of the top clock to imagine, each K environment steps; fewer if an episode ends."""
    actions: Literal["recorded", "policy"] = "recorded"
    """Actions to imagine under: those recorded after the context, so that true and imagined frames
    can be compared, or the actor's own in imagination (the true frames above then show only what
    actually happened)."""
    video: Path | None = None
    """Video run only: a video of your own (a file, or a folder of frames) in place of held-out
    ones. Imagination continues beyond its end, where the true frames above are black."""
    start: CountOrZero = 0
    """Frame of `video` at which the context begins."""
    worlds: Count = 3
    """Episodes shown side by side; with `video`, futures of that video."""
    seed: CountOrZero = 0
    """Random seed for environments and noise."""
    env: SaidAgain = None

    @property
    def path(self) -> Path:
        """Path of the output video."""
        return self.output or self.run / "imagined.mp4"


class Imagined(NamedTuple):
    """Predictions per imagined tick, [worlds, ticks]; the value also at the start."""

    reward: jax.Array
    cont: jax.Array
    value: jax.Array  # [worlds, ticks + 1]
    states: State  # of the top level, [worlds, ticks, ·]
    action: jax.Array  # [worlds, ticks, K·A]


def imagine(config: ImagineConfig) -> None:
    """Play the context, imagine and decode the future, and write the results."""
    check(config)
    if is_video_run(config.run):
        imagine_video(config)
        return
    if config.video is not None:
        raise UserError(
            f"video: expected a run of pretrain_video.py, received {config.run}, an agent's, which "
            "needs its environment; leave --video out"
        )
    built, params, step = load_run(config.run, config.env)
    if config.actions == "policy" and built.agent.codec.closed_loop:
        raise UserError(
            f"actions: expected 'recorded', received 'policy' for {config.run}, whose codec "
            f"{built.config.agent.codec!r} acts on what level 1 sees at each step; leave out "
            "--actions"
        )
    if config.actions == "policy":
        check_plans(built.config.agent)
    stride = built.agent.model.stride
    context = -(-config.context // stride) * stride
    steps = context + config.ticks * stride
    try:
        arrivals = play_arrivals(built, params, steps, config)
    except EnvironmentFailed as error:
        if config.worlds == 1:
            raise
        print(f"imagine: trying again with one environment, after {error}")
        arrivals = play_arrivals(built, params, steps, replace(config, worlds=1))
    context, ticks = fit(len(arrivals) - 1, stride, context, config.ticks)
    arrivals = arrivals[: context + ticks * stride + 1]
    records = stack(arrivals, built.agent.model.lead, context + (ticks + 1) * stride)
    policy = config.actions == "policy"

    @jax.jit
    def run(p: Any, r: Records, k: jax.Array) -> tuple[OpenLoop, Imagined]:
        return roll(built.join(p), r, context, ticks, policy, k)

    loop, imagined = run(params, records, jax.random.key(config.seed))
    frames = true_above_imagined(
        jax.device_get(loop.true), jax.device_get(loop.predicted), int(loop.context)
    )
    write_labelled(config.path, frames, int(loop.context))
    numbers = predictions(built, records, imagined, context)
    write_arrays(config.path.with_suffix(".npz"), numbers)
    print(f"{describe_backend(built.config.env)}; trained for {step:,} steps")
    print(
        f"{config.path}: {loop.context} frames seen, then {ticks} ticks of {stride} steps "
        f"imagined with {config.actions} actions; true above imagined"
    )
    print(f"{config.path.with_suffix('.npz')}: " + ", ".join(sorted(numbers)))


def write_labelled(path: Path, frames: np.ndarray, context: int) -> None:
    """Write the video with a caption above the frames: the time, and which are imagined."""
    film = Film(frames, imagined_texts(len(frames), context))
    write_video(path, labelled(film), fps=10)


def write_imagined(run: Path, env: str) -> None:
    """Write `imagined.mp4` into a run that has just ended; if it cannot be made, print why."""
    try:
        imagine(ImagineConfig(run=run, env=env))
    except (UserError, EnvironmentFailed, MemoryError, JaxRuntimeError) as error:
        print(f"no imagined video: {' '.join(str(error).split())}")


def imagine_video(config: ImagineConfig) -> None:
    """The counterpart of `imagine` for a world model without an agent: held-out video or a video of
    your own is continued, and no arrays are written.

    Raises:
      UserError: if the videos are too short.
    """
    if config.actions == "policy":
        raise UserError(
            f"actions: expected 'recorded', received 'policy' for {config.run}, which has no "
            "agent; leave out --actions"
        )
    run = load_video_run(config.run)
    model = run.model
    if config.video is None:
        records, context = held_out(run, config)
        what = f"held-out video of {run.config.data.name}"
    else:
        records, context = of_own(run, config, config.video)
        what = f"{config.video} from frame {config.start} on"
    graph, _ = split(model)

    @jax.jit
    def predicted(p: Any, r: Records, k: jax.Array) -> OpenLoop:
        return predict_video(join(graph, p), r, context, k)

    loop = predicted(run.params, records, jax.random.key(config.seed))
    true, drawn = jax.device_get((loop.true, loop.predicted))
    seen = int(loop.context)
    frames = true_above_imagined(true, drawn, seen)
    write_labelled(config.path, frames, seen)
    print(
        f"{config.path}: {what}, {seen} frames seen, then {len(frames) - seen} imagined; true "
        "above imagined"
    )


def held_out(run: VideoRun, config: ImagineConfig) -> tuple[Records, int]:
    """Beginnings of held-out videos, at most ``worlds``, and the context in frames, rounded up to
    whole windows."""
    stride = run.config.model.strides[-1]
    context = -(-config.context // stride) * stride
    with open_test(run.config.data) as store:
        lengths = sorted((s.steps for s in store.index.segments if s.whole), reverse=True)
        worlds = min(config.worlds, len(lengths))
        longest = lengths[worlds - 1]
        ticks = min(config.ticks, (longest - context) // stride)
        if ticks < 1:
            raise UserError(
                f"imagine: expected held-out videos of {context + stride} frames or more, "
                f"received {worlds} of {longest}; lower --context or --worlds"
            )
        length, marked = context + ticks * stride, marks_plans(run.config)
        return beginnings(run.model, store, worlds, length, marked), context


def of_own(run: VideoRun, config: ImagineConfig, video: Path) -> tuple[Records, int]:
    """Beginning of the user's own video, and the context in frames, as long as the video allows."""
    stride = run.config.model.strides[-1]
    context = -(-config.context // stride) * stride
    own = read_own(run, video, config.start, context + config.ticks * stride)
    context = min(context, len(own.frames) // stride * stride)
    if context < 1:
        raise UserError(
            f"video: expected {stride} frames or more, one window of the top clock, "
            f"received {len(own.frames)} of {video} from frame {config.start} on; lower --start"
        )
    return own_records(run, own, context + config.ticks * stride, config.worlds), context


def check(config: ImagineConfig) -> None:
    """Raise UserError on sizes below 1 or an output that is not a video, before any work starts."""
    check_bounds(config)
    if config.path.suffix not in (".mp4", ".gif"):
        raise UserError(f"output: expected a path ending in .mp4 or .gif, received {config.path}")


def play_arrivals(built: Built, params: Any, steps: int, config: ImagineConfig) -> list[Arrival]:
    """Play the sampled policy for ``steps`` steps, or until the first episode ends."""
    stepper = built.stepper(config.worlds, EVAL_SEED + config.seed)
    carry = initial_policy(built.agent, config.worlds, built.config.agent.replan)
    act = AgentAct(built.policy(greedy=False), params, carry, jax.random.key(config.seed))
    with closing(stepper.envs):
        arrivals = [stepper.reset()]
        while len(arrivals) <= steps and not arrivals[-1].last.any():
            before = arrivals[-1]
            arrivals.append(stepper.step(before, act(before.obs, before.is_first, len(arrivals))))
    return arrivals


def fit(steps: int, stride: int, context: int, ticks: int) -> tuple[int, int]:
    """Fit context and ticks into ``steps`` played steps; the context is shortened first.

    Raises:
      UserError: if there are fewer steps than one window.
    """
    if steps < stride:
        raise UserError(
            f"imagine: expected episodes of at least {stride} steps, one window of the top clock, "
            f"received one of {steps}; try another --seed"
        )
    context = min(context, (steps - stride) // stride * stride)
    return context, min(ticks, (steps - context) // stride)


def stack(arrivals: list[Arrival], lead: int, length: int) -> Records:
    """Arrivals of N episodes as records [N, lead+length, ...]: empty lead-in, padded end."""
    after = length - len(arrivals)

    def field(values: list[np.ndarray]) -> jax.Array:
        x = np.stack(values, axis=1)
        edges = [(0, 0), (lead, after), *[(0, 0)] * (x.ndim - 2)]
        return jnp.asarray(np.pad(x, edges))

    obs = {name: field([a.obs[name] for a in arrivals]) for name in arrivals[0].obs}
    mask = field([np.ones(len(a.reward), np.float32) for a in arrivals])
    columns = zip(*[(a.action, a.reward, a.terminal, a.is_first) for a in arrivals], strict=True)
    action, reward, terminal, is_first = (field(list(column)) for column in columns)
    return Records(obs, action, mask, reward, terminal, is_first, mask)


def roll(
    agent: Agent, records: Records, context: int, ticks: int, policy: bool, key: jax.Array
) -> tuple[OpenLoop, Imagined]:
    """Imagine the top level from the end of the context, then the levels below; decode level 1."""
    model = agent.model
    filter_key, path_key, decode_key = jax.random.split(key, 3)
    batch, length = records.mask.shape[0], records.mask.shape[1] - model.lead
    beliefs = model.observe(records, model.draw_noise(filter_key, batch, length))
    start = model.states_at(beliefs, context)[-1]
    main = records.after(model.lead)
    future = slice(context + 1, context + 1 + ticks * model.stride)
    recorded = main.action[:, future].reshape(batch, ticks, -1)

    def tick(state: State, step: tuple[jax.Array, jax.Array]) -> Any:
        step_key, given = step
        act_key, noise_key = jax.random.split(step_key)
        chunk = agent.act(state.features, act_key).flat if policy else given
        noise = model.latent.noise(noise_key, (batch,))
        state = model.imagine_top(state, model.interval(chunk), noise)
        return state, (state, chunk)

    keys = jax.random.split(path_key, ticks)
    _, (states, chunks) = jax.lax.scan(tick, start, (keys, jnp.swapaxes(recorded, 0, 1)))
    states, chunks = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), (states, chunks))
    features = jnp.concatenate([start.features[:, None], states.features], axis=1)
    imagined = Imagined(
        agent.predict_reward(features[:, 1:]),
        agent.predict_cont(features[:, 1:]),
        agent.predict_value(features),
        states,
        chunks,
    )
    steps = (
        jnp.zeros_like(main.action)
        .at[:, future]
        .set(chunks.reshape(batch, ticks * model.stride, -1))
    )
    steps = jnp.where(jnp.arange(length)[None, :, None] > context, steps, main.action)
    acted = records._replace(
        action=jnp.concatenate([records.action[:, : model.lead], steps], axis=1)
    )
    return predict(model, acted, context, decode_key, states), imagined


def predictions(
    built: Built, records: Records, imagined: Imagined, context: int
) -> dict[str, np.ndarray]:
    """Arrays of the npz file: predictions per tick alongside the observed window rewards."""
    model, behaviour = built.agent.model, built.config.agent.behaviour
    targets = jax.vmap(
        lambda r, t, f, m: window_targets(r, t, f, m, model.stride, behaviour.discount)
    )(records.reward, records.terminal, records.is_first, records.mask)
    ticks = imagined.reward.shape[1]
    at = model.lead + context + model.stride * (1 + np.arange(ticks))
    slots = imagined.action.reshape(*imagined.action.shape[:-1], model.stride, -1)
    actions = slots[..., : built.codec.width]  # without the marks of plans
    arrays = {
        "reward": imagined.reward,
        "cont": imagined.cont,
        "value": imagined.value,
        "action": actions.reshape(*imagined.action.shape[:-1], -1),
        "observed_reward": targets.reward[:, at],
        "observed_cont": targets.cont[:, at],
        "observed_valid": targets.valid[:, at],
        "time": np.arange(1, ticks + 1) * model.stride + context,
    }
    return {name: np.asarray(value) for name, value in arrays.items()}
