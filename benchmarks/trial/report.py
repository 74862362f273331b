"""Tables and figures of the trial, from the test runs that have ended. docs/protocol.md."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from benchmarks.trial.chance import Chance
from benchmarks.trial.cost import Cost
from benchmarks.trial.scores import holm, interval, iqm, order, permutation
from benchmarks.trial.tasks import TEST, Task
from replay.atomic import write_text

PAIRS = (("E4", "A"), ("E4", "D4"), ("E4", "C4"))  # of hypotheses 1 to 3
KINDS = ("sampled", "greedy")
ORDER = ("A", "E2", "E4", "E8")  # of hypothesis 4, K = 1, 2, 4, 8
Found = dict[str, dict[str, Any]]  # environment -> arm -> result
Costs = dict[str, dict[str, Cost]]  # environment -> arm -> what its program costs
Chances = dict[str, Chance]  # environment -> what random actions earn there
READINGS = (
    "That these rest on two choices was found after the runs (docs/protocol.md, Departures), so "
    "each p-value is given again: with returns of random actions as measured over many more "
    "episodes, and without the two memory tasks of navix as well, where an arm whose actions are "
    "held for four steps turns by a full circle and so can never turn."
)


def write_report(folder: Path, found: Found, costs: Costs, chances: Chances) -> Path:
    """Write the tables, and a figure per hypothesis with results; return the path of the tables."""
    lines = ["# The trial of clocks", "", "By docs/protocol.md. Scores are returns of the last "]
    lines[-1] += "quarter, mean ± deviation over seeds; sampled actions, greedy in brackets."
    lines += ["", "## Equal updates", "", *table(found, {})]
    lines += ["", "## Equal processor time of one core", "", *told(costs), "", *table(found, costs)]
    rest = {env: {arm: x for arm, x in of.items() if arm[0] != "C"} for env, of in found.items()}
    if any(arm[0] == "C" for own in costs.values() for arm in own):
        lines += ["", "Without arm C, whose actions are held:", "", *table(rest, costs)]
    lines += ["", "## Hypotheses", "", *hypotheses(found, folder)]
    if chances:
        lines += ["", READINGS, "", *readings(found, chances)]
        lines += ["", "## Random actions", "", *by_chance(chances)]
    lines += ["", "## Commands", "", *commands(found)]
    path = folder / "trial.md"
    write_text(path, "\n".join(lines) + "\n")
    print(path)
    return path


def score(
    task: Task, result: dict[str, Any], kind: str, cost: Cost | None = None, budget: float = 0.0
) -> np.ndarray:
    """Scores by seed: of the last quarter, or of the last evaluation within a budget, nan if there
    was none. Failed seeds count with the return of random actions."""
    failed = [task.random] * len(result["failed"])
    if not result["seeds"]:
        return np.array(failed)
    if cost is None:
        return np.array([*result["last_quarter"][kind], *failed])
    within = [i for i, spent in enumerate(cost.at(result)) if spent <= budget * (1 + 1e-9)]
    ended = result[kind][within[-1]] if within else [np.nan] * len(result["seeds"])
    return np.array([*ended, *failed])


def told(costs: Costs) -> list[str]:
    """What the second table compares."""
    unit = min((cost.product for arms in costs.values() for cost in arms.values()), default=0.0)
    return [
        "Each arm at the last evaluation within the time that the cheapest arm takes in all, in "
        "products of two float32 matrices of 1024 by 1024, with which its steps and updates were "
        f"measured alternately (`--stage cost`; one takes {1e3 * unit:.0f} ms of a core). "
        "Compilation and evaluations are left out."
    ]


def table(found: Found, costs: Costs) -> list[str]:
    """Scores by task and arm: of the last quarter, or within the cheapest arm's time."""
    arms = sorted({arm for results in found.values() for arm in results})
    rows = [f"| task | {' | '.join(arms)} |", "|---" * (1 + len(arms)) + "|"]
    for task in TEST:
        results, own = found.get(task.env, {}), costs.get(task.env, {})
        ran = [arm for arm in own if results.get(arm, {}).get("seeds")]
        whole = {arm: own[arm].at(results[arm])[-1] for arm in ran}
        note = f" ({min(whole.values()):.0f} products a seed)" if whole else ""
        budget = min(whole.values(), default=0.0)
        shown_arms = [arm if not costs or arm in whole else "" for arm in arms]
        cells = [shown(task, results.get(arm), own.get(arm), budget) for arm in shown_arms]
        rows.append(f"| `{task.env}`{note} | {' | '.join(cells)} |")
    return rows


def shown(task: Task, result: dict[str, Any] | None, cost: Cost | None, budget: float) -> str:
    """One cell of the table."""
    if result is None:
        return "–"
    sampled, greedy = (score(task, result, kind, cost, budget) for kind in KINDS)
    failed = f", failed: seeds {', '.join(result['failed'])}" if result["failed"] else ""
    mean, deviation = sampled.mean(), sampled.std(ddof=1)
    digits = 2 if abs(task.good) <= 1 else 1
    numbers = (f"{x:.{digits}f}" for x in (mean, deviation, greedy.mean()))
    return "{} ± {} ({})".format(*numbers) + failed


def pooled(
    found: Found, arms: Sequence[str], tasks: Sequence[Task] = TEST
) -> tuple[list[str], list[list[np.ndarray]]]:
    """Those of the tasks on which all these arms have results, and each arm's normalised scores on
    them."""
    ran = [task for task in tasks if all(arm in found.get(task.env, {}) for arm in arms)]
    scores = [
        [task.normalised(score(task, found[task.env][arm], "sampled")) for task in ran]
        for arm in arms
    ]
    return [task.env for task in ran], scores


def readings(found: Found, chances: Chances) -> list[str]:
    """Table of each hypothesis's p-value on other readings of the same runs."""
    again = [replace(task, random=chances[task.env].mean) for task in TEST]
    others = [task for task in again if not task.env.startswith("navix:")]
    rows = ["| | random actions measured | p | without navix | p |", "|---|---|---|---|---|"]
    for number, arms in enumerate((*PAIRS, ORDER), start=1):
        name, cells = _named(number, arms), []
        for tasks in (again, others):
            ran, scores = pooled(found, arms, tasks)
            if not ran:
                return rows
            rho, p = _judged(arms, scores)
            cells += [f"{rho}{'; '.join(map(estimate, arms, scores))}", f"{p:.4f}"]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return rows


def _named(number: int, arms: Sequence[str]) -> str:
    return f"{number}. " + (f"{arms[0]} over {arms[1]}" if len(arms) == 2 else "order in K")


def _judged(arms: Sequence[str], scores: list[list[np.ndarray]]) -> tuple[str, float]:
    """(what is said before the estimates, p-value)."""
    if len(arms) == 2:
        return "", permutation(scores[0], scores[1])
    rho, p = order((1, 2, 4, 8), scores)
    return f"ρ {rho:.2f}; ", p


def by_chance(chances: Chances) -> list[str]:
    """Table of what random actions earn."""
    rows = [
        "| task | as fixed in the protocol, 64 episodes | measured ± standard error | episodes |"
    ]
    rows.append("|---|---|---|---|")
    for task in TEST:
        found = chances[task.env]
        measured = f"{found.mean:.3g} ± {found.error:.2g}"
        rows.append(f"| `{task.env}` | {task.random:g} | {measured} | {found.episodes:,} |")
    return rows


def hypotheses(found: Found, folder: Path) -> list[str]:
    """Table of the hypotheses, with a figure each, pooled over tasks that all its arms have run."""
    rows = ["| | tasks | pooled, interquartile mean (95%) | p | Holm |", "|---|---|---|---|---|"]
    said: list[tuple[str, int, str, float]] = []
    for number, arms in enumerate((*PAIRS, ORDER), start=1):
        tasks, scores = pooled(found, arms)
        if tasks:
            before, p = _judged(arms, scores)
            text = before + "; ".join(map(estimate, arms, scores))
            said.append((_named(number, arms), len(tasks), text, p))
            figure(folder / f"hypothesis_{number}.png", tasks, arms, scores)
    judged = [p for _, tasks_run, _, p in said if tasks_run == len(TEST)]
    yet = len(PAIRS) + 1 - len(judged)  # not judged, so their p-values may turn out to be 1
    adjusted = iter(holm([*judged, *[1.0] * yet]))
    for name, tasks_run, text, p in said:
        complete = tasks_run == len(TEST)
        told = f"{tasks_run}" if complete else f"{tasks_run} (not all yet)"
        corrected = f"{next(adjusted):.4f}" if complete else "–"
        rows.append(f"| {name} | {told} | {text} | {p:.4f} | {corrected} |")
    return rows if said else ["No hypothesis has all its arms on any task yet."]


def estimate(arm: str, scores: list[np.ndarray]) -> str:
    """Interquartile mean with its interval."""
    low, high = interval(scores)
    return f"{arm} {iqm(scores):.2f} ({low:.2f} to {high:.2f})"


def figure(
    path: Path, tasks: Sequence[str], arms: Sequence[str], scores: Sequence[list[np.ndarray]]
) -> None:
    """Plot every run as a point, by task and arm, with the means."""
    figure, axes = plt.subplots(figsize=(1.5 + 1.4 * len(tasks), 3.2))
    for number, (arm, by_task) in enumerate(zip(arms, scores, strict=True)):
        shift = (number - (len(arms) - 1) / 2) * 0.18
        for at, x in enumerate(by_task):
            axes.plot(np.full(len(x), at + shift), x, ".", color=f"C{number}", alpha=0.5)
            label = arm if at == 0 else None
            axes.plot(at + shift, x.mean(), "_", color=f"C{number}", ms=14, mew=2, label=label)
    axes.set_xticks(range(len(tasks)), [t.split(":")[1] for t in tasks], rotation=20, fontsize=7)
    axes.set_ylabel("normalised score, last quarter")
    axes.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def commands(found: Found) -> list[str]:
    """The command and device of each result."""
    rows = []
    for results in found.values():
        for result in results.values():
            device = result["versions"].get("device", "")
            rows.append(f"- {result['arm']}: `{result['command']}` ({device})")
    return rows
