"""A run's result in a sentence or two: its return compared with random actions and with its first
evaluation, and the critic's prediction compared with the actual return.

Read next: `overview.py`, what ran.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from agents.statistics import half_width, plus_minus
from analysis.pages import report


def evaluations(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Rows of the metrics that contain an evaluation."""
    return [row for row in rows if "eval/return" in row]


def verdict_section(rows: Sequence[Mapping[str, Any]], chance: np.ndarray) -> list[str]:
    """The result in sentences, and its numbers in a table.

    Args:
      rows: of metrics.jsonl.
      chance: [n] returns of episodes under random actions in the evaluation environments.
    """
    found = evaluations(rows)
    numbers = [("random actions, the same seeds", sampled(chance))] if len(chance) else []
    if not found:
        table = [report.table(["", "return"], numbers)] if numbers else []
        return [report.lead("The agent has not been evaluated."), *table]
    last, first, best = found[-1], found[0], max(found, key=lambda row: row["eval/return"])
    said = [compared(last, chance)]
    numbers = [(f"greedy agent, step {last['step']:,}", told(last)), *numbers]
    if len(found) > 1:
        change = last["eval/return"] - first["eval/return"]
        said.append(f"Its first evaluation was {first['eval/return']:.4g}: {change:+.4g} since.")
        numbers.append((f"first evaluation, step {first['step']:,}", told(first)))
        numbers.append((f"best evaluation, step {best['step']:,}", told(best)))
    if "eval/foreseen" in last:
        said.append(promised(last["eval/foreseen"], last["eval/discounted"]))
    return [report.lead(" ".join(said)), report.table(["", "return"], numbers)]


def compared(last: Mapping[str, Any], chance: np.ndarray) -> str:
    """The last evaluation compared with random actions."""
    text = f"The greedy agent's return is {told(last)}"
    if "eval/success" in last:
        text += f", with {last['eval/success']:.0%} of episodes successful"
    if not len(chance):
        return f"{text}."
    middle = float(chance.mean())
    gap = last["eval/return"] - middle
    room = last.get("eval/return_95", np.nan) + float(half_width(chance))
    if np.isnan(room):
        return f"{text}; that of random actions is {middle:.4g}. One episode does not tell more."
    if abs(gap) <= room:
        return f"{text}, not distinguishable from random actions, {middle:.4g}."
    return f"{text}, {'above' if gap > 0 else 'below'} random actions, {middle:.4g}."


def promised(foreseen: float, came: float) -> str:
    """The critic's prediction at first observations, compared with the actual discounted return."""
    gap = foreseen - came
    much = "too much" if gap > 0 else "too little"
    return (
        f"At the first observations its critic predicted a discounted return of {foreseen:.4g}; "
        f"{came:.4g} was observed: {abs(gap):.3g} {much}."
    )


def told(row: Mapping[str, Any]) -> str:
    """An evaluation's return with its 95% interval over episodes."""
    return plus_minus(row["eval/return"], row.get("eval/return_95"), 2, " (95%)")


def sampled(scores: np.ndarray) -> str:
    """The mean of episodes' returns with its 95% interval."""
    return plus_minus(float(scores.mean()), float(half_width(scores)), 2, " (95%)")
