"""The latent codec: densities, windows by hand, the loss against a plain loop, who moves whom."""

from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from agents.actions import ActionCodec
from agents.actor_critic import BehaviourState, BehaviourTargets, actor_loss
from agents.agent import Agent
from agents.codec import Codes
from agents.dreamer import initial_aux, make_loss
from agents.imagination import Trajectory
from agents.latent import ACTOR_KL, LatentCodec, intervals
from worldmodel.learner import (
    OptimizerConfig,
    initial_state,
    join,
    make_optimizer,
    make_update,
    split,
)
from worldmodel.level import Belief, State
from worldmodel.records import Records

MakeAgent = Callable[..., Agent]
MakeRecords = Callable[[int, int, int], Records]
BOX = spaces.Box(-1, 1, (2,))
MIXED = spaces.Tuple((spaces.Box(-1, 1, (2,)), spaces.Discrete(3), spaces.MultiBinary(1)))


def codec_of(agent: Agent) -> LatentCodec:
    return cast(LatentCodec, agent.codec)


def test_log_prob_of_given_actions() -> None:
    """By hand of one action, and of samples what `sample` says of them."""
    c = ActionCodec(MIXED)
    outputs = 0.3 * jax.random.normal(jax.random.key(0), (50, c.outputs))
    outputs = outputs.at[:, 2:4].set(-9.0)  # hardly ever clipped
    drawn = jax.jit(c.sample)(outputs, jax.random.key(1))
    mean, std = np.tanh(outputs[:, :2]), 0.1 + 0.9 / (1 + np.exp(-outputs[:, 2:4]))
    score = (drawn.flat[:, :2] - mean) / std
    of_box = np.sum(-0.5 * score**2 - np.log(std * np.sqrt(2 * np.pi)), axis=-1)
    got = jax.jit(c.log_prob)(outputs, drawn.flat)
    np.testing.assert_allclose(got, of_box + drawn.log_prob, rtol=1e-4)
    x, a = np.asarray(outputs[0], np.float64), np.array([0.5, -1, 0, 1, 0, 0, 1])
    std = 0.1 + 0.9 / (1 + np.exp(9.0))
    density = -0.5 * ((a[:2] - np.tanh(x[:2])) / std) ** 2 - np.log(std * np.sqrt(2 * np.pi))
    choice = 0.99 * np.exp(x[4:7]) / np.exp(x[4:7]).sum() + 0.01 / 3
    bit = 0.99 * np.exp(x[7:]) / np.exp(x[7:]).sum() + 0.01 / 2
    expected = density.sum() + np.log(choice[1]) + np.log(bit[1])
    hand = jnp.asarray(np.float32([*a[:2], 0, 1, 0, 0, 1]))
    np.testing.assert_allclose(c.log_prob(outputs[0], hand), expected, rtol=1e-4)


def test_codes_are_gaussian_and_their_entropy_is_relative_to_the_prior(
    make_agent: MakeAgent,
) -> None:
    """-KL by hand; the sample passes the actor's gradient, the KL none to the prior."""
    agent = make_agent(BOX, codec="latent")
    codec, features = codec_of(agent), jax.random.normal(jax.random.key(0), (4, 11))
    outputs = jax.random.normal(jax.random.key(1), (4, 16))
    sample = jax.jit(codec.sample)(outputs, features, jax.random.key(2))
    mean, std = outputs[:, :8], jax.nn.softplus(outputs[:, 8:]) + 0.1
    noise = jax.random.normal(jax.random.key(2), (4, 8))
    np.testing.assert_allclose(sample.flat, mean + std * noise, rtol=1e-5)
    np.testing.assert_array_equal(sample.log_prob, np.zeros(4))
    numbers = codec.prior(features)
    m, s = numbers[:, :8], jax.nn.softplus(numbers[:, 8:]) + 0.1
    kl = np.sum(np.log(s / std) + (std**2 + (mean - m) ** 2) / (2 * s**2) - 0.5, axis=1)
    np.testing.assert_allclose(sample.entropy[:, 0], -kl, rtol=1e-4)
    np.testing.assert_allclose(codec.mode(outputs), mean)
    graph, params = split(codec)

    def entropy(params: Any, outputs: Any) -> jax.Array:
        return join(graph, params).sample(outputs, features, jax.random.key(2)).entropy.sum()

    of_prior, of_actor = jax.jit(jax.grad(entropy, (0, 1)))(params, outputs)
    assert not any(np.any(x) for x in jax.tree.leaves(of_prior)) and np.all(of_actor != 0)


def test_the_actor_pays_for_its_distance_from_the_prior() -> None:
    """-E_w[ G/scale - η KL ], by hand for two starts of one tick."""
    path = Trajectory(
        features=jnp.zeros((2, 2, 1)),
        action=jnp.zeros((2, 1, 3)),
        log_prob=jnp.zeros((2, 1)),
        entropy=-jnp.array([[[2.0]], [[4.0]]]),
        reward=jnp.zeros((2, 1)),
        cont=jnp.zeros((2, 1)),
        alive=jnp.ones(2),
    )
    returns = jnp.array([[10.0], [30.0]])
    targets = BehaviourTargets(returns, jnp.ones((2, 1)), jnp.zeros((2, 1)))
    aux = BehaviourState({}, jnp.zeros(()), jnp.full((), 5.0), jnp.full(1, np.log(0.1)))
    loss = actor_loss(path, targets, aux, 1)
    np.testing.assert_allclose(loss, -((10 / 5 - 0.2) + (30 / 5 - 0.4)) / 2, rtol=1e-5)


def by_time(agent: Agent, length: int) -> tuple[Records, tuple[Belief, ...], Codes]:
    """One sequence, K = 3, whose beliefs, actions and codes tell the main time that they are of."""
    model = agent.model
    time = jnp.arange(-float(model.lead), length)[None]
    no = jnp.zeros(time.shape, bool)
    action = time[..., None] / 100
    ones = jnp.ones(time.shape)
    first = no.at[:, model.lead].set(True)
    records = Records({"x": jnp.zeros((1, time.shape[1], 4))}, action, ones, ones, no, first, ones)

    def belief(index: int) -> Belief:
        ticks = time[:, model.lead :: model.alignment(index).every, None]
        return Belief(State(ticks, ticks), {}, {})

    code = belief(1).state.h
    return records, (belief(0), belief(1)), Codes(code, {"mean": code, "std": code})


def test_windows_by_hand(make_agent: MakeAgent) -> None:
    """K = 3: the interval from t has the top's belief at t, level 1's at t, t+1, t+2, the actions
    that lead to t+1, t+2, t+3, and the code that conditions the top at t+3."""
    agent = make_agent(spaces.Box(-1, 1, (1,)), (1, 3), "latent")
    part = intervals(agent.model, *by_time(agent, 9))
    starts = np.arange(6)
    np.testing.assert_array_equal(part.top[0, :, 0], starts)
    np.testing.assert_array_equal(part.code[0, :, 0], starts + 3)
    np.testing.assert_array_equal(part.encoded["mean"], part.code)
    steps = starts[:, None] + np.arange(3)
    np.testing.assert_array_equal(part.level1[0, ..., 0], steps)
    np.testing.assert_allclose(part.action[0, ..., 0], (steps + 1) / 100, rtol=1e-6)
    np.testing.assert_array_equal(part.known, np.ones((1, len(starts), 3)))
    np.testing.assert_array_equal(part.valid, np.ones((1, len(starts))))
    short = intervals(agent.model, *by_time(agent, 3))
    assert short.code.shape[1] == 0 and short.level1.shape[1] == 0


@pytest.mark.parametrize(
    ("change", "valid", "unknown"),
    [
        ({"is_first": [3], "mask": [2]}, [3, 4, 5], [2]),  # the next episode starts at 3
        ({"mask": [7, 8]}, [0, 1, 2, 3], [7, 8]),  # a time limit at 6
        ({"mask": [7, 8], "terminal": [6]}, [0, 1, 2, 3, 4, 5], [7, 8]),  # a terminal there
        ({"action_mask": [4]}, [0, 4, 5], [4]),  # an unknown action
    ],
)
def test_masks_by_hand(
    make_agent: MakeAgent, change: dict[str, list[int]], valid: list[int], unknown: list[int]
) -> None:
    """Which intervals (by their start) count, and which actions (by the time that they lead to)."""
    agent = make_agent(spaces.Box(-1, 1, (1,)), (1, 3), "latent")
    records, beliefs, codes = by_time(agent, 9)
    for name, times in change.items():
        index = agent.model.lead + jnp.array(times)
        value = getattr(records, name)
        flipped = value.at[:, index].set(~value[:, index] if value.dtype == bool else 0.0)
        records = records._replace(**{name: flipped})
    part = intervals(agent.model, records, beliefs, codes)
    np.testing.assert_array_equal(np.nonzero(part.valid[0])[0], valid)
    steps = np.arange(6)[:, None] + np.arange(3) + 1
    np.testing.assert_array_equal(part.known[0], ~np.isin(steps, unknown))


def test_codec_loss_is_that_of_a_plain_loop(
    make_agent: MakeAgent, make_records: MakeRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = make_agent(MIXED, (1, 2), "latent")
    model, codec = agent.model, codec_of(agent)
    monkeypatch.setattr("agents.latent.KL", 0.7)
    records = make_records(2, model.lead + 8, codec.actions.width)
    records = records._replace(  # row 1 ends in a terminal at 4
        mask=records.mask.at[1, model.lead + 5 :].set(0.0),
        terminal=records.terminal.at[1, model.lead + 4].set(True),
        is_first=records.is_first.at[:].set(False).at[:, model.lead].set(True),
    )

    @jax.jit
    def run(records: Records) -> Any:
        codes = codec.encode(model, records, jax.random.key(0))
        noise = model.draw_noise(jax.random.key(1), 2, 8)
        beliefs = model.observe(records, noise, code=codes.sample)
        return codes, beliefs, codec.loss(model, records, beliefs, codes)

    codes, beliefs, (got, metrics) = run(records)
    decode, log_prob = jax.jit(codec.decode), jax.jit(codec.actions.log_prob)
    level1, top = (beliefs[n].state.features for n in (0, 1))
    total, kls, count, actions = 0.0, 0.0, 0, 0
    for row, last in ((0, 7), (1, 4)):
        for start in range(min(last, 6)):  # its first action is real, and the sequence holds it all
            for phase in (0, 1):
                time = start + phase
                if time < last:
                    code = codes.sample[row, start + 2]
                    outputs = decode(level1[row, time], code, jnp.array(phase))
                    total -= float(log_prob(outputs, records.action[row, model.lead + time + 1]))
                    actions += 1
            q = {name: x[row, start + 2] for name, x in codes.stats.items()}
            kls += float(codec.latent.kl(q, codec.stats(codec.prior(top[row, start]))))
            count += 1
    np.testing.assert_allclose(got, (total + 0.7 * kls) / count, rtol=1e-4)
    np.testing.assert_allclose(metrics["codec/nll"], total / actions, rtol=1e-4)
    np.testing.assert_allclose(metrics["codec/kl"], kls / count, rtol=1e-4)


def test_the_decoder_reads_level_1_the_code_and_the_phase(make_agent: MakeAgent) -> None:
    codec = codec_of(make_agent(BOX, (1, 4), "latent"))
    features, code = jnp.linspace(-1, 1, 11), jnp.linspace(0.9, -0.5, 8)
    got = codec.decode(features, code, jnp.array(2))
    clock = jnp.array([0.0, 0, 1, 0])
    np.testing.assert_array_equal(got, codec.decoder(jnp.concatenate([features, code, clock])))
    sampled = codec.react(code[None], features[None], jnp.array([2]), jnp.ones((1, 2)))
    mean, std = codec.actions._moments(got)
    np.testing.assert_allclose(sampled[0], np.clip(mean + std, -1, 1), rtol=1e-6)
    mode = codec.react(code[None], features[None], jnp.array([2]), None)
    np.testing.assert_allclose(mode[0], codec.actions.mode(got), rtol=1e-6)


def moved(grads: Any) -> set[str]:
    """Parts whose parameters a gradient reaches; of the model and the codec, their parts."""
    named = {f"{a}/{b}": grads[a].pop(b) for a, b in (("model", "code"), ("codec", "prior"))}
    named["codec/decoder"] = grads["codec"].pop("decoder")
    named |= {name: part for name, part in grads.items() if part}
    return {n for n, part in named.items() if any(np.any(x) for x in jax.tree.leaves(part))}


@pytest.mark.parametrize("strides", [pytest.param((1,), marks=pytest.mark.slow), (1, 2)])
def test_who_moves_whom(
    make_agent: MakeAgent, make_records: MakeRecords, strides: tuple[int, ...]
) -> None:
    """The codec's loss moves encoder, prior and decoder alone; the actor's the actor alone."""
    agent = make_agent(MIXED, strides, "latent")
    graph, params = split(agent)
    loss, aux = make_loss(graph), initial_aux(params, agent)
    records = make_records(2, 4 + strides[-1] - 1, 7)

    @jax.jit
    @jax.jacrev
    def jacobian(params: Any) -> dict[str, jax.Array]:
        _, (_, metrics) = loss(params, aux, records, jax.random.key(0))
        names = ("model", "reward", "codec", "actor", "critic")
        return {name: metrics[f"loss/{name}"] for name in names}

    grads = {name: moved(part) for name, part in jacobian(params).items()}
    assert grads["codec"] == {"model/code", "codec/prior", "codec/decoder"}
    assert grads["actor"] == {"actor"} and grads["critic"] == {"critic"}
    assert grads["model"] == {"model", "model/code"}
    assert grads["reward"] == {"model", "model/code", "reward"}


@pytest.mark.learning
def test_update_learns_and_keeps_the_weight_of_the_kl(
    make_agent: MakeAgent,
    make_records: MakeRecords,
    seeds: list[int],
    margins: Callable[..., None],
) -> None:
    """40 updates on one batch; the margin is the share of a loss that went."""
    agent = make_agent(BOX, codec="latent")
    graph, params = split(agent)
    optimizer = make_optimizer(OptimizerConfig(lr=3e-3, warmup=0), apart=("actor", "critic"))
    update = make_update(make_loss(graph), optimizer)
    records = make_records(4, 9, 2)
    weight = np.log(ACTOR_KL)

    def run(seed: int) -> list[dict[str, Any]]:
        copy = jax.tree.map(jnp.array, params)
        state, seen = initial_state(copy, initial_aux(copy, agent), optimizer), []
        np.testing.assert_allclose(state.aux.log_entropy_scale, [weight], rtol=1e-6)
        for key in jax.random.split(jax.random.key(seed), 40):
            state, metrics = update(state, records, key)
            seen.append(jax.tree.map(float, metrics))
        np.testing.assert_allclose(state.aux.log_entropy_scale, [weight], rtol=1e-6)
        return seen

    runs = [run(seed) for seed in seeds]
    assert all(np.isfinite(x) for seen in runs for metrics in seen for x in metrics.values())
    for name in ("loss/codec", "loss/model"):
        margins([1 - seen[-1][name] / seen[0][name] for seen in runs])


def test_a_chunk_agent_has_no_codec_parameters(make_agent: MakeAgent) -> None:
    params = split(make_agent(BOX))[1]
    assert "codec" not in params and "code" not in params["model"]


def test_no_action_is_held_as_a_code(make_agent: MakeAgent) -> None:
    with pytest.raises(ValueError, match="tell their primitive ones, received .* LatentCodec"):
        make_agent(BOX, codec="latent").codec.hold(jnp.zeros((1, 2)))
