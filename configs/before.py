"""Changes to the settings and checkpoints of runs, by format number.

A run records the `FORMAT` with which it was written (`config.json`); one without a number has
format 1. To remove, rename or merge a setting, or to remove parameters, increase `FORMAT` (once per
release is enough), add the change under its number below, and add a small run of the previous
format to `tests/golden/runs`. A *new* setting needs no entry here: it is declared with what older
runs did, `Annotated[float, Before(0.0)]` (`common/fields.py`). A change names the dataclass of the
field, so that it applies wherever that is nested. Changes are applied in the order listed here, to
an outer dataclass before those within it. Applied by `training/older.py`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from common import UserError
from worldmodel.config import ARCHITECTURES, Architecture

FORMAT = 5

ACTIONS = {"min_std": 0.1, "max_std": 1.0, "unimix": 0.01}


@dataclass(frozen=True)
class Gone:
    """A setting that was removed."""

    config: str
    """Class name of the dataclass that had the field."""
    name: str
    held: tuple[Any, ...] | None
    """The values, as JSON, with which the run did what the current code does; None: all."""
    meant: str
    """What the setting controlled, in a few words."""
    remedy: str
    """What to do with a run that has another value."""


@dataclass(frozen=True)
class Renamed:
    """A setting that was renamed and kept its meaning."""

    config: str
    old: str
    new: str


@dataclass(frozen=True)
class Converted:
    """Settings that were merged or changed their meaning. `convert` maps the old object to the new
    one; it may modify the old one in place, or raise UserError with the remedy."""

    config: str
    convert: Callable[[dict[str, Any]], dict[str, Any]]


Change = Gone | Renamed | Converted


def gone(config: str, name: str, value: Any, meant: str) -> Gone:
    """A setting that became a constant with this value."""
    return Gone(config, name, (value,), meant, "use the version named in versions.json")


def all_phases(model: dict[str, Any]) -> dict[str, Any]:
    """Whether to train at every phase is now determined by the window."""
    causal = model["window"] == "causal"
    if model.pop("all_phases", causal) != causal:
        raise UserError(
            "all_phases: expected True, received False: a causal top is trained at every phase of "
            "its clock; use the version named in versions.json"
        )
    return model


def architecture(model: dict[str, Any]) -> dict[str, Any]:
    """Eight settings became a choice of two architectures, and the units of the MLPs over frame
    embeddings, which used to default to other widths, are made explicit."""
    if "act" not in model:
        return model
    built = {name: model.pop(name) for name in Architecture._fields}
    known = [name for name, networks in ARCHITECTURES.items() if networks._asdict() == built]
    hidden = model.pop("embed_hidden") or model["hidden"]
    frame = known == ["original"]  # the output is as wide as the frame embedding
    if not known or (model["embed"] != 0 if frame else hidden != model["hidden"]):
        raise UserError(
            f"architecture: expected that of {' or '.join(ARCHITECTURES)}, received {built}, embed "
            f"{model['embed']} and embed_hidden {hidden}; use the version "
            "named in versions.json"
        )
    return model | {"architecture": known[0], "embed": hidden if frame else model["embed"]}


def newest(agent: dict[str, Any]) -> dict[str, Any]:
    """The weight of the decoder of the newest observation became a Boolean."""
    if agent["newest"] not in (0.0, 1.0):
        raise UserError(
            f"newest: expected weight 1 or 0, received {agent['newest']}: it is a switch today; "
            "use the version named in versions.json"
        )
    return agent | {"newest": agent["newest"] == 1.0}


def open_loop(agent: dict[str, Any]) -> dict[str, Any]:
    """Steps between plans became a Boolean: replan at every step, or execute whole plans."""
    stride, steps = agent["model"]["strides"][-1], agent.pop("replan", 1)
    if steps not in (1, stride):
        raise UserError(
            f"replan: expected 1 or the top stride {stride}, received {steps}: plans are remade at "
            "every step or executed whole; use the version named in versions.json"
        )
    return agent | {"open_loop": steps == stride > 1}


def kept_plans(agent: dict[str, Any]) -> dict[str, Any]:
    """Kept plans are always marked. With `open_loop`, the marks alone determine `keep_plan`."""
    marked, several = agent.pop("mark_plans", False), agent["model"]["strides"][-1] > 1
    if agent["codec"] != "chunk" or not several:
        return agent
    if agent["open_loop"]:
        return agent | {"keep_plan": (agent["keep_plan"] or 1.0) if marked else 0.0}
    if marked != (agent["keep_plan"] > 0):
        raise UserError(
            f"mark_plans: expected {agent['keep_plan'] > 0} with keep_plan {agent['keep_plan']}, "
            f"received {marked}: plans that are kept are marked; use the version "
            "named in versions.json"
        )
    return agent


def environment_time(agent: dict[str, Any]) -> dict[str, Any]:
    """Settings per tick of the top level, or per step regardless of the stride, are now per
    environment step: the horizon, λ (0.95 per tick) and the share of plans that are kept."""
    stride, behaviour = agent["model"]["strides"][-1], agent["behaviour"]
    converted = {
        "horizon": behaviour["horizon"] * stride,
        "lam": behaviour.get("lam", 0.95) ** (1 / stride),
    }
    kept = float(agent["keep_plan"] ** max(1, stride - 1))
    return agent | {"behaviour": behaviour | converted, "keep_plan": kept}


def recent_decoder(agent: dict[str, Any]) -> dict[str, Any]:
    """The decoded sum is now over 8 observations instead of those of a window."""
    weight, stride = agent.pop("window_decoder", 0.0), agent["model"]["strides"][-1]
    if weight and stride not in (1, 8):
        raise UserError(
            f"window_decoder: expected 0, or a top stride of 8, received {weight} and {stride}: "
            "the sum over 8 observations is decoded today; use the version named in "
            "versions.json"
        )
    return agent | {"recent_decoder": weight if stride == 8 else 0.0}


def half_life(model: dict[str, Any]) -> dict[str, Any]:
    """The initial bias of the gates, equal at every level, became a half-life."""
    bias, strides = model.pop("keep_bias", 0.0), model["strides"]
    if bias and len(set(strides)) > 1:
        raise UserError(
            f"keep_bias: expected 0 with strides {strides}, received {bias}: gates are set in "
            "environment steps, by half_life; use the version named in versions.json"
        )
    kept = 1 / (1 + math.exp(-bias))
    return model | {"half_life": math.log(2) / -math.log(kept) if bias else 0.0}


LATENT = {"size": 8, "min_std": 0.1, "kl": 0.1, "actor_kl": 0.01}


def latent(agent: dict[str, Any]) -> dict[str, Any]:
    """The settings of the latent codec became constants."""
    for name, value in agent.pop("latent", {}).items():
        if value != LATENT[name]:
            raise UserError(
                f"latent.{name}: expected {LATENT[name]}, received {value!r}: the setting of "
                "learned codes was removed; use the version named in versions.json"
            )
    return agent


def hidden(agent: dict[str, Any]) -> dict[str, Any]:
    """Actor, critic and heads are as wide as the model's hidden layers."""
    behaviour = dict(agent["behaviour"])
    units = behaviour.pop("hidden", agent["model"]["hidden"])
    if units != agent["model"]["hidden"]:
        raise UserError(
            f"behaviour.hidden: expected that of the model, {agent['model']['hidden']}, received "
            f"{units}: they are one setting today; use the version named in "
            "versions.json"
        )
    return agent | {"behaviour": behaviour}


def navigate(env: dict[str, Any]) -> dict[str, Any]:
    """Settings specific to Navigate became options of that environment."""
    dense, limit = env.pop("dense", True), env.pop("camera_limit", 15.0)
    held = " ".join(env.pop("held_keys", ()))
    if env["name"] != "minerl_navigate":
        return env
    options = {"dense": str(dense), "camera_limit": f"{limit:g}", "held_keys": held}
    return env | {"options": options | env.get("options", {})}


def hallways(data: dict[str, Any]) -> dict[str, Any]:
    """The generator that resembles the public mazes has a name of its own."""
    return data | {"name": "hallways" if data["name"] == "mazes" else data["name"]}


CHANGES: dict[int, tuple[Change, ...]] = {
    2: (
        Renamed("TrainConfig", "video_ratio", "recordings_share"),
        Converted("ClockworkConfig", all_phases),
        Converted("ClockworkConfig", architecture),
        gone("ClockworkConfig", "unimix", 0.01, "uniform share of a categorical latent"),
        gone("ObjectiveConfig", "dyn", 0.5, "weight of the KL that trains the prior"),
        gone("ObjectiveConfig", "rep", 0.1, "weight of the KL that trains the posterior"),
        Converted("AgentConfig", newest),
        Converted("AgentConfig", open_loop),
        Converted("AgentConfig", kept_plans),
        gone("AgentConfig", "average_rate", 0.005, "least weight of the newest in their average"),
        gone("AgentConfig", "actions", ACTIONS, "deviations and uniform share of actions"),
        gone("ActorCriticConfig", "gradient", "dynamics", "the actor's gradient"),
        gone("ActorCriticConfig", "entropy_rate", 0.05, "speed of the entropy bonus"),
        gone("ActorCriticConfig", "layers", 2, "hidden layers of actor, critic and heads"),
        gone("ActorCriticConfig", "slow_rate", 0.02, "speed of the slow critic"),
        gone("ActorCriticConfig", "slow_weight", 1.0, "weight of the slow critic"),
        gone("ActorCriticConfig", "scale_rate", 0.02, "speed of the range of returns"),
    ),
    3: (
        gone("TrainConfig", "episode_starts", 0.0, "share of sequences from episodes' starts"),
        Converted("AgentConfig", environment_time),
        Converted("AgentConfig", recent_decoder),
        Converted("ClockworkConfig", half_life),
    ),
    4: (
        Gone("TrainConfig", "eval_steps", None, "steps of an evaluation's episode at most", ""),
        gone("AgentConfig", "burn_in", 0, "steps of a sequence that nothing is learned from"),
        Converted("AgentConfig", latent),
        Converted("AgentConfig", hidden),
        Converted("EnvConfig", navigate),
        Gone("ReplayConfig", "open_maps", None, "files kept mapped at once", ""),
    ),
    5: (Converted("DataConfig", hallways),),
}
"""Changes by the format that introduced them; a run is converted by those of all later formats."""

LEAVES: dict[int, tuple[tuple[str, str | None], ...]] = {
    2: ((r"(.*/)?newest/.*", None),),  # of agents with one level
    3: ((r"(.*/)?window/(.*)", r"\1recent/\2"),),
}
"""Leaves of a checkpoint (parameters, optimiser) that were moved or removed, by the format that
changed them: a regular expression for the whole path, and its replacement, as for
`re.Match.expand`, or None. A leaf whose old path exists in the current state is left alone. All
other leaves must exist unchanged."""
