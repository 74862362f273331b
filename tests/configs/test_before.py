"""Settings that are gone: what today's code does is taken, anything else is named."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from agents.agent import plans_marked
from configs.schema import TrainConfig
from configs.video import PretrainConfig
from envs.options import NavigateOptions, navigate_options
from training.config_json import decode
from training.older import to_today

RUNS = Path(__file__).parents[1] / "golden" / "runs"


def written(run: str) -> Any:
    """The settings of a run that 04f8b22 wrote."""
    with tarfile.open(RUNS / f"{run}_04f8b22.tar.xz") as archive:
        member = next(m for m in archive.getmembers() if m.name.endswith("config.json"))
        return json.load(io.TextIOWrapper(archive.extractfile(member), encoding="utf-8"))  # type: ignore[arg-type]


def agent_of(tree: Any) -> TrainConfig:
    config: TrainConfig = decode(TrainConfig, to_today(TrainConfig, tree), "")
    return config


@pytest.mark.parametrize("run", ["pendulum", "codes"])
def test_an_agents_settings_are_todays(run: str) -> None:
    agent = agent_of(written(run)).agent
    model = agent.model
    assert (model.architecture, model.embed, model.window) == ("ours", 16, "causal")
    assert (agent.newest, agent.open_loop, agent.recent_decoder) == (True, False, 0)
    behaviour = written(run)["agent"]["behaviour"]
    assert agent.keep_plan == pytest.approx(0.7**3)  # strides (1, 4): each step kept by 0.7
    assert agent.keep_probability == pytest.approx(0.7)
    assert agent.imagined == behaviour["horizon"]
    assert agent.behaviour.lam**4 == pytest.approx(0.95)
    assert model.keep_bias(4) == 0


@pytest.mark.parametrize(
    ("replan", "keep", "marked", "today"),
    [
        (4, 0.7, True, (True, 0.7**3)),
        (4, 0.0, True, (True, 1.0)),  # executed whole, none is kept longer: the marks alone count
        (4, 0.7, False, (True, 0.0)),
        (1, 0.0, False, (False, 0.0)),
    ],
)
def test_marked_plans_are_kept_plans(
    replan: int, keep: float, marked: bool, today: tuple[bool, float]
) -> None:
    tree = written("pendulum")
    tree["agent"] |= {"replan": replan, "keep_plan": keep, "mark_plans": marked}
    agent = agent_of(tree).agent
    assert (agent.open_loop, agent.keep_plan) == pytest.approx(today)
    assert plans_marked(agent) == marked


def test_a_videos_settings_are_todays() -> None:
    config: PretrainConfig = decode(PretrainConfig, to_today(PretrainConfig, written("video")), "")
    assert (config.model.architecture, config.model.embed) == ("original", 16)
    assert config.model.window == "lookahead"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("agent.model.all_phases", False, "all_phases: expected True, received False"),
        ("agent.model.act", "relu", "architecture: expected that of ours or original"),
        ("agent.model.embed_hidden", 7, "architecture: .* embed_hidden 7"),
        ("agent.model.unimix", 0.1, "agent.model.unimix: expected 0.01, received 0.1"),
        ("agent.newest", 0.5, "newest: expected weight 1 or 0, received 0.5"),
        ("agent.replan", 2, "replan: expected 1 or the top stride 4, received 2"),
        ("agent.mark_plans", False, "mark_plans: expected True with keep_plan 0.7"),
        ("agent.actions.min_std", 0.2, "agent.actions: expected .* received"),
        ("agent.behaviour.gradient", "reinforce", "agent.behaviour.gradient: expected 'dynamics'"),
        ("agent.model.keep_bias", 2.0, "keep_bias: expected 0 with strides"),
        ("agent.window_decoder", 1.0, "window_decoder: expected 0, or a top stride of 8"),
        ("agent.behaviour.hidden", 7, "behaviour.hidden: expected that of the model, 16"),
        ("agent.objective.dyn", 1.0, "agent.objective.dyn: expected 0.5, received 1.0"),
    ],
)
def test_what_today_cannot_do_is_named(path: str, value: Any, message: str) -> None:
    tree = written("pendulum")
    *outer, name = path.split(".")
    inner = tree
    for part in outer:
        inner = inner[part]
    assert name in inner
    inner[name] = value
    with pytest.raises(ValueError, match=message):
        agent_of(tree)


@pytest.mark.parametrize(
    ("latent", "message"),
    [
        ({"size": 4}, "latent.size: expected 8, received 4"),
        ({"kl": 0.3}, "latent.kl: expected 0.1, received 0.3"),
        ({"actor_kl": 0.3}, "latent.actor_kl: expected 0.01, received 0.3"),
    ],
)
def test_learned_codes_are_todays(latent: dict[str, float], message: str) -> None:
    tree = written("codes")
    tree["agent"]["latent"] |= latent
    with pytest.raises(ValueError, match=message):
        agent_of(tree)


def test_what_was_set_of_navigate_alone_became_its_options() -> None:
    tree = written("pendulum")
    assert agent_of(tree).env.options == {}
    held = {"dense": False, "camera_limit": 5.0, "held_keys": ["jump=1", "attack=0"]}
    tree["env"] |= {"name": "minerl_navigate", **held, "options": {"goal_distance": "16"}}
    env = agent_of(tree).env
    assert navigate_options(env) == NavigateOptions(
        False, 5.0, {"jump": 1, "attack": 0}, {"goal_distance": 16}
    )
