"""The numbers that runs log: what each means, and its place in TensorBoard's layout.

Read next: `logger.py`, which writes them; `metrics.py`, which reads them back.
"""

import re
from typing import NamedTuple


class Number(NamedTuple):
    """Numbers drawn in one chart."""

    names: str  # a regular expression that matches whole names
    category: str
    chart: str
    text: str  # their meaning and units


NUMBERS = (
    Number(
        r"eval/(return|newest_return|sampled_return)",
        "returns",
        "greedy agent, in evaluations",
        "Mean sum of rewards over the evaluation's episodes, with the same seeds every time. "
        "`newest`: with the parameters of the last update instead of their average; `sampled`: "
        "with sampled actions instead of modes.",
    ),
    Number(
        r"eval/(return|sampled_return|newest_return)_95|eval/sampled_(?!return).*",
        "returns",
        "intervals, and sampled episodes",
        "Half-widths of 95% intervals over an evaluation's episodes, and further statistics of "
        "episodes with sampled actions.",
    ),
    Number(
        "episode/return",
        "returns",
        "episodes in training",
        "Sum of an episode's rewards, with sampled actions.",
    ),
    Number("(eval|episode)/success", "returns", "success", "Share of episodes that succeed."),
    Number("(eval|episode)/length", "returns", "length", "Environment steps of an episode."),
    Number(
        "eval/(foreseen|discounted)",
        "returns",
        "predicted and observed return",
        "The critic's prediction at the first observations of an evaluation (`foreseen`), and the "
        "discounted return that followed. A prediction far above it means that the agent exploits "
        "errors of its model.",
    ),
    Number(
        "return/(imagined|foreseen|observed)|value",
        "imagination",
        "returns",
        "Means over a batch: λ-returns of imagined paths and the critic's value at their starts; "
        "for replayed sequences, the observed return and the critic's prediction of it "
        "(`foreseen`).",
    ),
    Number(
        "window_reward/(imagined|observed)",
        "imagination",
        "window rewards",
        "Mean discounted reward of a window, in imagination and in replay.",
    ),
    Number(
        "window_reward/(error|foreseen_error|foreseen_bias|gap)",
        "imagination",
        "errors of window rewards",
        "Mean absolute error of the reward head from the belief, and from the prior one tick ahead "
        "(`foreseen`; its mean error is the bias); `gap`: imagined minus observed.",
    ),
    Number(
        "novelty/(imagined|replayed|bonus)",
        "imagination",
        "novelty",
        "The ensemble's disagreement as a share of the observations' variation, one window ahead, "
        "in imagination and in replay; `bonus`, in older runs: what it added to a window's reward.",
    ),
    Number("(eval/)?loss/model", "world model", "loss", "The world model's loss, nats."),
    Number(
        r"(eval/)?kl/level\d+",
        "world model",
        "KL per level",
        "KL of the posterior from the prior, nats per tick (DLH: per frame): the information that "
        "a level takes in and did not predict.",
    ),
    Number(
        r"(eval/)?prior_entropy/level\d+",
        "world model",
        "entropy of the priors",
        "Nats per tick (DLH: per frame); differential entropy for Gaussians, which may be "
        "negative.",
    ),
    Number(
        r"(eval/)?(kl/(begins|changes|weight)|ticks/level\d+)",
        "world model",
        "learned clocks",
        "VTA and DLH: KL of the times at which a level ticks, nats per frame; the weight of all KL "
        "while it is ramped up; share of frames at which a level ticks.",
    ),
    Number(
        "(eval/)?nll/.*",
        "world model",
        "reconstruction",
        "Negative log-likelihood of observations, nats per frame; `newest` and `recent`: decoded "
        "from the top level; `by_long`: for LMC-Memory, with memory recalled by a long clip.",
    ),
    Number(
        "loss/(total|actor|critic|reward|cont|codec|ensemble)|codec/.*",
        "behaviour",
        "losses",
        "Terms of the agent's loss.",
    ),
    Number(
        "actor/(spread|spread_first)",
        "behaviour",
        "spread of actions",
        "Entropy of the actor as a share: 0 is the smallest deviation or a single class, 1 the "
        "largest or uniform; `first`: of a plan's first action. It is kept near "
        "`agent.behaviour.entropy_target`.",
    ),
    Number(
        "actor/(entropy_scale|prior_kl)",
        "behaviour",
        "regulariser",
        "Mean weight of the entropy bonus; for codes, the KL of the policy from their prior, nats.",
    ),
    Number(
        "actor/return_scale",
        "behaviour",
        "scale of returns",
        "The divisor of returns: the range from their 5th to their 95th percentile, at least 1.",
    ),
    Number(
        "grad_norm|update/skipped",
        "updates",
        "gradient",
        "Gradient norm before clipping; number of updates so far that were not finite and changed "
        "nothing.",
    ),
    Number(
        "speed/share_.*",
        "updates",
        "time shares",
        "Share of wall time since the last logged line: acting in environments, sampling, waiting "
        "for updates, evaluating.",
    ),
    Number(
        "speed/((env_)?steps_per_s|updates_per_s|seeds)",
        "updates",
        "speed",
        "Per second of wall time since the last logged line.",
    ),
    Number("memory/.*", "updates", "memory", "Peak, GiB."),
    Number(
        "replay/.*|data/.*|env/.*",
        "updates",
        "data",
        "Environment steps and GB in replay; video frames seen; restarted environments.",
    ),
)
"""All logged numbers, in the order in which TensorBoard shows them: returns first."""


def number(name: str) -> Number | None:
    """The entry of `NUMBERS` for a logged number; None if it has none."""
    return next((one for one in NUMBERS if re.fullmatch(one.names, name)), None)
