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
        "Mean sum of rewards of the evaluation's episodes, the same worlds every time; `newest` by "
        "the parameters of the last update in place of their average, `sampled` by samples in "
        "place of modes.",
    ),
    Number(
        r"eval/(return|sampled_return|newest_return)_95|eval/sampled_(?!return).*",
        "returns",
        "intervals, and sampled episodes",
        "Half-widths of 95% intervals over an evaluation's episodes, and what else is known of "
        "sampled ones.",
    ),
    Number(
        "episode/return", "returns", "episodes in training", "Sum of an episode's rewards, sampled."
    ),
    Number("(eval|episode)/success", "returns", "success", "Share of episodes that succeed."),
    Number("(eval|episode)/length", "returns", "length", "Environment steps of an episode."),
    Number(
        "eval/(foreseen|discounted)",
        "returns",
        "foreseen, and what came",
        "What the critic foresaw at an evaluation's first observations, and the discounted return "
        "that came. Foreseen far above it, the agent exploits errors of its model.",
    ),
    Number(
        "return/(imagined|foreseen|observed)|value",
        "imagination",
        "returns",
        "Means over a batch: λ-returns of imagined paths, the critic's value where they start; and "
        "of replayed sequences the return that came (`observed`) with what the critic foresaw of "
        "it.",
    ),
    Number(
        "window_reward/(imagined|observed)",
        "imagination",
        "rewards of windows",
        "Mean discounted reward of a window, in imagination and in replay.",
    ),
    Number(
        "window_reward/(error|foreseen_error|foreseen_bias|gap)",
        "imagination",
        "errors of windows' rewards",
        "Mean absolute error of the reward head from the belief, and one tick ahead from the prior "
        "(`foreseen`), whose mean error is its bias; `gap`: imagined minus observed.",
    ),
    Number(
        "novelty/(imagined|replayed|bonus)",
        "imagination",
        "novelty",
        "What the ensemble disagrees about, as a share of how much observations vary, one window "
        "ahead and in replay; `bonus`: what that adds to an imagined window's reward.",
    ),
    Number("(eval/)?loss/model", "world model", "loss", "The world model's loss, nats."),
    Number(
        r"(eval/)?kl/level\d+",
        "world model",
        "KL per level",
        "KL of posterior from prior, nats per tick: what a level takes in that it had not "
        "foreseen.",
    ),
    Number(
        r"(eval/)?prior_entropy/level\d+",
        "world model",
        "entropy of the priors",
        "Nats per tick; of Gaussians differential, so it may be negative.",
    ),
    Number(
        r"(eval/)?(kl/(begins|changes|weight)|ticks/level\d+)",
        "world model",
        "clocks that are learned",
        "Of VTA and DLH: KL of when a level ticks, nats per frame; the weight of all KL while it "
        "is raised; share of frames at which a level ticks.",
    ),
    Number(
        "(eval/)?nll/.*",
        "world model",
        "reconstruction",
        "Negative log-likelihood of observations, nats per frame; `newest` and `recent`: decoded "
        "from the top level; `by_long`: of LMC-Memory, recalled by a long stretch.",
    ),
    Number(
        "loss/(total|actor|critic|reward|cont|codec|ensemble)|codec/.*",
        "behaviour",
        "losses",
        "Parts of the agent's loss.",
    ),
    Number(
        "actor/(spread|spread_first)",
        "behaviour",
        "spread of actions",
        "Entropy of the actor as a share: 0 smallest deviation or one class, 1 largest or uniform; "
        "`first`: of a plan's first action. Held near `agent.behaviour.entropy_target`.",
    ),
    Number(
        "actor/(entropy_scale|prior_kl)",
        "behaviour",
        "regulariser",
        "Mean weight of the entropy bonus; of codes the KL of the policy from their prior, nats.",
    ),
    Number(
        "actor/return_scale",
        "behaviour",
        "scale of returns",
        "By which returns are divided: their 5th to 95th percentile, 1 at least.",
    ),
    Number(
        "grad_norm|update/skipped",
        "updates",
        "gradient",
        "Norm before clipping; updates so far that were not finite and changed nothing.",
    ),
    Number(
        "speed/share_.*",
        "updates",
        "where time goes",
        "Share of wall time since the last line: acting in environments, sampling, waiting for "
        "updates, evaluating.",
    ),
    Number(
        "speed/((env_)?steps_per_s|updates_per_s|seeds)",
        "updates",
        "speed",
        "Per second of wall time since the last line.",
    ),
    Number("memory/.*", "updates", "memory", "Peak, GiB."),
    Number(
        "replay/.*|data/.*|env/.*",
        "updates",
        "data",
        "Environment steps and GB in replay; frames of video seen; environments started again.",
    ),
)
"""All logged numbers, in the order in which TensorBoard shows them: returns first."""


def number(name: str) -> Number | None:
    """The entry of `NUMBERS` for a logged number; None if it has none."""
    return next((one for one in NUMBERS if re.fullmatch(one.names, name)), None)
