"""Actor and critic: scales by hand, gradients against what is known, and who moves whom."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from agents.actions import ActionCodec
from agents.actor_critic import (
    ActorCriticConfig,
    BehaviourState,
    BehaviourTargets,
    actor_loss,
    behaviour_targets,
    critic_loss,
    return_scale,
    update_entropy_scale,
    update_range,
    weighted_mean,
)
from agents.agent import Agent
from agents.chunk import ChunkCodec
from agents.heads import two_hot, two_hot_mean
from agents.imagination import Trajectory, imagine_path
from worldmodel.learner import join, split
from worldmodel.level import State

CONFIG = ActorCriticConfig(horizon=3, discount=0.9)


def state(low: float = 0.0, high: float = 0.0, log_entropy_scale: float = -100.0) -> BehaviourState:
    """Without an entropy bonus unless asked."""
    ends = jnp.float32(low), jnp.float32(high)
    return BehaviourState({}, *ends, jnp.full(1, log_entropy_scale))


@pytest.mark.parametrize(
    ("low", "high", "scale"), [(0, 0, 1), (0, 0.5, 1), (-0.2, 0.3, 1), (2, 10, 8), (-9, -4, 5)]
)
def test_returns_are_never_scaled_up(low: float, high: float, scale: float) -> None:
    assert return_scale(state(low, high)) == scale


def test_running_percentiles() -> None:
    rng = np.random.default_rng(0)
    returns = rng.normal(3, 10, size=(50, 4)).astype(np.float32)
    weight = (rng.random((50, 4)) < 0.7).astype(np.float32)
    wild = np.where(weight > 0, returns, 1e6)  # what does not count must not
    step = jax.jit(update_range)
    once = step(state(), wild, weight)
    expected = np.percentile(returns[weight > 0], [5, 95])
    np.testing.assert_allclose([once.low, once.high], 0.02 * expected, rtol=1e-4)
    many = state()
    for _ in range(600):
        many = step(many, wild, weight)
    np.testing.assert_allclose([many.low, many.high], expected, rtol=1e-4)
    nothing = step(many, wild, np.zeros_like(weight))
    assert (nothing.low, nothing.high) == (many.low, many.high)


def test_entropy_bonus_follows_its_target() -> None:
    config = ActorCriticConfig(entropy_target=0.4)
    start = state(log_entropy_scale=-5.0)
    start = start._replace(log_entropy_scale=jnp.full(2, -5.0))
    after = update_entropy_scale(start, jnp.array([0.1, 0.9]), config)  # low-entropy, high-entropy
    np.testing.assert_allclose(after.log_entropy_scale, [-5 + 0.015, -5 - 0.025], rtol=1e-6)


def test_targets_by_hand() -> None:
    """H = 2, K = 3: γ^K and λ^K per tick; the advantage is against the value of where it acts."""
    path = Trajectory(
        features=jnp.zeros((1, 3, 1)),
        action=jnp.zeros((1, 2, 1)),
        log_prob=jnp.zeros((1, 2)),
        entropy=jnp.zeros((1, 2, 1)),
        reward=jnp.array([[1.0, 2.0]]),
        cont=jnp.array([[1.0, 0.5]]),
        alive=jnp.ones(1),
    )
    got = behaviour_targets(path, jnp.array([[10.0, 20.0, 30.0]]), 3, CONFIG)
    gamma, lam = 0.9**3, 0.95**3
    last = 2 + gamma * 0.5 * 30
    first = 1 + gamma * ((1 - lam) * 20 + lam * last)
    np.testing.assert_allclose(got.returns, [[first, last]], rtol=1e-5)
    np.testing.assert_allclose(got.advantage, [[first - 10, last - 20]], rtol=1e-5)
    np.testing.assert_allclose(got.weight, [[1, gamma]], rtol=1e-5)


def test_losses_are_weighted_means_over_the_paths_that_count() -> None:
    """Σ w x / (paths that count · H), H = 2, of two of three paths; by hand, all terms."""
    weight = jnp.array([[1.0, 0.5], [0.0, 0.0], [1.0, 0.25]])
    x = jnp.array([[1.0, 2.0], [7.0, 7.0], [3.0, 4.0]])
    assert float(weighted_mean(x, weight)) == (1 + 1 + 3 + 1) / (2 * 2)
    path = Trajectory(
        features=jnp.zeros((3, 3, 1)),
        action=jnp.zeros((3, 2, 1)),
        log_prob=jnp.array([[-1.0, -2.0], [9.0, 9.0], [-3.0, -4.0]]),
        entropy=jnp.full((3, 2, 1), 6.0),
        reward=jnp.zeros((3, 2)),
        cont=jnp.ones((3, 2)),
        alive=jnp.array([1.0, 0.0, 1.0]),
    )
    targets = BehaviourTargets(returns=x, weight=weight, advantage=x - 1.0)
    range_4 = state(1.0, 5.0, float(np.log(0.5)))
    each = np.array(x) / 4 + np.array(path.log_prob) * np.array(x - 1.0) / 4 + 0.5 * 6.0 / 3
    expected = -(np.array(weight) * each).sum() / 4
    assert float(actor_loss(path, targets, range_4, primitives=3)) == pytest.approx(expected)


def bandit_path(sample: Any, reward: jax.Array) -> Trajectory:
    """One imagined tick from states that do not matter, after which all is over."""
    n = reward.shape[0]
    return Trajectory(
        features=jnp.zeros((n, 2, 1)),
        action=sample.flat[:, None],
        log_prob=sample.log_prob[:, None],
        entropy=sample.entropy[:, None],
        reward=reward[:, None],
        cont=jnp.zeros((n, 1)),
        alive=jnp.ones(n),
    )


@pytest.mark.parametrize("baseline", [0.0, 2.0])
@pytest.mark.parametrize("stride", [1, 2])
def test_score_function_climbs_the_bandit(stride: int, baseline: float) -> None:
    """The gradient is that of E[r(u)], computed by summing over all u; any baseline, any K."""
    table = jax.random.normal(jax.random.key(0), (3,) * stride) + 1.0
    codec = ChunkCodec(ActionCodec(spaces.Discrete(3)), stride, False)
    config = ActorCriticConfig(horizon=1)
    logits, n = jnp.array([0.5, -0.3, 0.1, 0.2, 0.0, -0.6])[: 3 * stride], 100_000

    def expected(x: jax.Array) -> jax.Array:
        probs = 0.99 * jax.nn.softmax(codec.slots(x)) + 0.01 / 3
        joint = probs[0] if stride == 1 else probs[0][:, None] * probs[1][None, :]
        return jnp.sum(joint * table)

    def loss(x: jax.Array) -> jax.Array:
        outputs = jnp.broadcast_to(x, (n, x.shape[0]))
        sample = codec.sample(outputs, jnp.zeros((n, 1)), jax.random.key(1))
        reward = table[tuple(jnp.argmax(codec.slots(sample.flat), -1).T)]
        path = bandit_path(sample, reward)
        targets = behaviour_targets(path, jnp.full((n, 2), baseline), stride, config)
        return actor_loss(path, targets, state(), stride)

    got = jax.jit(jax.grad(loss))(logits)
    np.testing.assert_allclose(-got, jax.grad(expected)(logits), atol=0.02)


def test_bandit_mixes_gradients() -> None:
    """A mixed action: its continuous part by the path, its choice by the score."""
    space = spaces.Tuple((spaces.Box(-1, 1, (1,)), spaces.Discrete(2)))
    codec = ChunkCodec(ActionCodec(space), 1, False)
    config = ActorCriticConfig(horizon=1)
    outputs, n = jnp.array([0.1, -3.0, 0.4, -0.2]), 100_000

    def expected(x: jax.Array) -> jax.Array:
        """E[b (1 - (a - 0.5)²)], a ~ N(tanh x0, std), b = 1 or 3 by choice; hardly ever clipped."""
        std = 0.1 + 0.9 * jax.nn.sigmoid(x[1])
        probs = 0.99 * jax.nn.softmax(x[2:]) + 0.005
        return (probs[0] + 3 * probs[1]) * (1 - (jnp.tanh(x[0]) - 0.5) ** 2 - std**2)

    def loss(x: jax.Array) -> jax.Array:
        sample = codec.sample(jnp.broadcast_to(x, (n, 4)), jnp.zeros((n, 1)), jax.random.key(1))
        a, b = sample.flat[:, 0], sample.flat[:, 1] + 3 * sample.flat[:, 2]
        path = bandit_path(sample, b * (1 - (a - 0.5) ** 2))
        targets = behaviour_targets(path, jnp.full((n, 2), 1.0), 1, config)
        return actor_loss(path, targets, state(), 2)

    got = jax.jit(jax.grad(loss))(outputs)
    np.testing.assert_allclose(-got, jax.grad(expected)(outputs), atol=0.02)


def test_entropy_bonus_is_per_primitive() -> None:
    codec = ChunkCodec(ActionCodec(spaces.Discrete(3)), 4, False)
    config = ActorCriticConfig(horizon=1)

    @jax.jit
    @jax.value_and_grad
    def loss(x: jax.Array, scale: jax.Array) -> jax.Array:
        sample = codec.sample(jnp.broadcast_to(x, (5, 12)), jnp.zeros((5, 1)), jax.random.key(1))
        path = bandit_path(sample, jnp.zeros(5))
        targets = behaviour_targets(path, jnp.zeros((5, 2)), 4, config)
        return actor_loss(path, targets, state()._replace(log_entropy_scale=scale), 4)

    np.testing.assert_allclose(loss(jnp.zeros(12), jnp.zeros(4))[0], -np.log(3), rtol=1e-5)
    decided = jnp.tile(jnp.array([2.0, 0, 0]), 4)
    _, pull = loss(decided, jnp.array([0.0, -100, 0, -100]))  # of slots 0 and 2 alone
    first = np.asarray(pull).reshape(4, 3)[:, 0]
    assert np.all(first[[0, 2]] > 0)  # descending it undecides
    np.testing.assert_array_equal(first[[1, 3]], 0)


def start(agent: Agent, n: int) -> State:
    h, z = jax.random.split(jax.random.key(7))
    c = agent.config.model
    return State(jax.random.normal(h, (n, c.deter)), jax.random.normal(z, (n, c.stoch)))


def behaviour(agent: Agent, model: Any, alive: Any = 1.0) -> tuple[Trajectory, BehaviourTargets]:
    path = imagine_path(
        model, agent.act, agent.predict_reward, agent.predict_cont, start(agent, 6),
        jnp.full(6, alive), 3, 1, agent.config.behaviour.discount, jax.random.key(3),
    )  # fmt: skip
    value = agent.predict_value(path.features)
    return path, behaviour_targets(path, value, agent.model.stride, agent.config.behaviour)


def test_a_plan_of_several_ticks_gains_what_its_ticks_gain_as_one_window(
    make_agent: Callable[..., Agent],
) -> None:
    """A flat model under plans of 3 steps: by a plain loop over its ticks, one noise each."""
    agent = make_agent(spaces.Box(-1, 1, (2,)), (1,), keep_plan=0.5, plan=3)
    model = agent.model
    assert (agent.codec.stride, model.action_width) == (3, 3)
    path = imagine_path(
        model, agent.act, agent.predict_reward, agent.predict_cont, start(agent, 6),
        jnp.ones(6), 2, 3, 0.9, jax.random.key(3),
    )  # fmt: skip
    state = start(agent, 6)
    for plan, step_key in enumerate(jax.random.split(jax.random.key(3), 2)):
        noise = model.latent.noise(jax.random.split(step_key)[1], (3, 6))
        chunk = path.action[:, plan].reshape(6, 3, 3)
        np.testing.assert_array_equal(chunk[0, :, 2], [1, 0, 0])
        gain, goes_on = jnp.zeros(6), jnp.ones(6)
        for step in range(3):
            state = model.imagine_top(state, chunk[:, step], noise[step])
            gain += 0.9**step * goes_on * agent.predict_reward(state.features)
            goes_on *= agent.predict_cont(state.features)
        np.testing.assert_allclose(path.features[:, plan + 1], state.features, atol=1e-5)
        np.testing.assert_allclose(path.reward[:, plan], gain, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(path.cont[:, plan], goes_on, rtol=1e-4)


def test_dynamics_gradient_against_differences(make_agent: Callable[..., Agent]) -> None:
    """Noise fixed, the loss is a function of the actor: its slope along 3 directions.

    Smooth but where an action reaches its bound: there the slopes ahead and behind differ, by a few
    per cent, and the gradient is one of those between. A step of 3e-4 meets such a point once in a
    while, and on which machine is chance, so it is the slopes of both sides that bound it.
    """
    agent = make_agent(spaces.Box(-1, 1, (2,)))
    graph, params = split(agent)

    @jax.jit
    @jax.value_and_grad
    def loss(actor: Any, weight: jax.Array) -> jax.Array:
        """-E_w[G], with the weights, which are constants to the gradient, held."""
        whole = join(graph, {**params, "actor": actor})
        path, targets = behaviour(whole, agent.model)
        targets = targets._replace(weight=weight)
        return actor_loss(path, targets, state(), 4)

    weight = jnp.linspace(0.5, 1.0, 18).reshape(6, 3)
    _, slope = loss(params["actor"], weight)
    for seed in range(3):
        leaves, tree = jax.tree.flatten(params["actor"])
        keys = jax.random.split(jax.random.key(seed), len(leaves))
        way = [jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)]
        step = 3e-4  # small: two-hot bins curve the loss; float32 gives the slopes to 0.5%
        moves = [
            jax.tree.unflatten(tree, [x + d * w for x, w in zip(leaves, way, strict=True)])
            for d in (-step, 0.0, step)
        ]
        behind, here, ahead = (float(loss(actor, weight)[0]) for actor in moves)
        low, high = sorted([(here - behind) / step, (ahead - here) / step])
        assert high - low < 0.1 * max(abs(low), abs(high))  # so that the bounds say something
        got = sum(jnp.sum(g * w) for g, w in zip(jax.tree.leaves(slope), way, strict=True))
        slack = 0.01 * max(abs(low), abs(high))
        assert low - slack <= float(got) <= high + slack


def moved(tree: Any) -> bool:
    return any(bool(np.any(np.asarray(x))) for x in jax.tree.leaves(tree))


def test_imagination_touches_the_top_level_alone(make_agent: Callable[..., Agent]) -> None:
    """With nothing frozen: the actor's gradient reaches no other level, encoder or decoder."""
    space = spaces.Tuple((spaces.Box(-1, 1, (1,)), spaces.Discrete(2)))
    agent = make_agent(space, (1, 2, 4))
    graph, params = split(agent)

    def loss(params: Any) -> jax.Array:
        agent = join(graph, params)
        path, targets = behaviour(agent, agent.model)
        return actor_loss(path, targets, state(), 12)

    grads = jax.jit(jax.grad(loss))(params)
    model = grads["model"]
    top = model["levels"].pop(max(model["levels"]))
    assert not moved(model)  # every other level, encoders, decoder, the unknown action
    for name, part in top.items():
        prior = name in ("input", "action_embed", "action", "gru", "prior_hidden", "prior_out")
        assert moved(part) == prior, name
    assert moved(grads["actor"])


def test_dead_starts_teach_nothing(make_agent: Callable[..., Agent]) -> None:
    agent = make_agent(spaces.Box(-1, 1, (1,)))
    graph, params = split(agent)

    def loss(params: Any, alive: jax.Array) -> jax.Array:
        agent = join(graph, params)
        path, targets = behaviour(agent, agent.model, alive)
        logits = agent.critic(path.features[:, :-1])
        critic = critic_loss(logits, logits, targets)
        return critic + actor_loss(path, targets, state(), 2)

    grads = jax.jit(jax.grad(loss))
    assert moved(grads(params, jnp.ones(()))) and not moved(grads(params, jnp.zeros(())))


def test_critic_learns_returns_and_stays_near_its_slow_copy() -> None:
    """The loss is least at the mixture of both targets, the slow one with the same weight."""
    returns = jnp.array([[1.0, -20.0]])
    targets = BehaviourTargets(returns, jnp.ones((1, 2)), jnp.zeros((1, 2)))
    slow = jnp.log(0.6 * two_hot(returns + 3.0) + 0.4 * two_hot(returns - 2.0))
    mixture = (two_hot(returns) + two_hot(returns + 1.0)) / 2  # slow's mean is G + 1
    gradient = jax.jit(jax.grad(lambda logits: critic_loss(logits, slow, targets)))
    np.testing.assert_allclose(gradient(jnp.log(mixture)), jnp.zeros((1, 2, 255)), atol=1e-6)
    assert moved(gradient(jnp.log(two_hot(returns) + 1e-3)))
    np.testing.assert_allclose(two_hot_mean(jnp.log(mixture)), returns + 1 / 2, rtol=1e-4)
