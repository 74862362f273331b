"""The agent's loss as a whole: of which parts it is, whom each moves, what it asks of its parts."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from gymnasium import spaces

from agents import dreamer
from agents.agent import Agent
from agents.dreamer import initial_aux, make_loss
from worldmodel.learner import split
from worldmodel.records import Records

MakeAgent = Callable[..., Agent]
MakeRecords = Callable[[int, int, int], Records]
BOX = spaces.Box(-1, 1, (2,))


def test_the_total_is_of_all_parts_and_the_slow_critic_is_the_carried_one(
    make_agent: MakeAgent, make_records: MakeRecords
) -> None:
    """Every part moves its own parameters; the slow critic follows from where it was."""
    agent = make_agent(BOX, recent_decoder=0.5, novelty=0.5)
    graph, params = split(agent)
    records, first = make_records(2, agent.model.lead + 6, 2), initial_aux(params, agent)

    @jax.jit
    def run(aux: Any) -> Any:
        loss = jax.value_and_grad(make_loss(graph), has_aux=True)
        return loss(params, aux, records, jax.random.key(0))

    slow = jax.tree.map(lambda x: x + 1.0, params["critic"])
    (total, (after, told)), grads = run(first._replace(slow_critic=slow))
    names = [f"loss/{x}" for x in ("model", "reward", "cont", "ensemble", "actor", "critic")]
    parts = sum(told[name] for name in (*names, "nll/newest")) + 0.5 * told["nll/recent"]
    np.testing.assert_allclose(total, parts, rtol=1e-5)
    for part in ("model", "reward", "cont", "critic", "actor", "newest", "recent", "ensemble"):
        assert any(np.any(x) for x in jax.tree.leaves(grads[part])), part
    moved = jax.tree.map(lambda s, c: s + 0.02 * (c - s), slow, params["critic"])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), after.slow_critic, moved)
    assert run(first)[0][1][1]["loss/critic"] != told["loss/critic"]
    assert float(after.high) != 0 and float(after.low) != 0  # percentiles follow the returns


@pytest.mark.parametrize(
    ("strides", "plan", "told"), [((1, 2), 0, (3, 1, 2)), ((1,), 3, (2, 3, 3))]
)
def test_what_is_asked_of_imagination_and_of_its_losses(
    make_agent: MakeAgent,
    make_records: MakeRecords,
    monkeypatch: pytest.MonkeyPatch,
    strides: tuple[int, ...],
    plan: int,
    told: tuple[int, int, int],
) -> None:
    """Of 6 steps: how many plans, ticks and steps of each; absorbing steps are filled."""
    agent, seen = make_agent(BOX, strides, plan=plan, novelty=0.5), {}

    def spy(name: str, *which: int) -> None:
        real = getattr(dreamer, name)

        def spied(*given: Any) -> Any:
            seen[name] = [given[i] for i in which]
            return real(*given)

        monkeypatch.setattr(dreamer, name, spied)

    spy("fill_absorbing")
    spy("imagine_path", 6, 7)
    spy("behaviour_targets", 2)
    spy("bonus", 3)
    spy("actor_loss", 3)
    graph, params = split(agent)
    records = make_records(2, agent.model.lead + 6, agent.model.action_width)
    jax.eval_shape(make_loss(graph), params, initial_aux(params, agent), records, jax.random.key(0))
    plans, ticks, steps = told
    assert seen == {
        "fill_absorbing": [],
        "imagine_path": [plans, ticks],
        "behaviour_targets": [steps],
        "bonus": [steps],
        "actor_loss": [steps * 2],  # two controls each
    }
