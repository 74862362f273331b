"""The agent's loss: what it fills in, where imagination starts, who moves whom."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from gymnasium import spaces

from agents.actions import ActionCodec
from agents.actor_critic import ActorCriticConfig
from agents.agent import Agent, action_width
from agents.config import AgentConfig
from agents.dreamer import (
    decoder_loss,
    draw_starts,
    estimate,
    fill_absorbing,
    foreseen_returns,
    head_loss,
    initial_aux,
    known_windows,
    make_loss,
    seek_novelty,
)
from agents.imagination import Trajectory
from agents.returns import observed_returns
from worldmodel.clockwork import ClockworkConfig
from worldmodel.learner import (
    OptimizerConfig,
    initial_state,
    make_optimizer,
    make_update,
    split,
)
from worldmodel.level import Belief, State
from worldmodel.networks import symlog
from worldmodel.objective import normal_log_prob
from worldmodel.records import Records

MakeAgent = Callable[..., Agent]
MakeRecords = Callable[[int, int, int], Records]
BOX = spaces.Box(-1, 1, (2,))
LOOKAHEAD = ClockworkConfig(window="lookahead")


def ends(records: Records, row: int, at: int, until: int, terminal: bool) -> Records:
    """Ends the episode of a row on arriving at `at`; padding as the sampler lays it, to `until`."""
    pad = np.zeros(records.mask.shape, bool)
    pad[row, at + 1 : until] = True

    def zero(x: jax.Array) -> jax.Array:
        return jnp.where(pad.reshape(*pad.shape, *[1] * (x.ndim - 2)), 0, x).astype(x.dtype)

    first = zero(records.is_first)
    if until < pad.shape[1]:
        first = first.at[row, until].set(True)
    return records._replace(
        action=zero(records.action),
        action_mask=zero(records.action_mask),
        reward=zero(records.reward),
        terminal=zero(records.terminal).at[row, at].set(terminal),
        is_first=first,
        mask=zero(records.mask),
    )


def test_absorbing_steps_get_actions_that_were_taken(make_records: MakeRecords) -> None:
    records = make_records(3, 12, 2)
    records = ends(records, 0, 4, 9, terminal=True)
    records = ends(records, 1, 5, 12, terminal=False)
    records = ends(records, 2, 7, 12, terminal=True)
    got = jax.jit(fill_absorbing)(records, jax.random.key(0))
    absorbing = np.zeros((3, 12), bool)
    absorbing[0, 5:9] = absorbing[2, 8:] = True
    np.testing.assert_array_equal(got.action_mask, np.maximum(records.action_mask, absorbing))
    for name, new, old in zip(Records._fields, got, records, strict=True):
        if name not in ("action", "action_mask", "obs"):
            np.testing.assert_array_equal(new, old)
    action = np.asarray(got.action)
    np.testing.assert_array_equal(action[~absorbing], records.action[~absorbing])
    real = (np.asarray(records.mask) > 0) & ~np.asarray(records.is_first)
    taken = {tuple(a) for a in np.asarray(records.action)[real]}
    drawn = [tuple(a) for a in action[absorbing]]
    assert set(drawn) <= taken and len(set(drawn)) > 4


def test_without_any_action_nothing_is_drawn(make_records: MakeRecords) -> None:
    records = make_records(2, 4, 2)._replace(action_mask=jnp.zeros((2, 4)))
    got = fill_absorbing(records, jax.random.key(0))
    np.testing.assert_array_equal(got.action, records.action)


def test_imagination_starts_where_there_is_something_to_do(
    make_agent: MakeAgent, make_records: MakeRecords
) -> None:
    """At real steps that are not terminal; those come first when not all fit."""
    agent, lead, length = make_agent(BOX, (1, 2), starts=11), 1, 8
    records = ends(make_records(2, lead + length, 2), 0, 4, 9, terminal=True)
    time = jnp.arange(2.0 * length).reshape(2, length, 1)
    belief = Belief(State(time, -time), {}, {})
    starts = draw_starts(agent, records, (belief, belief), jax.random.key(0))
    alive = {*range(3), *range(8, 16)}  # row 0: main times 0 to 2; the terminal is 3
    np.testing.assert_array_equal(starts.alive, np.ones(11))
    assert {int(t) for t in starts.state.h[:, 0]} == alive
    np.testing.assert_array_equal(starts.state.z, -starts.state.h)
    everything = draw_starts(
        make_agent(BOX, (1, 2), starts=99), records, (belief, belief), jax.random.key(0)
    )
    assert everything.alive.shape == (16,) and everything.alive.sum() == 11


PARTS = ("model", "reward", "cont", "critic", "actor", "ensemble")


@pytest.mark.parametrize("strides", [pytest.param((1,), marks=pytest.mark.slow), (1, 2)])
def test_who_moves_whom(
    make_agent: MakeAgent, make_records: MakeRecords, strides: tuple[int, ...]
) -> None:
    """Model and heads by their own losses alone, the actor, the critic and the ensemble of novelty
    by their own."""
    space = spaces.Tuple((spaces.Box(-1, 1, (1,)), spaces.Discrete(2)))
    agent = make_agent(space, strides, novelty=0.5)
    graph, params = split(agent)
    loss, aux = make_loss(graph), initial_aux(params, agent)
    records = make_records(2, 4 + strides[-1] - 1, 3)

    @jax.jit
    @jax.jacrev
    def jacobian(params: Any, records: Records) -> dict[str, jax.Array]:
        _, (_, metrics) = loss(params, aux, records, jax.random.key(0))
        world = metrics["loss/model"] + metrics["loss/reward"] + metrics["loss/cont"]
        actor, critic = metrics["loss/actor"], metrics["loss/critic"]
        ensemble = metrics["loss/ensemble"]
        return {"world": world, "actor": actor, "critic": critic, "ensemble": ensemble}

    moved = {
        name: {p for p in PARTS if any(np.any(x != 0) for x in jax.tree.leaves(grads[p]))}
        for name, grads in jacobian(params, records).items()
    }
    assert moved["world"] == {"model", "reward", "cont"}
    assert moved["actor"] == {"actor"}
    assert moved["critic"] == {"critic"}
    assert moved["ensemble"] == {"ensemble"}


def test_imagined_rewards_hold_the_bonus_of_novelty(
    make_agent: MakeAgent, make_records: MakeRecords
) -> None:
    """β W (d - d̄) of the h that every imagined window ends in, by a loop, with d̄ of the windows
    that end at the same tick on the paths still going; β 0.5, W 2."""
    agent = make_agent(BOX, novelty=0.5)
    records = make_records(2, agent.model.lead + 6, 2)
    width, count = agent.config.model.deter, agent.model.features
    h, z = jax.random.normal(jax.random.key(0), (2, 6, width)), jnp.zeros((2, 6, count - width))
    beliefs = (Belief(State(h, z), {}, {}),)
    features = 3.0 * jax.random.normal(jax.random.key(1), (3, 5, count))
    none, goes = jnp.zeros((3, 4)), np.array([1.0, 0.5, 0.8])
    cont = jnp.asarray(np.tile(goes[:, None], 4), jnp.float32)
    path = Trajectory(features, none, none, none, none + 7.0, cont, jnp.ones(3))
    _, seeking, metrics = seek_novelty(agent, agent, records, beliefs, path)
    x = np.asarray(symlog(records.obs["x"]))[:, agent.model.lead :].reshape(12, -1)
    varies = x.var(0).sum()

    def novelty(h: jax.Array) -> float:
        predicted = np.asarray(agent.ensemble(h[None]))[:, 0]
        return float(np.sqrt(predicted.var(0).sum() / varies))

    known = np.mean([novelty(one) for one in h.reshape(12, width)])
    novel = np.array([[novelty(features[i, j + 1, :width]) for j in range(4)] for i in range(3)])
    mean = [np.average(novel[:, j], weights=goes**j) for j in range(4)]
    expected = 7.0 + 0.5 * 2 * (novel - mean)
    np.testing.assert_allclose(seeking.reward, expected, rtol=1e-4)
    assert float(metrics["novelty/replayed"]) == pytest.approx(known, rel=1e-4)
    assert float(seeking.reward.max()) > 7.1


def test_the_ensemble_learns_from_windows_that_a_terminal_closes_early(
    make_agent: MakeAgent, make_records: MakeRecords
) -> None:
    """By a plain loop: the tick after the terminal's, K = 2, is taught the terminal's frame."""
    agent = make_agent(BOX, novelty=0.5)
    records = ends(make_records(1, agent.model.lead + 6, 2), 0, 3, 7, terminal=True)
    width, count = agent.config.model.deter, agent.model.features
    h = jax.random.normal(jax.random.key(0), (1, 6, width))
    beliefs = (Belief(State(h, jnp.zeros((1, 6, count - width))), {}, {}),)
    none = jnp.zeros((1, 1))
    path = Trajectory(jnp.zeros((1, 2, count)), none, none, none, none, none, jnp.ones(1))
    _, _, metrics = seek_novelty(agent, agent, records, beliefs, path)
    x = np.asarray(symlog(records.obs["x"]))[0]
    target = x[[1, 2, 3, 3]]  # of the ticks at 1 to 4; 5 and 6 are padding
    error = (np.asarray(agent.ensemble(h[0, :4])) - target) ** 2
    expected = error.sum(-1).mean() / target.var(0).sum()
    assert float(metrics["loss/ensemble"]) == pytest.approx(expected, rel=1e-4)


def test_a_plans_rewards_are_compared_with_those_of_as_many_steps(
    make_agent: MakeAgent, make_records: MakeRecords
) -> None:
    """Of a flat model with plans of 3: a reward of 1 a step, discounted."""
    agent = make_agent(BOX, (1,), plan=3)
    records = make_records(1, 6, 2)
    records = records._replace(reward=jnp.ones((1, 6)))
    features = jnp.zeros((1, 6, agent.model.features))
    width = agent.config.model.deter
    state = State(features[..., :width], features[..., width:])
    prior = {"mean": state.z, "std": jnp.ones_like(state.z)}
    _, metrics = head_loss(agent, records, (Belief(state, prior, prior),))
    discount = agent.config.behaviour.discount
    assert float(metrics["window_reward/observed"]) == pytest.approx(
        1 + discount + discount**2, rel=1e-5
    )


def test_imagined_rewards_are_told_without_the_bonus(
    make_agent: MakeAgent, make_records: MakeRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`window_reward/imagined` and its gap are the same whatever the bonus; returns are not."""
    agent = make_agent(BOX, novelty=0.5)
    graph, params = split(agent)
    aux, records = initial_aux(params, agent), make_records(2, agent.model.lead + 6, 2)

    def told(extra: float) -> Any:
        monkeypatch.setattr("agents.dreamer.bonus", lambda d, *rest: jnp.full(d.shape, extra))
        return jax.jit(make_loss(graph))(params, aux, records, jax.random.key(0))[1][1]

    without, rewarded = told(0.0), told(5.0)
    for name in ("window_reward/imagined", "window_reward/gap"):
        np.testing.assert_allclose(rewarded[name], without[name], atol=1e-5)
    assert rewarded["return/imagined"] > without["return/imagined"] + 4.0


@pytest.mark.learning
def test_update_learns_and_is_deterministic(
    make_agent: MakeAgent,
    make_records: MakeRecords,
    seeds: list[int],
    margins: Callable[..., None],
) -> None:
    """40 updates on one batch; the margin is the share of a loss that went."""
    agent = make_agent(BOX)
    graph, params = split(agent)
    optimizer = make_optimizer(OptimizerConfig(lr=3e-3, warmup=0))
    update = make_update(make_loss(graph), optimizer)
    records = make_records(4, 9, 2)

    def run(seed: int, updates: int) -> list[dict[str, Any]]:
        copy = jax.tree.map(jnp.array, params)
        state, seen = initial_state(copy, initial_aux(copy, agent), optimizer), []
        for key in jax.random.split(jax.random.key(seed), 40)[:updates]:
            state, metrics = update(state, records, key)
            seen.append(jax.tree.map(float, metrics))
        return seen

    runs = [run(seed, 40) for seed in seeds]
    assert run(seeds[0], 5) == runs[0][:5]
    assert all(np.isfinite(x) for seen in runs for metrics in seen for x in metrics.values())
    for name in ("loss/model", "loss/reward"):
        margins([1 - seen[-1][name] / seen[0][name] for seen in runs])


def test_unlabelled_video_teaches_no_reward(
    make_agent: MakeAgent, make_records: MakeRecords
) -> None:
    """Rows whose actions are unknown have unknown rewards too: the heads do not see them."""
    agent = make_agent(BOX)
    model = agent.model
    records = make_records(4, model.lead + 6, 2)
    unknown = records._replace(action_mask=records.action_mask.at[2:].set(0.0))
    beliefs = jax.jit(lambda r: model.observe(r, model.draw_noise(jax.random.key(0), 4, 6)))(
        unknown
    )
    losses = jax.jit(lambda r, b: head_loss(agent, r, b)[1])
    mixed = losses(unknown, beliefs)
    alone = losses(*jax.tree.map(lambda x: x[:2], (unknown, beliefs)))
    for name in ("loss/reward", "loss/cont", "window_reward/observed"):
        np.testing.assert_allclose(mixed[name], alone[name], rtol=1e-5)
    known = losses(records, beliefs)
    assert abs(float(known["loss/reward"] - mixed["loss/reward"])) > 1e-4


def test_the_top_decodes_its_newest_frame_and_the_recent_ones_sum(
    make_agent: MakeAgent, make_records: MakeRecords
) -> None:
    """At every real tick, by a plain loop over ticks and frames; strides (1, 4), two episodes. The
    sum is known where its 8 frames are in the sequence, or an episode's first."""
    agent, lead = make_agent(BOX, (1, 4), recent_decoder=0.5), 3
    records = ends(make_records(1, lead + 12, 2), 0, lead + 5, lead + 8, terminal=True)
    features = jax.random.normal(jax.random.key(7), (1, 12, agent.model.features))
    total, metrics = decoder_loss(agent, records, features)
    x, mask = symlog(records.obs["x"])[0], np.asarray(records.mask)[0]
    newest, recent = agent.newest(features)[0], agent.recent(features)[0]
    begins, nlls, sums = (0, lead + 8), [], []
    begun = np.cumsum(records.is_first[0]) > 0
    for n, t in enumerate(range(lead, lead + 12)):
        if not mask[t]:
            continue
        start = max(b for b in begins if b <= t)
        seen = [x[s] for s in range(max(start, t - 7), t + 1) if mask[s]]
        nlls.append(-normal_log_prob(x[t], newest[n], 1.0).sum())
        if begun[t] or t >= 7:
            sums.append(-normal_log_prob(sum(seen) / 8**0.5, recent[n], 1.0).sum())
    expected = [np.mean(nlls), np.mean(sums)]
    assert len(nlls) == 10 and sums
    found = [metrics["nll/newest"], metrics["nll/recent"]]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(total, expected[0] + 0.5 * expected[1], rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "decoded"),
    [
        ({}, True),
        ({"newest": False}, False),
        ({"model": ClockworkConfig(strides=(1,))}, False),
        ({"model": ClockworkConfig(strides=(1, 1))}, True),
    ],
)
def test_no_frame_is_decoded_twice(settings: dict[str, Any], decoded: bool) -> None:
    """With one level the model's own decoder reads the top."""
    agent = nnx.eval_shape(
        lambda: Agent(AgentConfig(**settings), {"x": (4,)}, ActionCodec(BOX), nnx.Rngs(0))
    )
    assert ("newest" in split(agent)[1]) == decoded


def test_observed_returns_beside_foreseen_ones(
    make_agent: MakeAgent, make_records: MakeRecords
) -> None:
    """Where the next window is known: what really came, by hand, and the critic's value there."""
    agent = make_agent(BOX, lam=1.0)
    model, records = agent.model, make_records(2, agent.model.lead + 6, 2)

    @jax.jit
    def look() -> tuple[dict[str, jax.Array], jax.Array]:
        belief = model.observe(records, model.draw_noise(jax.random.key(0), 2, 6))[-1]
        value = agent.predict_value(belief.state.features)
        return foreseen_returns(agent, records, belief), value

    metrics, value = look()
    gamma, r, main = agent.config.behaviour.discount, records.reward, model.lead
    by_hand = []  # strides (1, 2): windows end at t+2, t+4, ... within 6 steps
    for row in range(2):
        for t in range(4):
            last = t + (5 - t) // 2 * 2
            steps = sum(gamma ** (i - t - 1) * r[row, main + i] for i in range(t + 1, last + 1))
            by_hand.append(steps + gamma ** (last - t) * value[row, last])
    np.testing.assert_allclose(metrics["return/observed"], np.mean(by_hand), rtol=1e-4)
    np.testing.assert_allclose(metrics["return/foreseen"], np.mean(value[:, :4]), rtol=1e-4)


@pytest.mark.parametrize(
    ("settings", "width"),
    [
        ({"keep_plan": 0.5}, 3),
        ({"keep_plan": 0.5, "open_loop": True}, 3),
        ({}, 2),
        ({"keep_plan": 0.5, "model": ClockworkConfig(strides=(1,))}, 2),
        ({"keep_plan": 0.5, "codec": "latent"}, 2),
    ],
)
def test_kept_plans_of_several_actions_are_marked(settings: dict[str, Any], width: int) -> None:
    """Two floats of the environment, and the mark where there are plans to go on with."""
    config = AgentConfig(**settings)
    codec = ActionCodec(BOX)
    assert action_width(config, codec) == width
    agent = nnx.eval_shape(lambda: Agent(config, {"x": (4,)}, codec, nnx.Rngs(0)))
    assert agent.model.action_width == width


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"behaviour": ActorCriticConfig(horizon=0)}, "horizon: expected 1 or more"),
        ({"behaviour": ActorCriticConfig(discount=1.5)}, "discount: expected from 0 to 1"),
        ({"behaviour": ActorCriticConfig(starts=0)}, "starts: expected 1 or more"),
        ({"noise_correlation": -0.1}, "noise_correlation: expected from 0 to 1"),
        ({"recent_decoder": float("nan")}, "recent_decoder: expected a finite number"),
        ({"plan": 6}, "plan: expected a multiple of the top stride 4 .* received 6"),
        (
            {"plan": 8, "codec": "latent"},
            "plan: expected 0 or the top stride 4 with",
        ),
        ({"keep_plan": 1.1}, "keep_plan: expected from 0 to 1"),
        ({"model": LOOKAHEAD}, "window: expected 'causal'"),
    ],
)
def test_settings_that_cannot_train(settings: dict[str, Any], message: str) -> None:
    codec = ActionCodec(BOX)
    with pytest.raises(ValueError, match=message):
        Agent(AgentConfig(**settings), {"x": (4,)}, codec, nnx.Rngs(0))


def test_estimate_moves_the_scale_of_the_model_alone() -> None:
    """A batch of 1 and 3 in symlog units: mean 2, mean square 5; all else stays the same array."""
    config = AgentConfig(model=ClockworkConfig(deter=4, hidden=4, stoch=2, scale_vectors=True))
    codec = ActionCodec(BOX)
    params = split(Agent(config, {"x": (1,)}, codec, nnx.Rngs(0)))[1]
    x = jnp.exp(jnp.array([[[1.0], [3.0]]])) - 1.0
    zeros = jnp.zeros((1, 2))
    records = Records({"x": x}, zeros[..., None], zeros, zeros, zeros > 0, zeros > 0, zeros + 1.0)
    moved = estimate(params, records)
    scale = moved["model"]["scale"]
    np.testing.assert_allclose([scale["mean"]["x"][0], scale["square"]["x"][0]], [2, 5], rtol=1e-5)
    assert scale["batches"] == 1

    def rest(tree: Any) -> list[Any]:
        model = {k: v for k, v in tree["model"].items() if k != "scale"}
        return jax.tree.leaves({**tree, "model": model})

    assert all(a is b for a, b in zip(rest(moved), rest(params), strict=True))


def test_observed_returns_are_of_discount_and_lambda_per_window(
    make_agent: MakeAgent, make_records: MakeRecords
) -> None:
    """Settings are per step; a window is of two."""
    agent = make_agent(BOX, lam=0.7)
    records = make_records(1, agent.model.lead + 6, 2)
    x = jax.random.normal(jax.random.key(0), (1, 6, agent.model.features))
    width = agent.config.model.deter
    told = foreseen_returns(agent, records, Belief(State(x[..., :width], x[..., width:]), {}, {}))
    windows = jax.tree.map(lambda w: w[0], known_windows(agent, records))
    found = observed_returns(windows, agent.predict_value(x)[0], 2, 0.99**2, 0.7**2)
    known = np.asarray(found.known) > 0
    np.testing.assert_allclose(told["return/observed"], found.returns[known].mean(), rtol=1e-5)
