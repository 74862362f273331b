"""The report of `analyse_agent.py`, whose docstring describes its contents.

Read next: `trace.py` and `what_if.py`, which compute; `episode.py`, which combines their results.
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.errors import JaxRuntimeError

from agents.driver import AgentAct, Arrival
from agents.policy import initial_policy
from analysis.agent.episode import AnalyseAgentConfig, EpisodeInspection, inspect_episode, padded
from analysis.agent.figures import draw_episode, draw_promises, draw_what_if
from analysis.agent.film import film_figure
from analysis.agent.overview import metrics, overview, training_section
from analysis.agent.verdict import verdict_section
from analysis.imagine import stack
from analysis.pages import report
from analysis.pages.plots import number
from common import EnvironmentFailed, UserError, check_bounds, dump_json
from envs import EnvConfig, said_again
from replay.atomic import write_text
from training.build import EVAL_SEED, Built, load_run
from training.commands import command
from training.config_io import settings_of
from worldmodel.learner import Params


def analyse(config: AnalyseAgentConfig, command: str) -> Path:
    """Play episodes, inspect them, write the report and its numbers; return the report's path."""
    output = checked_output(config)
    built, params, step = load_run(config.run, config.env)
    played = [play_episode(built, params, config, n) for n in range(config.episodes)]
    length = padded(max(map(len, played)), built.agent.model.stride)  # one length: compiled once
    with jax.debug_nans(False):  # here NaN means that there is no value; it is not a fault
        looked = [
            inspect_episode(built, params, stack(arrivals, built.agent.model.lead, length), config)
            for arrivals in played
        ]
    several = built.config.eval_episodes if config.random is None else config.random
    chance = random_returns(built, several)
    blocks = verdict_section(metrics(config.run), chance)
    blocks += training_section(config.run, chance)
    for n, (arrivals, one) in enumerate(zip(played, looked, strict=True)):
        film = film_figure(arrivals, one, built)
        blocks += episode_section(f"Episode {n + 1}", one, film, built, config)
        blocks += what_if_section(one, built, config)
    blocks += [overview(config.run, built, step), all_settings(built), report.command(command)]
    title = f"{config.run.resolve().name}: {built.config.env.name}"
    write_text(output, report.document(title, blocks))
    found = numbers(looked, command) | {"random_returns": chance.tolist()}
    write_text(output.with_suffix(".json"), dump_json(found, indent=1) + "\n")
    for n, one in enumerate(looked):
        shown = ", ".join(number(np.nanmean(level.kl)) for level in one.trace.levels)
        print(f"episode {n + 1}: KL per level {shown} nats per tick")
    return output


def write_report(run: Path, env: EnvConfig) -> None:
    """Write `report.html` of a run that has just ended; on failure, print one line instead."""
    config = AnalyseAgentConfig(run, env=env.name)
    try:
        output = analyse(config, command("analyse_agent.py", "--run", run, *said_again(env)))
    except (UserError, EnvironmentFailed, MemoryError, JaxRuntimeError) as error:
        print(f"no report: {' '.join(str(error).split())}")
    else:
        print(f"report:   {output}")


def checked_output(config: AnalyseAgentConfig) -> Path:
    """Check the settings before any work, and return the report's path. Raises UserError."""
    check_bounds(config)
    output = config.output or config.run / "report.html"
    if output.suffix != ".html":
        raise UserError(f"output: expected a path ending in .html, received {output}; rename it")
    return output


def play_episode(
    built: Built, params: Params, config: AnalyseAgentConfig, index: int
) -> list[Arrival]:
    """Play one greedy episode and return its arrivals, cut after ``steps``."""
    stepper = built.stepper(1, EVAL_SEED + config.seed + index)
    carry = initial_policy(built.agent, 1, built.config.agent.replan)
    act = AgentAct(built.policy(greedy=True), params, carry, jax.random.key(config.seed))
    try:
        arrivals = [stepper.reset()]
        while len(arrivals) <= config.steps and not arrivals[-1].last[0]:
            before = arrivals[-1]
            arrivals.append(stepper.step(before, act(before.obs, before.is_first, len(arrivals))))
        return arrivals
    finally:
        stepper.envs.close()


def random_returns(built: Built, episodes: int) -> np.ndarray:
    """[episodes] returns under random actions, in the evaluation environments."""
    if not episodes:
        return np.zeros(0)
    return np.array([episode.score for episode in built.evaluate_random(episodes).episodes])


def episode_section(
    name: str, one: EpisodeInspection, film: str, built: Built, config: AnalyseAgentConfig
) -> list[str]:
    """One episode, as a video and as curves over time."""
    strides, steps = built.agent.model.strides, len(one.reward) - 1
    ends = "ended by a terminal state" if one.terminal else "ended by a time limit"
    ends = ends if steps < config.steps else f"shown up to there (--steps {config.steps})"
    text = (
        f"The greedy agent with one of its evaluation's seeds: {steps:,} environment steps, "
        f"return {one.reward.sum():.4g}, {ends}. The episode was filtered again as a whole. The KL "
        "of the posterior from the prior is the information that a level takes in at a tick and "
        "did not predict, an upper bound on what it stores of it; a curve keeps each value until "
        "the next tick. Entropy is differential, so it may be negative. A window's reward is the "
        "discounted sum over the top clock's last tick; nothing is drawn where the window would "
        "begin before the episode."
    )
    rows = []
    for n, level in enumerate(one.trace.levels):
        means = [float(np.nanmean(x)) for x in (level.kl, level.prior_entropy)]
        cells = [number(means[0]), number(means[0] / strides[n]), number(means[1])]
        rows.append([f"level {n + 1}", str(strides[n]), *cells])
    header = ["mean over the episode", "stride", "KL, nats per tick"]
    header += ["KL, nats per step", "prior entropy, nats"]
    caption = (
        " Top: frames, each above its time, and the frames decoded from level 1's belief at that "
        "time (vectors as bars, each number on its own scale). Below: curves on the same time axis."
    )
    if one.what_if is not None:
        caption += " The dotted line is where the futures below start."
    return [
        report.heading(name),
        film,
        report.paragraph(text),
        report.table(header, rows),
        *(
            report.figure(
                draw_episode(one, view, strides),
                f"Environment steps {view.span[0]:,} to {view.span[1] - 1:,}.{caption}",
            )
            for view in one.views
        ),
    ]


def what_if_section(one: EpisodeInspection, built: Built, config: AnalyseAgentConfig) -> list[str]:
    """Imagined futures from one time of the episode."""
    heading, found = report.heading("What if", 3), one.what_if
    if found is None:
        return [heading, report.paragraph(one.why_not)]
    stride = built.agent.model.stride
    text = (
        f"From step {found.start} of this episode the top level alone imagines {found.ticks} ticks "
        f"of {stride} environment steps: first with the actor choosing at every tick (its most "
        "likely chunk), then with a single primitive action held throughout. Of all held actions, "
        "those whose futures differ most are shown. All rows share the same noise, so they differ "
        "only by the actions. Then the lower levels follow, and level 1 is decoded. At rest, every "
        "number is as close to 0 as possible and every choice is its first class; the other rows "
        "differ from that in what they name."
    )
    dots = (
        "Imagined frames, with the true ones above. Right: discounted window rewards plus the "
        f"critic's value at the end, in environment units, for {config.samples} noise samples "
        "(light) and their mean; for what happened, the same from real rewards and the critic's "
        "value of the belief at that time."
    )
    lines = (
        "The same futures: rewards and values are means over the noise samples, observations are "
        "those of the frames above."
    )
    return [
        heading,
        report.paragraph(text),
        report.figure(draw_what_if(found, config.columns), dots),
        report.figure(draw_promises(found, one.trace, stride), lines),
    ]


def all_settings(built: Built) -> str:
    """All settings of the run, in a collapsed block."""
    rows = [[name, str(value)] for name, value in settings_of(built.config).items()]
    return report.details("All settings of the run", report.table(["setting", "value"], rows))


def numbers(looked: list[EpisodeInspection], command: str) -> dict[str, object]:
    """The report's numbers, for JSON; nan becomes null."""

    def plain(x: float | np.floating[Any]) -> float | None:
        return None if np.isnan(x) else round(float(x), 5)

    episodes = []
    for one in looked:
        found, levels = one.what_if, one.trace.levels
        futures = None
        if found is not None:
            means = found.returns.mean(1)
            rows = dict(zip(found.names, map(plain, means), strict=True))
            futures = {"start": found.start, "ticks": found.ticks, "imagined_return": rows}
            futures["observed_return"] = plain(found.observed)
        error = np.abs(np.asarray(one.trace.foreseen - one.trace.observed))
        error = error[np.isfinite(error)]
        episodes.append(
            {
                "return": plain(one.reward.sum()),
                "steps": len(one.reward) - 1,
                "terminal": one.terminal,
                "kl": [plain(np.nanmean(level.kl)) for level in levels],
                "prior_entropy": [plain(np.nanmean(level.prior_entropy)) for level in levels],
                "window_reward_foreseen_error": plain(error.mean() if len(error) else np.nan),
                "what_if": futures,
            }
        )
    return {"command": command, "episodes": episodes}
